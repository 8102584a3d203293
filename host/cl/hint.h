/* Drivers of OpenCL that are installed and show no device. */
#ifndef BL_HINT_H
#define BL_HINT_H

/* Allocated: what keeps each of them from it and what to do, a line each; "" where there is none, NULL without host
 * memory.
 * Looks where the OpenCL loader does: at the .icd files of OPENCL_VENDOR_PATH or OCL_ICD_VENDORS (a folder, or one
 * file), else of /etc/OpenCL/vendors; and at the devices of GPUs in /dev. "" on systems that have neither. */
char *bl_hints(void);

#endif
