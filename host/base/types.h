/* Types of elements, in one table: of tensors on the device, and those that only files have. */
#ifndef BL_TYPES_H
#define BL_TYPES_H

#include <stddef.h>

/* The first three are how activations and their gradients can be stored; ACT_TYPE of the kernels (vec.h) has the same
 * numbers. Sums and statistics are float32 whatever the type. */
enum bl_type {
    BL_F32,
    BL_F16,
    BL_BF16,
    BL_I32,
    BL_F64,
    BL_I64,
    BL_U8,
    BL_I16,
    BL_I8,
    BL_BOOL,
    BL_U16,
    BL_U32,
    BL_U64,
    BL_TYPES
};
#define BL_TYPE_BIT(type) (1u << (type))
#define BL_ACTIVATION_TYPES (BL_TYPE_BIT(BL_F32) | BL_TYPE_BIT(BL_F16) | BL_TYPE_BIT(BL_BF16))

struct bl_type_traits {
    const char *name;        // on the command line, in results, in keys of the tuning cache: "fp32"
    const char *safetensors; // "F32"
    const char *cl;          // of storage in OpenCL C: "float", "half", "ushort", "int"; NULL: in files alone
    size_t bytes;
};
extern const struct bl_type_traits bl_type_traits[BL_TYPES];
static inline size_t bl_type_bytes(enum bl_type type) {
    return bl_type_traits[type].bytes;
}

enum { BL_FLOAT_BYTES = sizeof(float) }; // of parameters, statistics, sums

/* Between floats and elements stored as type, which may be unaligned. To F16 and BF16: rounded to the nearest, to even
 * between two; beyond the largest an infinity. bl_type_narrow takes the activations' types alone. */
void bl_type_widen(enum bl_type type, const void *from, float *to, size_t count);
void bl_type_narrow(enum bl_type type, const float *from, void *to, size_t count);

#endif
