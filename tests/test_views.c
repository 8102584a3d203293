/* From images to a network's input: other shapes than square, more channels than three. */
#include "datasets.h"
#include "internal.h"

#include <dirent.h>

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

static size_t read_file(const char *path, uint8_t *bytes, size_t most) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, most, file);
    fclose(file);
    return size;
}

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

/* PIL's weight of input k for output i, of 22 bits. */
static int32_t weight_of(int k, int i, int in, int out) {
    const double scale = (double)in / out, width = scale < 1 ? 1 : scale, center = (i + 0.5) * scale;
    const int first = (int)fmax(center - width + 0.5, 0), end = (int)fmin(center + width + 0.5, in);
    double sum = 0;
    for (int j = first; j < end; j++) sum += fmax(1 - fabs((j - center + 0.5) / width), 0);
    if (k < first || k >= end) return 0;
    return (int32_t)(0.5 + fmax(1 - fabs((k - center + 0.5) / width), 0) / sum * (1 << 22));
}

static uint8_t byte_at(const struct bl_pixels *image, struct bl_window region, int height, int width, int y, int x,
                       int c) {
    int64_t down = 1 << 21;
    for (int j = 0; j < region.height; j++) {
        const int32_t weight = weight_of(j, y, region.height, height);
        int64_t across = 1 << 21;
        for (int i = 0; weight && i < region.width; i++)
            across += (int64_t)weight_of(i, x, region.width, width) *
                      image->data[((region.y + j) * image->width + region.x + i) * image->channels + c];
        down += weight * (across >> 22);
    }
    return (uint8_t)(down >> 22);
}

/* Larger and smaller, of parts and to parts, of any channels; nothing outside the image is read. */
static void test_scaling(void **state) {
    for (int trial = 0; trial < 60; trial++) {
        const int channels = trial % 9 + 1, height = 3 + trial % 17, width = 2 + trial % 23;
        const size_t count = (size_t)(height * width * channels);
        struct bl_pixels image = {malloc(count), width, height, channels, 0}, out;
        for (size_t i = 0; i < count; i++) image.data[i] = (uint8_t)(i * 197 + i * i * 31 + (size_t)trial);
        const struct bl_window region = {trial % 2, trial % 3, width - trial % 2, height - trial % 3};
        const int to_height = 1 + trial * 5 % 29, to_width = 1 + trial * 3 % 31;
        const struct bl_window window = {to_width / 4, to_height / 3, to_width - to_width / 4,
                                         to_height - to_height / 3};
        assert_int_equal(bl_resize(&image, region, to_width, to_height, window, &out), 0);
        for (int y = 0; y < window.height; y++)
            for (int x = 0; x < window.width; x++)
                for (int c = 0; c < channels; c++)
                    assert_int_equal(out.data[(y * window.width + x) * channels + c],
                                     byte_at(&image, region, to_height, to_width, window.y + y, window.x + x, c));
        free(out.data);
        free(image.data);
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

/* The only file in a folder. */
static const char *only_file(const char *folder) {
    static char path[600];
    DIR *opened = opendir(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(opened));)
        if (entry->d_name[0] != '.') snprintf(path, sizeof path, "%s/%s", folder, entry->d_name), count++;
    closedir(opened);
    assert_int_equal(count, 1);
    return path;
}

/* Evaluation sees the same bytes as without; training crops from what is kept; a damaged file is made anew, and one of
 * another size or of a changed picture is another. */
static void test_cache(void **state) {
    enum { SIZE = 40, FLOATS = 3 * SIZE * SIZE };
    static float plain[FLOATS], kept[FLOATS];
    static const enum bl_augment augments[] = {BL_AUGMENT_IMAGENET, BL_AUGMENT_CIFAR, BL_AUGMENT_NONE};
    make_folder(in("cached/train/a", ""));
    make_folder(in("cached/train/b", ""));
    make_folder(in("cached/test/a", ""));
    write_picture(in("cached/train/a", "0.png"), 130, 171);
    write_picture(in("cached/train/b", "0.png"), 171, 130);
    write_picture(in("cached/test/a", "0.png"), 130, 171);
    for (int k = 0; k < BL_COUNT(augments); k++) {
        const char *folder = in("", "kept%d", k);
        struct bl_dataset *data = opened("folder", "cached");
        struct bl_transform evaluated = transform_of(raw_view(3, SIZE, augments[k]), false, 1);
        struct bl_transform trained = transform_of(raw_view(3, SIZE, augments[k]), true, 1);
        assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &evaluated, 0, plain), 0);
        assert_int_equal(bl_dataset_cache(data, folder), 0);
        for (int again = 0; again < 3; again++) {
            assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &evaluated, 0, kept), 0);
            assert_memory_equal(plain, kept, sizeof plain);
            const char *file = only_file(folder);
            if (again != 1) continue;
            static uint8_t bytes[1 << 18];
            const size_t size = read_file(file, bytes, sizeof bytes);
            assert_true(size < 3 * 80 * 80 + 100);
            bytes[size / 2] ^= 1;
            write_file(file, bytes, size);
        }
        assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &trained, 5, kept), 0);
        only_file(folder);
        bl_dataset_close(data);
    }
    struct bl_dataset *data = opened("folder", "cached");
    write_file(in("", "no-folder"), "x", 1);
    assert_int_equal(bl_dataset_cache(data, in("", "no-folder")), BLANCH_EINPUT);
    make_folder(in("shared", ""));
    assert_int_equal(chmod(in("shared", ""), 0777), 0);
    assert_int_equal(bl_dataset_cache(data, in("shared", "")), BLANCH_EINPUT);
    bl_dataset_close(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rectangles), cmocka_unit_test(test_scaling),  cmocka_unit_test(test_regions),
        cmocka_unit_test(test_narrow),     cmocka_unit_test(test_channels), cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
