/* CIFAR: a byte (odd: 100 classes, of which 2: records as they are, else made whole), the file of names, a zero byte,
 * records, of which every file is. */
#include "fuzz.h"
#include "dataset.h"
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3 * 32 * 32, RECORDS = 2 };

static void check_images(struct bl_dataset *set) {
    struct bl_view view;
    struct bl_transform transform;
    static float out[PIXELS];
    bl_view_default(&view, set, 3, 32, 32);
    expect(bl_view_normalise(&view, set, "measured"));
    expect(bl_transform_init(&transform, &view, true, 1));
    for (int c = 0; c < bl_dataset_classes(set); c++)
        if (!bl_dataset_class_name(set, c)) abort();
    expect_read(bl_dataset_image(set, BL_TRAIN, 0, &transform, 0, out));
    if (bl_dataset_label(set, BL_TRAIN, 0) >= bl_dataset_classes(set)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const ten[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                      "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
    static const char *const hundred[] = {"train.bin", "test.bin"};
    static uint8_t whole[RECORDS * (2 + PIXELS)];
    if (size < 1) return 0;
    bool many = *data & 1, raw = *data & 2;
    struct part rest = {data + 1, size - 1}, names = next_part(&rest);
    size_t bytes = RECORDS * (size_t)(PIXELS + (many ? 2 : 1));
    memset(whole, 0, sizeof whole);
    memcpy(whole, rest.data, rest.size < bytes ? rest.size : bytes);
    memory_file(many ? "fine_label_names.txt" : "batches.meta.txt", names.data, names.size);
    for (int i = 0; i < (many ? BL_COUNT(hundred) : BL_COUNT(ten)); i++)
        memory_file(many ? hundred[i] : ten[i], raw ? rest.data : whole, raw ? rest.size : bytes);
    struct bl_dataset *set = NULL;
    int code = bl_dataset_open(&set, many ? "cifar100:" IN_MEMORY : "cifar10:" IN_MEMORY, 0);
    expect(code);
    if (!code) check_images(set);
    bl_dataset_close(set);
    return 0;
}
