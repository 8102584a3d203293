/* A folder of images: the paths of its files, a line each. Those with a '~' are damaged. */
#include "fuzz.h"
#include "dataset.h"
#include <stdlib.h>
#include <string.h>

static void check_split(struct bl_dataset *set, enum bl_split split) {
    struct bl_view view;
    struct bl_transform transform;
    float out[3 * 4 * 4];
    bl_view_default(&view, set, 3, 4, 4);
    expect(bl_view_normalise(&view, set, "measured"));
    expect(bl_transform_init(&transform, &view, split == BL_TRAIN, 1));
    for (uint32_t i = 0; i < bl_dataset_count(set, split); i++) {
        if (bl_dataset_label(set, split, i) >= bl_dataset_classes(set)) abort();
        expect(bl_dataset_image(set, split, i, &transform, 0, out));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char image[12 + 65] = "P5 65 1 255\n"; // too wide to be held: each is read when it is asked for
    struct bl_dataset *set = NULL;
    char *text = part_text((struct part){data, size}), *rest = NULL, *name = strtok_r(text, "\n", &rest);
    for (int count = 0; name && count < MEMORY_FILES; count++, name = strtok_r(NULL, "\n", &rest))
        memory_file(name, image, strchr(name, '~') ? 1 : sizeof image);
    int code = bl_dataset_open(&set, "folder:" IN_MEMORY, 0);
    expect(code);
    for (int split = 0; !code && split < BL_SPLITS; split++) check_split(set, (enum bl_split)split);
    for (int c = 0; !code && c < bl_dataset_classes(set); c++)
        if (!bl_dataset_class_name(set, c)) abort();
    while (!code && bl_dataset_message(set)) continue;
    if (!code) expect_read(bl_dataset_trainable(set));
    bl_dataset_close(set);
    memory_clear();
    free(text);
    return 0;
}
