/* Image files: the header, the pixels of those that are not large, and these as a network's input. */
#include "fuzz.h"
#include "../../datasets/internal.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_PIXELS = 1 << 18, SIZE = 16 };

/* Every pixel is of the file, so none hangs on what the memory held before. */
static void check_pixels(int width, int height) {
    struct bl_pixels first = {0}, second = {0};
    int code = bl_image_read(IN_MEMORY "/x", &first);
    expect(code);
    if (!code) {
        size_t bytes = (size_t)first.width * (size_t)first.height * (size_t)first.channels;
        if (first.width != width || first.height != height) abort();
        if (bl_image_read(IN_MEMORY "/x", &second) || memcmp(first.data, second.data, bytes)) abort();
    }
    bl_pixels_free(&first), bl_pixels_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct bl_view view = {3, SIZE, SIZE, BL_AUGMENT_NONE, {0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};
    float out[3 * SIZE * SIZE];
    int width = 0, height = 0;
    memory_file("x", data, size);
    int code = bl_image_size(IN_MEMORY "/x", &width, &height);
    expect(code);
    if (code || (int64_t)width * height > MOST_PIXELS) return 0;
    check_pixels(width, height);
    bl_image_looks_whole(IN_MEMORY "/x");
    expect_read(bl_image_file(IN_MEMORY "/x", &view, out));
    return 0;
}
