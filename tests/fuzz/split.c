/* Which image is of which split. Input: a byte (odd: of CIFAR, whose images have numbers, else of a folder; 2: a tenth
 * of the training images validates too), then the file. */
#include "fuzz.h"
#include "dataset.h"
#include <stdlib.h>

static void put_folder(void) {
    static const char *const names[] = {"train/a/1.pgm", "train/b/2.pgm", "train/b/deep/3 x.pgm", "test/a/1.pgm"};
    static const char image[12 + 65] = "P5 65 1 255\n";
    for (int i = 0; i < BL_COUNT(names); i++) memory_file(names[i], image, sizeof image);
}

static void put_cifar(void) {
    static const char *const names[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
    static const uint8_t record[1 + 3 * 32 * 32];
    for (int i = 0; i < BL_COUNT(names); i++) memory_file(names[i], record, sizeof record);
}

static uint32_t count_all(struct bl_dataset *set, const struct bl_transform *transform) {
    static float out[3 * 4 * 4];
    uint32_t count = 0;
    for (int s = 0; s < BL_SPLITS; s++)
        for (uint32_t i = 0; i < bl_dataset_count(set, (enum bl_split)s); i++, count++) {
            if (bl_dataset_label(set, (enum bl_split)s, i) >= bl_dataset_classes(set)) abort();
            expect(bl_dataset_image(set, (enum bl_split)s, i, transform, 0, out));
        }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_dataset *set = NULL;
    struct bl_view view;
    struct bl_transform transform;
    if (size < 1) return 0;
    const bool numbers = *data & 1;
    const struct bl_division division = {.validation = *data & 2 ? 0.1 : 0, .file = IN_MEMORY "/splits.txt"};
    memory_file("splits.txt", data + 1, size - 1);
    if (numbers)
        put_cifar();
    else
        put_folder();
    int code = bl_dataset_open_divided(&set, numbers ? "cifar10:" IN_MEMORY : "folder:" IN_MEMORY, &division);
    expect_read(code);
    if (!code) {
        bl_view_default(&view, set, 3, 4, 4);
        expect(bl_transform_init(&transform, &view, false, 0));
        if (count_all(set, &transform) > (numbers ? 6u : 4u)) abort();
        while (bl_dataset_message(set)) continue;
    }
    bl_dataset_close(set);
    memory_clear();
    return 0;
}
