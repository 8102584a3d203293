/* Datasets: augmentation against its definition, the loader's order. */
#include "datasets.h"

/* --- augmentation ----------------------------------------------------------------------------- */

static bool placed_so(const float *out, int i, int top, int left, bool flip) {
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++) {
            int sy = y + top, sx = (flip ? 31 - x : x) + left;
            bool inside = sy >= 0 && sy < 32 && sx >= 0 && sx < 32;
            for (int c = 0; c < 3; c++)
                if (byte_of(out[(y * 32 + x) * 3 + c]) != (inside ? picture(i, sy, sx, c) : 0)) return false;
        }
    return true;
}

/* Every training image is one of the 9 x 9 x 2 crops, and all offsets occur. */
static void test_cifar_augmentation(void **state) {
    write_cifar10("cifar3");
    struct bl_dataset *data = opened("cifar10", "cifar3");
    struct bl_transform transform = transform_of(raw_view(3, 32, BL_AUGMENT_CIFAR), true, 5);
    static float out[3072];
    int tops[9] = {0}, lefts[9] = {0}, flips[2] = {0}, found = 0;
    for (uint64_t epoch = 0; epoch < 4; epoch++)
        for (uint32_t k = 0; k < 50; k++) {
            assert_int_equal(bl_dataset_image(data, BL_TRAIN, k, &transform, epoch, out), 0);
            for (int i = 0; i < 162; i++)
                if (placed_so(out, (int)k % 10, i % 9 - 4, i / 9 % 9 - 4, i / 81)) {
                    tops[i % 9]++, lefts[i / 9 % 9]++, flips[i / 81]++, found++;
                    break;
                }
        }
    assert_int_equal(found, 200);
    for (int i = 0; i < 9; i++) assert_true(tops[i] > 5 && lefts[i] > 5);
    assert_true(flips[0] > 70 && flips[1] > 70);
    bl_dataset_close(data);
}

/* A constant stays constant, and a ramp's mean stays its mean, however it is resized. */
static void test_resizing(void **state) {
    struct bl_view view = raw_view(3, 50, BL_AUGMENT_NONE);
    static float out[224 * 224 * 3];
    static uint8_t ramp[200 * 200 * 3];
    make_folder(in("ramp", ""));
    for (int i = 0; i < 200 * 200; i++)
        ramp[3 * i] = 77, ramp[3 * i + 1] = (uint8_t)(i % 200), ramp[3 * i + 2] = (uint8_t)(i / 200);
    const char *path = in("ramp", "a.png");
    assert_true(stbi_write_png(path, 200, 200, 3, ramp, 600));
    assert_int_equal(bl_image_file(path, &view, out), 0);
    for (int y = 0; y < 50; y++)
        for (int x = 0; x < 50; x++) {
            const float *at = out + (y * 50 + x) * 3;
            assert_int_equal(byte_of(at[0]), 77);
            assert_true(fabsf(at[1] - (4 * (float)x + 1.5f)) < 1.01f && fabsf(at[2] - (4 * (float)y + 1.5f)) < 1.01f);
        }
    view = raw_view(3, 224, BL_AUGMENT_IMAGENET);
    assert_int_equal(bl_image_file(path, &view, out), 0);
    const float *middle = out + (112 * 224 + 112) * 3;
    assert_true(fabsf(middle[1] - 100) < 1.01f && fabsf(middle[2] - 100) < 1.01f);
}

/* --- the loader ------------------------------------------------------------------------------- */

static void test_loader_order(void **state) {
    struct bl_dataset *data;
    assert_int_equal(bl_dataset_open(&data, "synthetic:1x8x8:2048", 0), 0);
    struct bl_loader_options options = {
        .view = raw_view(1, 8, BL_AUGMENT_NONE), .batch = 100, .training = true, .seed = 3, .epochs = 2};
    struct bl_loader *loader = loader_of(data, options);
    assert_int_equal(bl_loader_batches(loader), 21);
    static int seen[2][2048];
    static uint32_t order[2048];
    struct bl_batch batch;
    int at = 0;
    while (!bl_loader_next(loader, &batch) && batch.count) {
        assert_int_equal(batch.count, batch.first == 20 ? 48 : 100);
        assert_int_equal(batch.last, batch.first == 20);
        if (batch.first == 0) {
            at = 0;
            bl_shuffle(3, batch.epoch, order, 2048);
        }
        for (int i = 0; i < batch.count; i++) {
            assert_int_equal(batch.labels[i], order[at++]);
            seen[batch.epoch][batch.labels[i]]++;
        }
    }
    assert_int_equal(bl_loader_next(loader, &batch), 0);
    assert_int_equal(batch.count, 0);
    bl_loader_close(loader);
    for (int i = 0; i < 2048; i++) assert_true(seen[0][i] == 1 && seen[1][i] == 1);
    options.training = false;
    options.epochs = 1;
    loader = loader_of(data, options);
    for (int i = 0; !bl_loader_next(loader, &batch) && batch.count; i++) assert_int_equal(batch.labels[0], i * 100);
    bl_loader_close(loader);
    bl_dataset_close(data);
}

