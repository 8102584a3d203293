/* Datasets: formats on small files made here, damage, augmentation against its definition, the loader's order. */
#include "dataset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb_image_write.h>
#pragma GCC diagnostic pop

static char root[] = "/tmp/blanch-datasets-XXXXXX";

/* --- small files ------------------------------------------------------------------------------ */

/* "DIR/..." below a folder of this test's own; kept in a ring of buffers */
static const char *in(const char *dir, const char *format, ...)
{
    static char buffers[8][512];
    static int next;
    char *at = buffers[next++ % 8];
    int length = snprintf(at, 256, "%s/%s%s", root, dir, *format ? "/" : "");
    va_list list;
    va_start(list, format);
    vsnprintf(at + length, 256, format, list);
    va_end(list);
    return at;
}

static void make_folder(const char *path)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(copy, 0777);
        *slash = '/';
    }
    mkdir(copy, 0777);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size = fread(data, 1, size, file);
    fclose(file);
    return size;
}

static void write_gzip(const char *path, const void *data, size_t size)
{
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

/* A picture that differs everywhere: value of pixel (y, x), channel c, of image i. */
static uint8_t picture(int i, int y, int x, int c)
{
    return (uint8_t)(i * 37 + y * 11 + x * 5 + c * 83 + (x * y) % 7);
}

static void paint(uint8_t *out, int i, int height, int width, int channels)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                *out++ = picture(i, y, x, c);
}

static void write_png(const char *path, int i, int height, int width)
{
    uint8_t *pixels = malloc((size_t)height * width * 3);
    paint(pixels, i, height, width, 3);
    assert_true(stbi_write_png(path, width, height, 3, pixels, width * 3));
    free(pixels);
}

static void write_jpg(const char *path, int i, int height, int width)
{
    uint8_t *pixels = malloc((size_t)height * width * 3);
    paint(pixels, i, height, width, 3);
    assert_true(stbi_write_jpg(path, width, height, 3, pixels, 90));
    free(pixels);
}

static void cut_in_half(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size / 2), 0);
}

/* --- checks ----------------------------------------------------------------------------------- */

static struct bl_dataset *opened(const char *format, const char *dir)
{
    struct bl_dataset *data;
    char spec[512];
    snprintf(spec, sizeof spec, "%s:%s", format, in(dir, ""));
    if (bl_dataset_open(&data, spec, 1))
        fail_msg("%s", blanch_error_message());
    return data;
}

static void refused(const char *format, const char *dir, const char *message)
{
    struct bl_dataset *data;
    char spec[512];
    snprintf(spec, sizeof spec, "%s:%s", format, in(dir, ""));
    assert_int_equal(bl_dataset_open(&data, spec, 1), BLANCH_EINPUT);
    assert_null(data);
    if (!strstr(blanch_error_message(), message) || !strstr(blanch_error_message(), root))
        fail_msg("'%s' lacks '%s'", blanch_error_message(), message);
    assert_null(strchr(blanch_error_message(), '\n'));
}

static struct bl_view raw_view(int channels, int size, enum bl_augment augment)
{
    const float grey = 1 / 255.0f;
    return (struct bl_view){channels, size, augment, {0}, {grey, grey, grey}};
}

static int byte_of(float value)
{
    return (int)lrintf(value);
}

/* --- specs ------------------------------------------------------------------------------------ */

static void test_specs(void **state)
{
    static const char *const wrong[] = {"cifar", "", "mnist", "cifar10:", "synthetic:3x32:10", "synthetic:2x32x32:10",
                                        "synthetic:3x32x31:10", "synthetic:3x32x32:0", "synthetic:3x32x32:10:5",
                                        "synthetic:3x99999999999999999999x32:1"};
    struct bl_dataset *data;
    for (int i = 0; i < BL_COUNT(wrong); i++)
        assert_int_equal(bl_dataset_open(&data, wrong[i], 0), BLANCH_EUSAGE);
    assert_int_equal(bl_dataset_open(&data, "imagenet:x", 0), BLANCH_EUSAGE);
    assert_non_null(strstr(blanch_error_message(), "cifar10:DIR"));
    refused("mnist", "nowhere", "no such folder");
    refused("cifar100", "nowhere", "no such folder");
    refused("folder", "nowhere", "No such file");
    enum bl_augment augment;
    assert_int_equal(bl_augment_parse("imagenet", &augment), 0);
    assert_int_equal(augment, BL_AUGMENT_IMAGENET);
    assert_int_equal(bl_augment_parse("mixup", &augment), BLANCH_EUSAGE);
}

