#include "base/types.h"

const struct bl_type_traits bl_type_traits[BL_TYPES] = {
    [BL_F32] = {"f32", "F32", "float", 4},
    [BL_F16] = {"f16", "F16", "half", 2},
    [BL_BF16] = {"bf16", "BF16", "ushort", 2},
    [BL_I32] = {"i32", "I32", "int", 4},
};
