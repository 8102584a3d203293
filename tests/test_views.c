/* From images to a network's input: other shapes than square, more channels than three. */
#include "datasets.h"

enum { HEIGHT = 4, WIDTH = 8, VALUES = 3 * HEIGHT * WIDTH };

/* The picture of 9x6 pixels as PIL's resize((8, 5), BILINEAR), rows 0 to 3, and resize((9, 6)), rows 1 to 4 of columns
 * 0 to 7. */
static const uint8_t scaled[2][VALUES] = {
    {40, 123, 206, 46, 129, 212, 52, 135, 218, 57, 140, 223, 63,  146, 229, 69,  152, 235, 74,  157, 240, 79,  162, 245,
     53, 136, 219, 60, 143, 226, 67, 150, 233, 73, 156, 239, 78,  161, 244, 86,  169, 192, 87,  170, 161, 92,  175, 167,
     66, 149, 232, 74, 157, 240, 81, 164, 247, 86, 169, 194, 90,  173, 128, 97,  180, 51,  100, 183, 10,  106, 189, 16,
     78, 161, 220, 87, 170, 89,  92, 175, 93,  98, 181, 58,  104, 187, 14,  109, 192, 19,  112, 195, 22,  120, 203, 30},
    {48,  131, 214, 54,  137, 220, 60,  143, 226, 66,  149, 232, 72,  155, 238, 78,  161, 244, 84,  167,
     250, 83,  166, 249, 59,  142, 225, 66,  149, 232, 73,  156, 239, 80,  163, 246, 80,  163, 246, 87,
     170, 253, 94,  177, 4,   94,  177, 4,   70,  153, 236, 78,  161, 244, 86,  169, 252, 87,  170, 253,
     95,  178, 5,   96,  179, 6,   104, 187, 14,  105, 188, 15,  81,  164, 247, 90,  173, 0,   92,  175,
     2,   101, 184, 11,  103, 186, 13,  112, 195, 22,  114, 197, 24,  116, 199, 26}};

static void write_picture(const char *path, int height, int width) {
    uint8_t *pixels = malloc((size_t)height * (size_t)width * 3), *at = pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) *at++ = picture(1, y, x, c);
    assert_true(stbi_write_png(path, width, height, 3, pixels, width * 3));
    free(pixels);
}

static struct bl_view wide_view(enum bl_augment augment) {
    struct bl_view view = raw_view(3, HEIGHT, augment);
    view.width = WIDTH;
    return view;
}

static void test_rectangles(void **state) {
    float out[VALUES];
    write_picture(in("", "wide.png"), 6, 9);
    for (int k = 0; k < 2; k++) {
        struct bl_view view = wide_view(k ? BL_AUGMENT_IMAGENET : BL_AUGMENT_CIFAR);
        assert_int_equal(bl_image_file(in("", "wide.png"), &view, out), 0);
        for (int i = 0; i < VALUES; i++) assert_int_equal(byte_of(out[i]), scaled[k][i]);
    }
}

/* What training shows is of the input's shape, or of up to a third more or less: of a picture of that shape whose
 * values grow to the right, regions are as wide as they are high, times two. */
static void test_regions(void **state) {
    enum { BIG = 100 };
    float out[3 * HEIGHT * WIDTH];
    uint8_t *ramp = malloc(3 * BIG * BIG * 2), *at = ramp;
    make_folder(in("ramp/a", ""));
    make_folder(in("ramp/b", ""));
    for (int y = 0; y < BIG; y++)
        for (int x = 0; x < 2 * BIG; x++, at += 3) at[0] = (uint8_t)x, at[1] = (uint8_t)(2 * y), at[2] = 0;
    assert_true(stbi_write_png(in("ramp/a", "0.png"), 2 * BIG, BIG, 3, ramp, 6 * BIG));
    assert_true(stbi_write_png(in("ramp/b", "0.png"), 2 * BIG, BIG, 3, ramp, 6 * BIG));
    assert_true(stbi_write_png(in("ramp/b", "1.png"), 2 * BIG, BIG, 3, ramp, 6 * BIG));
    struct bl_dataset *data = opened("folder", "ramp");
    struct bl_transform transform = transform_of(wide_view(BL_AUGMENT_IMAGENET), true, 3);
    for (uint64_t epoch = 0; epoch < 100; epoch++) {
        assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &transform, epoch, out), 0);
        const float across = fabsf(out[3 * (WIDTH - 1)] - out[0]) * WIDTH / (WIDTH - 1);
        const float down = (out[3 * (HEIGHT - 1) * WIDTH + 1] - out[1]) / 2 * HEIGHT / (HEIGHT - 1);
        const float shape = across / down / 2;
        if (!(shape > 0.6f && shape < 1.6f)) fail_msg("epoch %d: a region of %g x %g", (int)epoch, across, down);
    }
    bl_dataset_close(data);
    free(ramp);
}

