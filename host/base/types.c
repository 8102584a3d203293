#include "base/types.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

const struct bl_type_traits bl_type_traits[BL_TYPES] = {
    [BL_F32] = {"fp32", "F32", "float", 4},    [BL_F16] = {"fp16", "F16", "half", 2},
    [BL_BF16] = {"bf16", "BF16", "ushort", 2}, [BL_I32] = {"int32", "I32", "int", 4},
    [BL_F64] = {"fp64", "F64", NULL, 8},       [BL_I64] = {"int64", "I64", NULL, 8},
    [BL_U8] = {"uint8", "U8", NULL, 1},        [BL_I16] = {"int16", "I16", NULL, 2},
    [BL_I8] = {"int8", "I8", NULL, 1},         [BL_BOOL] = {"bool", "BOOL", NULL, 1},
    [BL_U16] = {"uint16", "U16", NULL, 2},     [BL_U32] = {"uint32", "U32", NULL, 4},
    [BL_U64] = {"uint64", "U64", NULL, 8},
};

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_half(uint16_t half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    float value = exponent == 0    ? ldexpf((float)mantissa, -24)
                  : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                   : ldexpf((float)(mantissa + 1024), exponent - 25);
    return half & 0x8000 ? -value : value;
}

static uint16_t to_half(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00);  // NaN
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); // 65520, half way beyond the largest
    if (size < 0x38800000) // below 2^-14 a half counts in 2^-24, as a float from 0.5 on does: the sum rounds
        return (uint16_t)(sign | (bits_of(float_of(size) + 0.5f) - bits_of(0.5f)));
    size += 0xfff + (size >> 13 & 1);
    return (uint16_t)(sign | ((size - (112u << 23)) >> 13)); // 112: the difference of the exponents' biases
}

static uint16_t to_bfloat(float value) {
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40); // NaN
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Each element is copied out. */
#define EACH(type, expression)                                                                                         \
    for (size_t i = 0; i < count; i++) {                                                                               \
        type value;                                                                                                    \
        memcpy(&value, (const char *)from + i * sizeof value, sizeof value);                                           \
        to[i] = expression;                                                                                            \
    }                                                                                                                  \
    break

void bl_type_widen(enum bl_type type, const void *from, float *to, size_t count) {
    switch (type) {
    case BL_F32:
        memcpy(to, from, count * sizeof *to);
        break;
    case BL_F16:
        EACH(uint16_t, from_half(value));
    case BL_BF16:
        EACH(uint16_t, float_of((uint32_t)value << 16));
    case BL_I32:
        EACH(int32_t, (float)value);
    case BL_F64:
        EACH(double, (float)value);
    case BL_I64:
        EACH(int64_t, (float)value);
    case BL_U64:
        EACH(uint64_t, (float)value);
    case BL_U32:
        EACH(uint32_t, (float)value);
    case BL_I16:
        EACH(int16_t, (float)value);
    case BL_U16:
        EACH(uint16_t, (float)value);
    case BL_I8:
        EACH(int8_t, (float)value);
    case BL_U8:
    case BL_BOOL:
        EACH(uint8_t, (float)value);
    case BL_TYPES:
        break;
    }
}

void bl_type_narrow(enum bl_type type, const float *from, void *to, size_t count) {
    if (type == BL_F32) memcpy(to, from, count * sizeof *from);
    for (size_t i = 0; type != BL_F32 && i < count; i++) {
        uint16_t value = type == BL_F16 ? to_half(from[i]) : to_bfloat(from[i]);
        memcpy((char *)to + i * sizeof value, &value, sizeof value);
    }
}