/* --- IDX -------------------------------------------------------------------------------------- */

#define IDX_IMAGES 5

static void write_idx(const char *dir, const char *prefix, bool gzip)
{
    static uint8_t images[16 + IDX_IMAGES * 784] = {0, 0, 8, 3, 0, 0, 0, IDX_IMAGES, 0, 0, 0, 28, 0, 0, 0, 28};
    uint8_t labels[8 + IDX_IMAGES] = {0, 0, 8, 1, 0, 0, 0, IDX_IMAGES};
    for (int i = 0; i < IDX_IMAGES; i++) {
        paint(images + 16 + i * 784, i, 28, 28, 1);
        labels[8 + i] = (uint8_t)(9 - i);
    }
    make_folder(in(dir, ""));
    void (*write)(const char *, const void *, size_t) = gzip ? write_gzip : write_file;
    write(in(dir, "%s-images-idx3-ubyte%s", prefix, gzip ? ".gz" : ""), images, sizeof images);
    write(in(dir, "%s-labels-idx1-ubyte%s", prefix, gzip ? ".gz" : ""), labels, sizeof labels);
}

static void test_idx(void **state)
{
    write_idx("idx", "train", true);
    write_idx("idx", "t10k", false);
    struct bl_dataset *data = opened("mnist", "idx");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), IDX_IMAGES);
    assert_int_equal(bl_dataset_count(data, BL_TEST), IDX_IMAGES);
    assert_int_equal(bl_dataset_size(data), 28);
    assert_int_equal(bl_dataset_channels(data), 1);
    assert_int_equal(bl_dataset_classes(data), 10);
    assert_string_equal(bl_dataset_class_name(data, 7), "7");
    static float out[32 * 32 * 3];
    int32_t label;
    struct bl_view view = raw_view(3, 32, BL_AUGMENT_NONE);
    assert_int_equal(bl_dataset_image(data, BL_TEST, 3, &view, true, 1, 0, out, &label), 0);
    assert_int_equal(label, 6);
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++)
            for (int c = 0; c < 3; c++) {
                bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
                assert_int_equal(byte_of(out[(y * 32 + x) * 3 + c]), inside ? picture(3, y - 2, x - 2, 0) : 0);
            }
    assert_int_equal(bl_dataset_image(data, BL_TEST, IDX_IMAGES, &view, true, 1, 0, out, &label), BLANCH_EUSAGE);
    bl_view_default(&view, data, 1, 32);
    assert_int_equal(view.augment, BL_AUGMENT_NONE);
    assert_true(view.mean[0] == 0.1307f && view.deviation[0] == 0.3081f);
    bl_dataset_close(data);
}

static void test_idx_damage(void **state)
{
    uint8_t labels[8 + IDX_IMAGES] = {0, 0, 8, 1, 0, 0, 0, IDX_IMAGES, 1, 2, 10, 3, 4};
    write_idx("idx2", "train", false);
    refused("mnist", "idx2", "t10k-images-idx3-ubyte");
    write_idx("idx2", "t10k", true);
    const char *path = in("idx2", "t10k-labels-idx1-ubyte.gz");
    write_gzip(path, labels, sizeof labels);
    refused("mnist", "idx2", "image 2 has label 10");
    write_gzip(path, labels, sizeof labels - 1);
    refused("mnist", "idx2", "4 bytes of data where its header announces 5");
    labels[7] = 4;
    write_gzip(path, labels, sizeof labels - 1);
    refused("mnist", "idx2", "4 labels for 5 images");
    cut_in_half(path);
    refused("mnist", "idx2", "cut off");
    write_file(path, "", 0);
    refused("mnist", "idx2", "empty");
    labels[2] = 9;
    write_file(path, labels, sizeof labels);
    refused("mnist", "idx2", "not an IDX file");
    write_idx("idx2", "t10k", true);
    uint8_t header[16] = {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    write_file(in("idx2", "train-images-idx3-ubyte"), header, 16);
    refused("mnist", "idx2", "announces");
    header[4] = header[5] = header[6] = header[7] = 0;
    write_file(in("idx2", "train-images-idx3-ubyte"), header, 16);
    refused("mnist", "idx2", "holds no images");
}

static void test_fashion_mnist(void **state)
{
    if (access("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", R_OK)) {
        print_message("skipped: Debian's dataset-fashion-mnist is not installed\n");
        skip();
    }
    struct bl_dataset *data;
    assert_int_equal(bl_dataset_open(&data, "fashion-mnist", 0), 0);
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 60000);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 10000);
    assert_string_equal(bl_dataset_class_name(data, 9), "Ankle boot");
    struct bl_view view;
    static float out[28 * 28];
    int32_t label;
    bl_view_default(&view, data, 1, 28);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &view, false, 0, 0, out, &label), 0);
    assert_int_equal(label, 9);
    bl_dataset_close(data);
}