static void test_narrow(void **state) {
    float out[3 * 224 * 8];
    struct bl_view view = raw_view(3, 224, BL_AUGMENT_NONE);
    view.width = 8;
    static uint8_t row[3 * 2000000];
    assert_true(stbi_write_png(in("", "narrow.png"), 2000000, 1, 3, row, sizeof row));
    assert_int_equal(bl_image_file(in("", "narrow.png"), &view, out), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "too narrow"));
}

/* Twelve channels of 5x7 pixels, shown as they are, flipped and scaled. */
static void test_channels(void **state) {
    struct bl_dataset *data;
    static float out[12 * 10 * 14];
    assert_int_equal(bl_dataset_open(&data, "synthetic:12x5x7:4", 0), 0);
    struct bl_view view = raw_view(12, 5, BL_AUGMENT_NONE), shown;
    view.width = 7;
    struct bl_transform transform = transform_of(view, false, 0);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 1, &transform, 0, out), 0);
    int different = 0;
    for (int c = 1; c < 12; c++) different += out[c] != out[0];
    assert_true(different > 8);
    view.height = 10, view.width = 14;
    transform = transform_of(view, false, 0);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 1, &transform, 0, out), 0);
    bl_view_default(&shown, data, 12, 5, 7);
    assert_int_equal(bl_view_normalise(&shown, data, bl_normalise_default(data, 5, 7)), 0);
    assert_true(shown.mean[11] == 0.5f && shown.deviation[11] == 0.25f);
    transform = transform_of(raw_view(3, 5, BL_AUGMENT_NONE), false, 0);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 1, &transform, 0, out), BLANCH_EUSAGE);
    assert_non_null(strstr(blanch_error_message(), "12 channels"));
    bl_dataset_close(data);
    shown.channels = 17;
    assert_int_equal(bl_transform_init(&transform, &shown, false, 0), BLANCH_EUSAGE);
}

/* Of the training images alone: two classes of one colour each, in three and in one channel. */
static void test_normalise(void **state) {
    static const uint8_t colours[2][3] = {{10, 20, 30}, {110, 20, 230}};
    static uint8_t pixels[2][80 * 80 * 3];
    struct bl_view view = raw_view(3, 8, BL_AUGMENT_NONE);
    for (int c = 0; c < 2; c++) {
        for (int i = 0; i < BL_COUNT(pixels[c]); i++) pixels[c][i] = colours[c][i % 3];
        for (int held = 0; held < 2; held++) {
            const int size = held ? 8 : 80;
            for (int split = 0; split < 2; split++) {
                char dir[64];
                snprintf(dir, sizeof dir, "norm%d/%s/%c", size, split ? "test" : "train", 'a' + c);
                make_folder(in(dir, ""));
                assert_true(stbi_write_png(in(dir, "0.png"), size, size, 3, pixels[split ? 1 : c], 3 * size));
            }
        }
    }
    for (int size = 8; size <= 80; size += 72) {
        char name[16];
        snprintf(name, sizeof name, "norm%d", size);
        struct bl_dataset *data = opened("folder", name);
        assert_string_equal(bl_normalise_default(data, 8, 8), "measured");
        assert_string_equal(bl_normalise_default(data, 96, 96), "imagenet");
        assert_int_equal(bl_view_normalise(&view, data, "measured"), 0);
        for (int c = 0; c < 3; c++) {
            const float low = colours[0][c], high = colours[1][c];
            assert_true(fabsf(view.mean[c] * 255 - (low + high) / 2) < 1e-3f);
            assert_true(fabsf(view.deviation[c] * 255 - (high > low ? (high - low) / 2 : 255)) < 1e-3f);
        }
        view.channels = 1;
        assert_int_equal(bl_view_normalise(&view, data, "measured"), 0);
        assert_true(fabsf(view.mean[0] * 255 - (0.299f * 60 + 0.587f * 20 + 0.114f * 130)) < 1e-3f);
        view.channels = 3;
        bl_dataset_close(data);
    }
    assert_int_equal(bl_view_normalise(&view, NULL, "mnist"), 0);
    assert_true(view.mean[2] == 0.1307f && view.deviation[2] == 0.3081f);
    assert_int_equal(bl_view_normalise(&view, NULL, "none"), 0);
    assert_true(view.mean[2] == 0 && view.deviation[2] == 1);
    assert_int_equal(bl_view_normalise(&view, NULL, "measured"), BLANCH_EUSAGE);
    assert_int_equal(bl_view_normalise(&view, NULL, "imagent"), BLANCH_EUSAGE);
    assert_non_null(strstr(blanch_error_message(), "did you mean imagenet"));
    view.channels = 4;
    assert_int_equal(bl_view_normalise(&view, NULL, "cifar10"), BLANCH_EUSAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rectangles), cmocka_unit_test(test_regions),   cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_channels),   cmocka_unit_test(test_normalise),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
