/* Weights and states: a file of tensors, each read as floats and as whole numbers. Input: a file as it is after a byte
 * 0; after any other byte a header and data (safetensors.h). */
#include "safetensors.h"
#include "io/safetensors.h"

static void read_values(const struct bl_safetensors *file, const struct bl_st_tensor *tensor) {
    int64_t count = 1;
    if (bl_st_find(file, tensor->name) != tensor) abort();
    for (int d = 0; d < tensor->dims; d++) count *= tensor->shape[d];
    float *floats = malloc((size_t)count * sizeof *floats + 1);
    int64_t *whole = malloc((size_t)count * sizeof *whole + 1);
    if (!floats || !whole) abort();
    expect_read(bl_st_floats(tensor, floats, count));
    expect(bl_st_int64s(tensor, whole, count));
    if (!bl_st_floats(tensor, floats, count + 1)) abort();
    free(floats), free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_safetensors *file = NULL;
    uint8_t *bytes = NULL;
    if (size < 1) return 0;
    if (*data) {
        size_t made;
        bytes = safetensors_bytes((struct part){data + 1, size - 1}, &made);
        memory_file("x", bytes, made);
    } else
        memory_file("x", data + 1, size - 1);
    int code = bl_st_open(&file, IN_MEMORY "/x");
    expect(code);
    for (int i = 0; !code && i < bl_st_count(file); i++) read_values(file, bl_st_at(file, i));
    if (!code) bl_st_meta(file, "step"), bl_st_meta(file, "");
    bl_st_close(file);
    free(bytes);
    return 0;
}