/* --- CIFAR ------------------------------------------------------------------------------------ */

static void write_cifar(const char *path, int count, int label_bytes, int classes)
{
    size_t record = 3072 + (size_t)label_bytes;
    uint8_t *bytes = calloc((size_t)count, record);
    for (int i = 0; i < count; i++) {
        uint8_t *at = bytes + record * (size_t)i;
        at[label_bytes - 1] = (uint8_t)(i % classes);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++)
                    at[label_bytes + (c * 32 + y) * 32 + x] = picture(i, y, x, c);
    }
    write_file(path, bytes, record * (size_t)count);
    free(bytes);
}

static void write_cifar10(const char *dir)
{
    make_folder(in(dir, ""));
    for (int i = 1; i <= 5; i++)
        write_cifar(in(dir, "data_batch_%d.bin", i), 10, 1, 10);
    write_cifar(in(dir, "test_batch.bin"), 7, 1, 10);
}

static void test_cifar(void **state)
{
    write_cifar10("cifar/cifar-10-batches-bin");
    struct bl_dataset *data = opened("cifar10", "cifar");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 50);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 7);
    assert_string_equal(bl_dataset_class_name(data, 0), "airplane");
    struct bl_view view = raw_view(3, 32, BL_AUGMENT_CIFAR);
    static float out[3072];
    int32_t label;
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 24, &view, false, 0, 0, out, &label), 0);
    assert_int_equal(label, 4);
    for (int i = 0; i < 3072; i++)
        assert_int_equal(byte_of(out[i]), picture(4, i / 96, i / 3 % 32, i % 3));
    view = raw_view(1, 32, BL_AUGMENT_NONE);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &view, false, 0, 0, out, &label), 0);
    double luma = 0.299 * picture(0, 5, 6, 0) + 0.587 * picture(0, 5, 6, 1) + 0.114 * picture(0, 5, 6, 2);
    assert_true(fabs(out[5 * 32 + 6] - luma) <= 0.51);
    bl_view_default(&view, data, 3, 32);
    assert_int_equal(view.augment, BL_AUGMENT_CIFAR);
    bl_dataset_close(data);
    make_folder(in("cifar100", ""));
    write_cifar(in("cifar100", "train.bin"), 120, 2, 100);
    write_cifar(in("cifar100", "test.bin"), 1, 2, 100);
    data = opened("cifar100", "cifar100");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 120);
    assert_int_equal(bl_dataset_classes(data), 100);
    assert_string_equal(bl_dataset_class_name(data, 99), "worm");
    bl_dataset_close(data);
}

