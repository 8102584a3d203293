/* Kernels as program.c makes them and launch.c runs them. */
#ifndef BL_PROGRAM_H
#define BL_PROGRAM_H

#include "cl/internal.h"

struct bl_kernel {
    struct bl_kernel *next; // of the same program
    struct blanch_device *dev;
    char *name;
    cl_kernel raw;
    int args;
    size_t work_group;     // the most items that a group may have
    bool cached;           // its program came from the cache on disk
    uint64_t local_memory; // bytes that it declares itself
};

#endif