/* Somebody else's memory, which is asked for anew when a slot is free; with three batches held, the two before the last
 * stay as they were. */
enum { PLACES = 16 };
struct places {
    void *at[PLACES][BL_BATCH_PARTS];
    int asked[PLACES];
};

static int take_place(void *context, int slot, enum bl_batch_part part, size_t bytes, void **at) {
    struct places *places = context;
    assert_true(slot >= 0 && slot < PLACES);
    assert_int_equal(bytes, part == BL_BATCH_IMAGES ? 10 * 64 * sizeof(float) : 10 * sizeof(int32_t));
    free(places->at[slot][part]);
    places->asked[slot] += part == BL_BATCH_IMAGES;
    *at = places->at[slot][part] = bl_calloc(1, bytes);
    return *at ? 0 : BLANCH_ENOMEM;
}

static void test_loader_in_other_memory(void **state) {
    struct bl_dataset *data;
    struct places places = {0};
    assert_int_equal(bl_dataset_open(&data, "synthetic:1x8x8:2048", 0), 0);
    const struct bl_loader_options options = {.view = raw_view(1, 8, BL_AUGMENT_NONE),
                                              .batch = 10,
                                              .threads = 3,
                                              .ahead = 2,
                                              .memory = {take_place, &places},
                                              .held = 3};
    struct bl_loader *loader = loader_of(data, options);
    struct bl_batch batch[3];
    for (int i = 0; i < 40; i++) {
        assert_int_equal(bl_loader_next(loader, &batch[i % 3]), 0);
        for (int k = 0; k < 3 && k <= i; k++)
            for (int j = 0; j < 10; j++) assert_int_equal(batch[(i - k) % 3].labels[j], (i - k) * 10 + j);
    }
    bl_loader_close(loader);
    for (int i = 0; i < PLACES; i++) {
        assert_true(i < 5 ? places.asked[i] > 6 : !places.asked[i]);
        for (int part = 0; part < BL_BATCH_PARTS; part++) free(places.at[i][part]);
    }
    bl_dataset_close(data);
}

static uint64_t hash_batches_waiting(struct bl_dataset *data, struct bl_loader_options options, int count, bool wait) {
    struct bl_loader *loader = loader_of(data, options);
    size_t floats = (size_t)options.view.height * options.view.width * options.view.channels;
    uint64_t hash = BL_HASH_START;
    struct bl_batch batch;
    for (int i = 0; i < count; i++) {
        assert_int_equal(bl_loader_next(loader, &batch), 0);
        if (wait) bl_loader_wait(loader);
        hash = bl_hash(hash, batch.images, floats * (size_t)batch.count * sizeof(float));
        hash = bl_hash(hash, batch.labels, (size_t)batch.count * sizeof(int32_t));
    }
    bl_loader_close(loader);
    return hash;
}

static uint64_t hash_batches(struct bl_dataset *data, struct bl_loader_options options, int count) {
    return hash_batches_waiting(data, options, count, false);
}

/* The same images for any number of threads and batches ahead, whether they are waited for or not, in memory and made
 * on demand; and from any start. */
static void test_loader_threads(void **state) {
    static const char *const specs[] = {"synthetic:3x16x16:10", "synthetic:3x80x80:10"};
    for (int k = 0; k < 2; k++) {
        struct bl_dataset *data;
        assert_int_equal(bl_dataset_open(&data, specs[k], 0), 0);
        struct bl_loader_options options = {.view = raw_view(3, 16, k ? BL_AUGMENT_IMAGENET : BL_AUGMENT_CIFAR),
                                            .batch = 90,
                                            .threads = 1,
                                            .training = true,
                                            .seed = 9};
        uint64_t one = hash_batches(data, options, 30);
        options.threads = 5;
        options.ahead = 1;
        assert_true(hash_batches(data, options, 30) == one);
        assert_true(hash_batches_waiting(data, options, 30, true) == one);
        options.epoch = 1;
        options.first = 2;
        uint64_t resumed = hash_batches(data, options, 4);
        options.epoch = 0;
        options.first = bl_dataset_count(data, BL_TRAIN) / 90 + 1 + 2;
        assert_true(hash_batches(data, options, 4) == resumed);
        options.seed = 10;
        assert_true(hash_batches(data, options, 4) != resumed);
        bl_dataset_close(data);
    }
}