static void test_cifar_damage(void **state)
{
    write_cifar10("cifar2");
    write_file(in("cifar2", "batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
    struct bl_dataset *data = opened("cifar10", "cifar2");
    assert_string_equal(bl_dataset_class_name(data, 9), "j");
    bl_dataset_close(data);
    write_cifar(in("cifar2", "data_batch_3.bin"), 12, 1, 12);
    refused("cifar10", "cifar2", "data_batch_3.bin: image 10 has label 10");
    cut_in_half(in("cifar2", "data_batch_3.bin"));
    write_file(in("cifar2", "data_batch_2.bin"), "abc", 3);
    refused("cifar10", "cifar2", "data_batch_2.bin: 3 bytes are not a whole number");
    write_file(in("cifar2", "data_batch_2.bin"), "", 0);
    refused("cifar10", "cifar2", "data_batch_2.bin: the file is empty");
    unlink(in("cifar2", "data_batch_2.bin"));
    refused("cifar10", "cifar2", "data_batch_2.bin: No such file");
    unlink(in("cifar2", "data_batch_1.bin"));
    write_file(in("cifar2", "data_batch_1"), "x", 1);
    refused("cifar10", "cifar2", "Python version");
}

/* --- folders ---------------------------------------------------------------------------------- */

static void write_class(const char *dir, const char *name, int count, int size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    make_folder(in(path, ""));
    for (int i = 0; i < count; i++)
        write_png(in(path, "%04d.png", i), i, size, size);
}

static void test_folder(void **state)
{
    write_class("tree/train", "dog", 3, 8);
    write_class("tree/train", "cat/deeper", 2, 8);
    write_class("tree/val", "dog", 1, 8);
    make_folder(in("tree/test", ""));
    write_file(in("tree/train", "notes.txt"), "x", 1);
    write_file(in("tree/train/dog", ".hidden.png"), "x", 1);
    struct bl_dataset *data = opened("folder", "tree");
    assert_int_equal(bl_dataset_classes(data), 2);
    assert_string_equal(bl_dataset_class_name(data, 0), "cat");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 5);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 1);
    assert_int_equal(bl_dataset_size(data), 8);
    struct bl_view view = raw_view(3, 8, BL_AUGMENT_NONE);
    float out[192];
    int32_t label;
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 3, &view, false, 0, 0, out, &label), 0);
    assert_int_equal(label, 1);
    for (int i = 0; i < 192; i++)
        assert_int_equal(byte_of(out[i]), picture(1, i / 24, i / 3 % 8, i % 3));
    bl_dataset_close(data);
    write_class("tree/val", "emu", 1, 8);
    refused("folder", "tree", "val/emu: the training images have no class");
    make_folder(in("tree/train/fox", ""));
    refused("folder", "tree", "train/fox: the class has no images");
}

static void test_folder_split(void **state)
{
    write_class("split", "a", 15, 8);
    write_class("split", "b", 15, 8);
    struct bl_dataset *data = opened("folder", "split");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 27);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 3);
    struct bl_view view = raw_view(3, 8, BL_AUGMENT_NONE);
    float first[192], again[192];
    int32_t label;
    assert_int_equal(bl_dataset_image(data, BL_TEST, 0, &view, false, 0, 0, first, &label), 0);
    bl_dataset_close(data);
    data = opened("folder", "split");
    assert_int_equal(bl_dataset_image(data, BL_TEST, 0, &view, false, 0, 0, again, &label), 0);
    assert_memory_equal(first, again, sizeof first);
    bl_dataset_close(data);
    make_folder(in("bare", ""));
    refused("folder", "bare", "no class folders");
}

static struct bl_loader *loader_of(struct bl_dataset *data, struct bl_loader_options options)
{
    struct bl_loader *loader;
    if (bl_loader_open(&loader, data, &options))
        fail_msg("%s", blanch_error_message());
    return loader;
}

static int take_all(struct bl_loader *loader, int *images)
{
    struct bl_batch batch;
    int rc;
    *images = 0;
    while (!(rc = bl_loader_next(loader, &batch)) && batch.count)
        *images += batch.count;
    return rc;
}

/* size 8: decoded on opening; 80: on demand */
static void check_damaged(const char *dir, int size, int left)
{
    struct bl_dataset *data = opened("folder", dir);
    assert_int_equal(bl_dataset_size(data), size <= 64 ? size : 0);
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), left);
    struct bl_loader *loader = loader_of(data, (struct bl_loader_options){
        .view = raw_view(3, size, BL_AUGMENT_NONE), .batch = 7, .threads = 3, .training = true, .epochs = 3});
    int images, messages = 0;
    assert_int_equal(take_all(loader, &images), 0);
    assert_int_equal(images, 3 * left);
    for (const char *message; (message = bl_loader_skipped(loader)); messages++)
        assert_non_null(strstr(message, "cut off"));
    assert_int_equal(messages, 2);
    bl_loader_close(loader);
    bl_dataset_close(data);
}

