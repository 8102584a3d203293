/* What a conformance case is checked with. */
#ifndef BL_CHECK_H
#define BL_CHECK_H

#include "graph/graph.h"
#include "io/safetensors.h"

struct bl_check {
    struct blanch_device *dev;
    struct bl_safetensors *file;
    /* What was found: the largest error relative to its bound (up to 1 passes, a NaN counts as infinite), and where. */
    double error;
    char tensor[160];
    int dims;
    int64_t shape[8], index; // index: flat
    double got, expected;
    /* What the device computed, in place of the file's out.* tensors. */
    struct bl_st_tensor *results;
    size_t count, capacity;
};

/* The tensor called PREFIX.NAME (or PREFIX where name is NULL); BLANCH_EINPUT, naming it, where it is missing. */
int bl_check_find(const struct bl_check *check, const char *prefix, const char *name,
                  const struct bl_st_tensor **tensor);
/* The same, read as floats: malloc'd, the caller frees. It must hold count values (0: any). */
int bl_check_read(const struct bl_check *check, const char *prefix, const char *name, int64_t count, float **values);
int64_t bl_check_count(const struct bl_st_tensor *tensor);
double bl_check_largest(const float *values, int64_t count); // max|values|
/* A number of the metadata. */
int bl_check_number(const struct bl_check *check, const char *key, double *value);

struct bl_tolerance {
    double relative;        // to the expected tensor's largest value
    const double *absolute; // instead, for each value; may be NULL
};
/* Holds got against the file's PREFIX.NAME. Takes got over (also on failure). Only a missing or misshapen tensor is an
 * error: a difference is remembered. */
int bl_check_compare(struct bl_check *check, const char *prefix, const char *name, float *got, int64_t count,
                     struct bl_tolerance tolerance);

/* All cases of a file or folder, nothing is printed. BLANCH_EINPUT: it cannot be read, or holds none. */
int bl_check_path(struct blanch_device *dev, const char *path, int *passed, int *failed);

int bl_check_layer(struct bl_check *check); // one operation, forward and backward
int bl_check_trace(struct bl_check *check); // a few training steps of a network

#endif
