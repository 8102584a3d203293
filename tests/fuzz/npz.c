/* An archive of arrays. Input: the file. */
#include "fuzz.h"
#include "dataset.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_dataset *set = NULL;
    struct bl_view view;
    struct bl_transform transform;
    static float out[BL_MOST_CHANNELS * 8 * 8];
    memory_file("x", data, size);
    int code = bl_dataset_open(&set, "npz:" IN_MEMORY "/x", 0);
    expect_read(code);
    if (code) return 0;
    bl_view_default(&view, set, bl_dataset_channels(set), 8, 8);
    expect(bl_view_normalise(&view, set, "measured"));
    expect(bl_transform_init(&transform, &view, true, 1));
    for (int split = 0; split < BL_SPLITS; split++)
        for (uint32_t i = 0; i < bl_dataset_count(set, (enum bl_split)split) && i < 4; i++) {
            expect(bl_dataset_image(set, (enum bl_split)split, i, &transform, 0, out));
            const int32_t label = bl_dataset_label(set, (enum bl_split)split, i);
            if (label < 0 || label >= bl_dataset_classes(set)) abort();
        }
    bl_dataset_close(set);
    return 0;
}