static void test_damaged_images(void **state)
{
    for (int k = 0; k < 2; k++) {
        const char *dir = k ? "damaged80" : "damaged8", *train = k ? "damaged80/train" : "damaged8/train",
                   *test = k ? "damaged80/test" : "damaged8/test";
        int size = k ? 80 : 8;
        write_class(train, "a", 20, size);
        write_class(test, "a", 10, size);
        cut_in_half(in(train, "a/0003.png"));
        write_jpg(in(train, "a/0004.jpg"), 4, size, size);
        cut_in_half(in(train, "a/0004.jpg"));
        check_damaged(dir, size, k ? 21 : 19);
        cut_in_half(in(train, "a/0005.png"));
        if (!k) {
            refused("folder", dir, "more than a tenth");
            continue;
        }
        struct bl_dataset *data = opened("folder", dir);
        struct bl_loader *loader = loader_of(data, (struct bl_loader_options){
            .view = raw_view(3, size, BL_AUGMENT_NONE), .batch = 4, .threads = 2, .training = true});
        int images;
        assert_int_equal(take_all(loader, &images), BLANCH_EINPUT);
        assert_non_null(strstr(blanch_error_message(), "more than a tenth"));
        bl_loader_close(loader);
        bl_dataset_close(data);
    }
}

static void test_image_file(void **state)
{
    struct bl_view view = raw_view(3, 16, BL_AUGMENT_NONE);
    static float out[16 * 16 * 3];
    static uint8_t bytes[65536];
    make_folder(in("files", ""));
    const char *path = in("files", "a.jpg");
    write_jpg(path, 1, 40, 60);
    assert_int_equal(bl_image_file(path, &view, out), 0);
    cut_in_half(path);
    assert_int_equal(bl_image_file(path, &view, out), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "a.jpg: the JPEG is cut off"));
    path = in("files", "b.png");
    write_png(path, 1, 40, 60);
    assert_int_equal(bl_image_file(path, &view, out), 0);
    size_t size = read_file(path, bytes, sizeof bytes);
    bytes[size / 2] ^= 4;
    write_file(path, bytes, size);
    assert_int_equal(bl_image_file(path, &view, out), BLANCH_EINPUT);
    write_file(path, "not an image", 12);
    assert_int_equal(bl_image_file(path, &view, out), BLANCH_EINPUT);
    assert_int_equal(bl_image_file(in("files", ""), &view, out), BLANCH_EINPUT);
    write_png(path, 1, 1, 900);
    view.augment = BL_AUGMENT_IMAGENET;
    assert_int_equal(bl_image_file(path, &view, out), 0);
}

static void test_mixed_sizes(void **state)
{
    write_class("mixed", "a", 20, 8);
    write_png(in("mixed/a", "0013.png"), 13, 20, 10);
    struct bl_dataset *data = opened("folder", "mixed");
    assert_int_equal(bl_dataset_size(data), 0);
    struct bl_loader *loader = loader_of(data, (struct bl_loader_options){
        .view = raw_view(1, 12, BL_AUGMENT_CIFAR), .batch = 5, .training = true, .epochs = 2});
    int images;
    assert_int_equal(take_all(loader, &images), 0);
    assert_int_equal(images, 36);
    bl_loader_close(loader);
    bl_dataset_close(data);
}

/* --- augmentation ----------------------------------------------------------------------------- */

static bool placed_so(const float *out, int i, int top, int left, bool flip)
{
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++) {
            int sy = y + top, sx = (flip ? 31 - x : x) + left;
            bool inside = sy >= 0 && sy < 32 && sx >= 0 && sx < 32;
            for (int c = 0; c < 3; c++)
                if (byte_of(out[(y * 32 + x) * 3 + c]) != (inside ? picture(i, sy, sx, c) : 0))
                    return false;
        }
    return true;
}

/* Every training image is one of the 9 x 9 x 2 crops, and all offsets occur. */
static void test_cifar_augmentation(void **state)
{
    write_cifar10("cifar3");
    struct bl_dataset *data = opened("cifar10", "cifar3");
    struct bl_view view = raw_view(3, 32, BL_AUGMENT_CIFAR);
    static float out[3072];
    int tops[9] = {0}, lefts[9] = {0}, flips[2] = {0}, found = 0;
    for (uint64_t epoch = 0; epoch < 4; epoch++)
        for (uint32_t k = 0; k < 50; k++) {
            int32_t label;
            assert_int_equal(bl_dataset_image(data, BL_TRAIN, k, &view, true, 5, epoch, out, &label), 0);
            for (int i = 0; i < 162; i++)
                if (placed_so(out, (int)k % 10, i % 9 - 4, i / 9 % 9 - 4, i / 81)) {
                    tops[i % 9]++, lefts[i / 9 % 9]++, flips[i / 81]++, found++;
                    break;
                }
        }
    assert_int_equal(found, 200);
    for (int i = 0; i < 9; i++)
        assert_true(tops[i] > 5 && lefts[i] > 5);
    assert_true(flips[0] > 70 && flips[1] > 70);
    bl_dataset_close(data);
}

