/* Types of elements, in one table. Storage only: sums and statistics are float32 whatever the type. */
#ifndef BL_TYPES_H
#define BL_TYPES_H

#include <stddef.h>

enum bl_type { BL_F32, BL_F16, BL_BF16, BL_I32, BL_TYPES };
struct bl_type_traits {
    const char *name;        // on the command line, in keys of the tuning cache: "f32"
    const char *safetensors; // "F32"
    const char *cl;          // of storage in OpenCL C: "float", "half", "ushort", "int"
    size_t bytes;
};
extern const struct bl_type_traits bl_type_traits[BL_TYPES];
static inline size_t bl_type_bytes(enum bl_type type) {
    return bl_type_traits[type].bytes;
}

#endif
