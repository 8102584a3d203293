/* Masks: every index is of the file, and shows where it is placed. */
#include "fuzz.h"
#include "../../datasets/internal.h"
#include <stdlib.h>
#include <string.h>

enum { SIZE = 16, MOST_PIXELS = 1 << 18 };

static void place(const struct bl_pixels *mask) {
    static const struct bl_view view = {.channels = 3, .height = SIZE, .width = SIZE};
    const struct bl_placing placings[] = {
        {.left = -3, .top = 5, .flip = true},
        {.region = {0, 0, mask->width, mask->height}, .window = {1, 2, SIZE, SIZE}, .width = 20, .height = 19}};
    int32_t labels[SIZE * SIZE];
    for (int i = 0; i < BL_COUNT(placings); i++) {
        bl_mask_place(mask, &placings[i], &view, labels);
        for (int k = 0; k < SIZE * SIZE; k++)
            if (labels[k] < 0 || labels[k] > 255) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_pixels first = {0}, second = {0};
    memory_file("x", data, size);
    int code = bl_mask_read(IN_MEMORY "/x", &first);
    expect_read(code);
    if (!code && (int64_t)first.width * first.height <= MOST_PIXELS) {
        const size_t bytes = (size_t)first.width * (size_t)first.height;
        if (bl_mask_read(IN_MEMORY "/x", &second) || memcmp(first.data, second.data, bytes)) abort();
        place(&first);
    }
    bl_pixels_free(&first), bl_pixels_free(&second);
    return 0;
}
