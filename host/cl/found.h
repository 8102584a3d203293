/* Devices as they were found, before one is opened. */
#ifndef BL_FOUND_H
#define BL_FOUND_H

#include "cl/internal.h"

/* A device, or a platform that does not tell its devices: error, and info.device is -1. */
struct bl_found {
    cl_platform_id platform;
    cl_device_id id;
    bool usable;  // is there and has a compiler
    cl_int error; // of a question about it: nothing else is to be believed, but for what it is called
    char platform_version[256];
    bool own;    // its platform is its maker's
    int lanes;   // floats that a compute unit computes with at once
    int sums;    // that an item can hold in registers
    double rate; // operations a second, as measured; 0: not known here
    struct blanch_device_info info;
};

/* Whether a is the better choice where nobody chose: what can be used, a GPU, else a CPU; of one card under two
 * platforms its maker's; GPUs with memory of their own; by measured rates where both are known, else by compute units,
 * clock and lanes. */
bool bl_found_better(const struct bl_found *a, const struct bl_found *b);
bool bl_found_same_card(const struct bl_found *a, const struct bl_found *b);
/* Fills in what the choice goes by beyond info. extensions: the device's; platform_vendor: its platform's. */
void bl_found_rank(struct bl_found *found, const char *extensions, const char *platform_vendor);
/* Fills in the rates that are known. */
void bl_found_rates(struct bl_found *list, int count);

#endif
