/* The raw OpenCL handles, for host/cl and host/blas alone. */
#ifndef BL_CL_RAW_H
#define BL_CL_RAW_H

#include "cl/cl.h"
#if defined(__APPLE__)
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#endif

cl_device_id bl_raw_device(const struct blanch_device *dev);
cl_context bl_raw_context(const struct blanch_device *dev);
cl_command_queue bl_raw_queue(const struct blanch_device *dev);
cl_mem bl_raw_mem(const struct bl_mem *mem);
bool bl_recording(const struct blanch_device *dev);
/* Takes ownership of the event of a command that a library enqueued; name is a string that stays. */
int bl_record_event(struct blanch_device *dev, const char *name, cl_event event, uint64_t bytes);
/* For a library that runs several commands and gives the last one's event: what is recorded next begins now. */
int bl_record_since(struct blanch_device *dev);
int bl_count_launch(struct blanch_device *dev); // a kernel that a library launched
const char *bl_cl_error_name(cl_int error);
/* BLANCH_EDEVICE with "WHAT: CL_NAME (number)". */
int bl_cl_fail(cl_int error, const char *format, ...) BL_PRINTF(2, 3);
/* What a release returned, which nobody can be told at once: see bl_release_failed. what: "a kernel". */
void bl_cl_released(cl_int error, const char *what);
/* Releases an object, again where the first time it was not for the object's sake that it failed. */
#define bl_cl_release(function, object, what)                                                                          \
    do {                                                                                                               \
        cl_int error_ = function(object);                                                                              \
        if (error_ && error_ > CL_INVALID_VALUE) error_ = function(object);                                            \
        bl_cl_released(error_, what);                                                                                  \
    } while (0)

#endif
