/* Energy and clock of a card of NVIDIA's, whose driver has no files for them but a library, which comes with it. */
#ifndef BL_NVML_H
#define BL_NVML_H

#include <stdbool.h>

struct bl_nvml;

/* The card at a place of the PCI bus ("01:00.0"); *power: it tells no energy but microwatts. NULL: no such library, or
 * it does not know that place, or tells neither. Ends with bl_nvml_close, which takes NULL. */
struct bl_nvml *bl_nvml_open(const char *pci, bool *power);
void bl_nvml_close(struct bl_nvml *nvml);
double bl_nvml_energy(const struct bl_nvml *nvml);    // microjoules since the driver was loaded, or microwatts; NAN
double bl_nvml_clock_mhz(const struct bl_nvml *nvml); // of the multiprocessors; NAN

#endif
