/* Which matrix units a device's compiler offers. */
#include "cl/cl.h"
#include "cl/internal.h"
#include <stdlib.h>
#include <string.h>

enum { NV_CAPABILITY_MAJOR = 0x4000, SUB_GROUP_SIZES = 0x4108 }; // of the makers' extensions

static bool begins(const char *text, const char *with) {
    return !strncmp(text, with, strlen(with));
}

/* AMD's own compiler calls its devices by their architecture. */
static struct bl_matrix of_amd(const char *name) {
    if (begins(name, "gfx11")) return (struct bl_matrix){BL_MATRIX_WMMA, 32};
    if (begins(name, "gfx90a") || begins(name, "gfx94") || begins(name, "gfx950"))
        return (struct bl_matrix){BL_MATRIX_MFMA, 64};
    return (struct bl_matrix){BL_MATRIX_NONE, 1};
}

static struct bl_matrix of_intel(const struct blanch_device *dev) {
    size_t sizes[8] = {0};
    if (clGetDeviceInfo(dev->id, SUB_GROUP_SIZES, sizeof sizes, sizes, NULL))
        return (struct bl_matrix){BL_MATRIX_NONE, 1};
    for (int i = 0; i < BL_COUNT(sizes); i++)
        if (sizes[i] == 8) return (struct bl_matrix){BL_MATRIX_DPAS, 8};
    return (struct bl_matrix){BL_MATRIX_DPAS, 16};
}

static struct bl_matrix find(const struct blanch_device *dev, const char *extensions) {
    cl_uint major = 0;
    if (strstr(extensions, "cl_nv_device_attribute_query") &&
        !clGetDeviceInfo(dev->id, NV_CAPABILITY_MAJOR, sizeof major, &major, NULL) && major >= 8)
        return (struct bl_matrix){BL_MATRIX_MMA, 32};
    if (strstr(extensions, "cl_amd_device_attribute_query")) return of_amd(dev->info.name);
    if (strstr(extensions, "cl_intel_subgroup_matrix_multiply_accumulate") &&
        strstr(extensions, "cl_intel_required_subgroup_size"))
        return of_intel(dev);
    return (struct bl_matrix){BL_MATRIX_NONE, 1};
}

struct bl_matrix bl_matrix_of(const struct blanch_device *dev) {
    struct bl_matrix unit = {BL_MATRIX_NONE, 1};
    size_t size = 0;
    if (clGetDeviceInfo(dev->id, CL_DEVICE_EXTENSIONS, 0, NULL, &size)) return unit;
    char *extensions = bl_calloc(size + 1, 1);
    if (extensions && !clGetDeviceInfo(dev->id, CL_DEVICE_EXTENSIONS, size, extensions, NULL))
        unit = find(dev, extensions);
    free(extensions);
    return unit;
}
