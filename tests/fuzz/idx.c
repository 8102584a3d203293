/* IDX, packed or not: the input is the training images after an odd byte, else their labels; the other files are sound.
 */
#include "fuzz.h"
#include "dataset.h"
#include <stdlib.h>

enum { SIZE = 8, IMAGES = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t images[16 + 4] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2};
    static const uint8_t labels[9] = {0, 0, 8, 1, 0, 0, 0, 1};
    struct bl_dataset *set = NULL;
    struct bl_view view;
    struct bl_transform transform;
    float out[SIZE * SIZE];
    if (size < 1) return 0;
    memory_file("train-images-idx3-ubyte", *data & 1 ? data + 1 : images, *data & 1 ? size - 1 : sizeof images);
    memory_file("train-labels-idx1-ubyte", *data & 1 ? labels : data + 1, *data & 1 ? sizeof labels : size - 1);
    memory_file("t10k-images-idx3-ubyte", images, sizeof images);
    memory_file("t10k-labels-idx1-ubyte", labels, sizeof labels);
    int code = bl_dataset_open(&set, "mnist:" IN_MEMORY, 0);
    expect(code);
    if (code) return 0;
    bl_view_default(&view, set, 1, SIZE, SIZE);
    expect(bl_view_normalise(&view, set, "measured"));
    expect(bl_transform_init(&transform, &view, true, 1));
    for (uint32_t i = 0; i < bl_dataset_count(set, BL_TRAIN) && i < IMAGES; i++) {
        expect_read(bl_dataset_image(set, BL_TRAIN, i, &transform, 0, out));
        if (bl_dataset_label(set, BL_TRAIN, i) >= bl_dataset_classes(set)) abort();
    }
    bl_dataset_close(set);
    return 0;
}