/* A constant stays constant, and a ramp's mean stays its mean, however it is resized. */
static void test_resizing(void **state)
{
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

static void test_loader_order(void **state)
{
    struct bl_dataset *data;
    assert_int_equal(bl_dataset_open(&data, "synthetic:1x8x8:2048", 0), 0);
    struct bl_loader_options options = {.view = raw_view(1, 8, BL_AUGMENT_NONE), .batch = 100, .training = true, .seed = 3, .epochs = 2};
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
    for (int i = 0; i < 2048; i++)
        assert_true(seen[0][i] == 1 && seen[1][i] == 1);
    options.training = false;
    options.epochs = 1;
    loader = loader_of(data, options);
    for (int i = 0; !bl_loader_next(loader, &batch) && batch.count; i++)
        assert_int_equal(batch.labels[0], i * 100);
    bl_loader_close(loader);
    bl_dataset_close(data);
}

static uint64_t hash_batches(struct bl_dataset *data, struct bl_loader_options options, int count)
{
    struct bl_loader *loader = loader_of(data, options);
    size_t floats = (size_t)options.view.size * options.view.size * options.view.channels;
    uint64_t hash = BL_HASH_START;
    struct bl_batch batch;
    for (int i = 0; i < count; i++) {
        assert_int_equal(bl_loader_next(loader, &batch), 0);
        hash = bl_hash(hash, batch.images, floats * (size_t)batch.count * sizeof(float));
        hash = bl_hash(hash, batch.labels, (size_t)batch.count * sizeof(int32_t));
    }
    bl_loader_close(loader);
    return hash;
}

/* The same images for any number of threads and batches ahead, in memory and made on demand; and from any start. */
static void test_loader_threads(void **state)
{
    static const char *const specs[] = {"synthetic:3x16x16:10", "synthetic:3x80x80:10"};
    for (int k = 0; k < 2; k++) {
        struct bl_dataset *data;
        assert_int_equal(bl_dataset_open(&data, specs[k], 0), 0);
        struct bl_loader_options options = {
            .view = raw_view(3, 16, k ? BL_AUGMENT_IMAGENET : BL_AUGMENT_CIFAR), .batch = 90, .threads = 1, .training = true, .seed = 9};
        uint64_t one = hash_batches(data, options, 30);
        options.threads = 5;
        options.ahead = 1;
        assert_true(hash_batches(data, options, 30) == one);
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

static void test_loader_edges(void **state)
{
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
    assert_int_equal(bl_loader_next(loader, &batch), 0);
    assert_int_equal(batch.count, 0);
    bl_loader_close(loader);
    options.batch = 0;
    assert_int_equal(bl_loader_open(&loader, data, &options), BLANCH_EUSAGE);
    options.batch = 1;
    options.view.channels = 4;
    assert_int_equal(bl_loader_open(&loader, data, &options), BLANCH_EUSAGE);
    options.view.channels = 3;
    for (int i = 0; i < 20; i++)
        bl_loader_close(loader_of(data, options));
    bl_dataset_close(data);
}

/* --- all -------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),          cmocka_unit_test(test_idx),
        cmocka_unit_test(test_idx_damage),     cmocka_unit_test(test_fashion_mnist),
        cmocka_unit_test(test_cifar),          cmocka_unit_test(test_cifar_damage),
        cmocka_unit_test(test_folder),         cmocka_unit_test(test_folder_split),
        cmocka_unit_test(test_damaged_images), cmocka_unit_test(test_image_file),
        cmocka_unit_test(test_mixed_sizes),    cmocka_unit_test(test_cifar_augmentation),
        cmocka_unit_test(test_resizing),       cmocka_unit_test(test_loader_order),
        cmocka_unit_test(test_loader_threads), cmocka_unit_test(test_loader_edges),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