/* The parts of three unlike ranks, pass by pass, make every batch, the short last one included. */
static void check_parts(struct bl_dataset *data, struct bl_loader_options options, int passes) {
    enum { RANKS = 3 };
    static const int share[RANKS] = {50, 30, 20};
    struct bl_loader *whole = loader_of(data, options), *part[RANKS];
    options.pass = options.batch / passes;
    for (int r = 0; r < RANKS; r++) {
        options.part = (struct bl_division_of){r, RANKS, 2, share};
        part[r] = loader_of(data, options);
    }
    struct bl_batch all, some[RANKS];
    while (!bl_loader_next(whole, &all) && all.whole) {
        const int each = (all.whole + options.pass - 1) / options.pass;
        int at[RANKS] = {0};
        for (int r = 0; r < RANKS; r++) assert_int_equal(bl_loader_next(part[r], &some[r]), 0);
        for (int p = 0, image = 0; p < each; p++)
            for (int r = 0; r < RANKS; r++) {
                const struct bl_division_of division = {r, RANKS, 2, share};
                const int images = all.whole * (p + 1) / each - all.whole * p / each;
                const struct bl_own_part own = bl_divide(&division, images);
                assert_int_equal(own.whole, images < 6);
                assert_true(own.count <= bl_divide_most(&division, options.pass));
                if (images == 100) assert_int_equal(own.count, share[r]);
                if (own.whole) image = 0;
                assert_true(some[r].whole == all.whole && own.first + all.whole * p / each == image);
                const size_t count = (size_t)own.count;
                assert_memory_equal(some[r].labels + at[r], all.labels + image, sizeof *all.labels * count);
                assert_memory_equal(some[r].images + 64 * at[r], all.images + 64 * image,
                                    64 * sizeof *all.images * count);
                if (all.others)
                    assert_memory_equal(some[r].others + at[r], all.others + image, sizeof *all.others * count);
                assert_true(some[r].share == all.share);
                at[r] += own.count, image += own.count;
            }
        for (int r = 0; r < RANKS; r++) assert_int_equal(some[r].count, at[r]);
    }
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(bl_loader_next(part[r], &some[r]), 0);
        assert_int_equal(some[r].whole, 0);
        bl_loader_close(part[r]);
    }
    bl_loader_close(whole);
}

static void test_loader_parts(void **state) {
    struct bl_dataset *data;
    assert_int_equal(bl_dataset_open(&data, "synthetic:1x8x8:203", 0), 0);
    struct bl_loader_options options = {
        .view = raw_view(1, 8, BL_AUGMENT_NONE), .batch = 100, .training = true, .seed = 3, .epochs = 2};
    check_parts(data, options, 1);
    check_parts(data, options, 3);
    options.view.mixup = 0.5f;
    check_parts(data, options, 1);
    check_parts(data, options, 2);
    options.view.mixup = 0, options.view.cutmix = 1;
    check_parts(data, options, 1);
    bl_dataset_close(data);
}

static void test_loader_edges(void **state) {
    struct bl_dataset *data;
    assert_int_equal(bl_dataset_open(&data, "synthetic:3x8x8:4", 0), 0);
    struct bl_loader_options options = {.view = raw_view(3, 8, BL_AUGMENT_NONE), .batch = 5000, .epochs = 1};
    struct bl_loader *loader = loader_of(data, options);
    struct bl_batch batch;
    assert_int_equal(bl_loader_next(loader, &batch), 0);
    assert_int_equal(batch.count, 2048);
    assert_true(batch.last);
    bl_loader_close(loader);
    options.first = 1;
    loader = loader_of(data, options);
    bl_loader_wait(loader);
    assert_int_equal(bl_loader_next(loader, &batch), 0);
    assert_int_equal(batch.count, 0);
    bl_loader_wait(loader);
    bl_loader_close(loader);
    options.batch = 100, options.first = 19, options.least = 48; // 20 batches and 48 images
    loader = loader_of(data, options);
    assert_int_equal(bl_loader_batches(loader), 21);
    bl_loader_close(loader);
    options.least = 49;
    loader = loader_of(data, options);
    assert_int_equal(bl_loader_batches(loader), 20);
    assert_int_equal(bl_loader_next(loader, &batch), 0);
    assert_true(batch.last && batch.count == 100);
    assert_int_equal(bl_loader_next(loader, &batch), 0);
    assert_int_equal(batch.count, 0);
    bl_loader_close(loader);
    options.batch = options.least = 3000;
    assert_int_equal(bl_loader_open(&loader, data, &options), BLANCH_EUSAGE);
    options.first = options.least = 0;
    options.batch = 0;
    assert_int_equal(bl_loader_open(&loader, data, &options), BLANCH_EUSAGE);
    options.batch = 1;
    options.view.channels = 4;
    assert_int_equal(bl_loader_open(&loader, data, &options), BLANCH_EUSAGE);
    options.view.channels = 3;
    for (int i = 0; i < 20; i++) bl_loader_close(loader_of(data, options));
    bl_dataset_close(data);
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cifar_augmentation),     cmocka_unit_test(test_resizing),
        cmocka_unit_test(test_loader_order),           cmocka_unit_test(test_loader_threads),
        cmocka_unit_test(test_loader_in_other_memory), cmocka_unit_test(test_loader_parts),
        cmocka_unit_test(test_loader_edges),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
