/* Datasets: formats on small files made here, and damage to them. */
#include "datasets.h"

/* --- helpers ---------------------------------------------------------------------------------- */

static size_t read_file(const char *path, uint8_t *data, size_t size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size = fread(data, 1, size, file);
    fclose(file);
    return size;
}

static void write_gzip(const char *path, const void *data, size_t size) {
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

static void paint(uint8_t *out, int i, int height, int width, int channels) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) *out++ = picture(i, y, x, c);
}

static void write_png(const char *path, int i, int height, int width) {
    uint8_t *pixels = malloc((size_t)height * width * 3);
    paint(pixels, i, height, width, 3);
    assert_true(stbi_write_png(path, width, height, 3, pixels, width * 3));
    free(pixels);
}

static void write_jpg(const char *path, int i, int height, int width) {
    uint8_t *pixels = malloc((size_t)height * width * 3);
    paint(pixels, i, height, width, 3);
    assert_true(stbi_write_jpg(path, width, height, 3, pixels, 90));
    free(pixels);
}

static void cut_in_half(const char *path) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size / 2), 0);
}

static void refused(const char *format, const char *dir, const char *message) {
    struct bl_dataset *data;
    char spec[512];
    snprintf(spec, sizeof spec, "%s:%s", format, in(dir, ""));
    assert_int_equal(bl_dataset_open(&data, spec, 1), BLANCH_EINPUT);
    assert_null(data);
    if (!strstr(blanch_error_message(), message) || !strstr(blanch_error_message(), root))
        fail_msg("'%s' lacks '%s'", blanch_error_message(), message);
    assert_null(strchr(blanch_error_message(), '\n'));
}

static void write_class(const char *dir, const char *name, int count, int size) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    make_folder(in(path, ""));
    for (int i = 0; i < count; i++) write_png(in(path, "%04d.png", i), i, size, size);
}

static int take_all(struct bl_loader *loader, int *images) {
    struct bl_batch batch;
    int rc;
    *images = 0;
    while (!(rc = bl_loader_next(loader, &batch)) && batch.count) *images += batch.count;
    return rc;
}

/* --- specs ------------------------------------------------------------------------------------ */

static void test_specs(void **state) {
    static const char *const wrong[] = {"cifar",
                                        "",
                                        "mnist",
                                        "cifar10:",
                                        "synthetic:3x32:10",
                                        "synthetic:17x32x32:10",
                                        "synthetic:3x32x0:10",
                                        "synthetic:3x32x32:0",
                                        "synthetic:3x32x32:10:5",
                                        "synthetic:3x99999999999999999999x32:1"};
    struct bl_dataset *data;
    for (int i = 0; i < BL_COUNT(wrong); i++) assert_int_equal(bl_dataset_open(&data, wrong[i], 0), BLANCH_EUSAGE);
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

static void write_idx(const char *dir, const char *prefix, bool gzip) {
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

static void test_idx(void **state) {
    write_idx("idx", "train", true);
    write_idx("idx", "t10k", false);
    struct bl_dataset *data = opened("mnist", "idx");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), IDX_IMAGES);
    assert_int_equal(bl_dataset_count(data, BL_TEST), IDX_IMAGES);
    assert_int_equal(side_of(data), 28);
    assert_int_equal(bl_dataset_channels(data), 1);
    assert_int_equal(bl_dataset_classes(data), 10);
    assert_string_equal(bl_dataset_class_name(data, 7), "7");
    static float out[32 * 32 * 3];
    struct bl_transform transform = transform_of(raw_view(3, 32, BL_AUGMENT_NONE), true, 1);
    assert_int_equal(bl_dataset_image(data, BL_TEST, 3, &transform, 0, out), 0);
    assert_int_equal(bl_dataset_label(data, BL_TEST, 3), 6);
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++)
            for (int c = 0; c < 3; c++) {
                bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
                assert_int_equal(byte_of(out[(y * 32 + x) * 3 + c]), inside ? picture(3, y - 2, x - 2, 0) : 0);
            }
    assert_int_equal(bl_dataset_image(data, BL_TEST, IDX_IMAGES, &transform, 0, out), BLANCH_EUSAGE);
    struct bl_view view;
    bl_view_default(&view, data, 1, 32, 32);
    assert_int_equal(bl_view_normalise(&view, data, bl_normalise_default(data, 32, 32)), 0);
    assert_int_equal(view.augment, BL_AUGMENT_NONE);
    assert_true(view.mean[0] == 0.1307f && view.deviation[0] == 0.3081f);
    bl_dataset_close(data);
}

static void test_idx_damage(void **state) {
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

static void test_fashion_mnist(void **state) {
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
    bl_view_default(&view, data, 1, 28, 28);
    assert_int_equal(bl_view_normalise(&view, data, bl_normalise_default(data, 28, 28)), 0);
    struct bl_transform transform = transform_of(view, false, 0);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &transform, 0, out), 0);
    assert_int_equal(bl_dataset_label(data, BL_TRAIN, 0), 9);
    bl_dataset_close(data);
}

/* --- CIFAR ------------------------------------------------------------------------------------ */
static void test_cifar(void **state) {
    write_cifar10("cifar/cifar-10-batches-bin");
    struct bl_dataset *data = opened("cifar10", "cifar");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 50);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 7);
    assert_string_equal(bl_dataset_class_name(data, 0), "airplane");
    struct bl_transform transform = transform_of(raw_view(3, 32, BL_AUGMENT_CIFAR), false, 0);
    static float out[3072];
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 24, &transform, 0, out), 0);
    assert_int_equal(bl_dataset_label(data, BL_TRAIN, 24), 4);
    for (int i = 0; i < 3072; i++) assert_int_equal(byte_of(out[i]), picture(4, i / 96, i / 3 % 32, i % 3));
    transform = transform_of(raw_view(1, 32, BL_AUGMENT_NONE), false, 0);
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 0, &transform, 0, out), 0);
    double luma = 0.299 * picture(0, 5, 6, 0) + 0.587 * picture(0, 5, 6, 1) + 0.114 * picture(0, 5, 6, 2);
    assert_true(fabs(out[5 * 32 + 6] - luma) <= 0.51);
    struct bl_view view;
    bl_view_default(&view, data, 3, 32, 32);
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

static void test_cifar_damage(void **state) {
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
    refused("cifar10", "cifar2", "not one of CIFAR's batches for Python");
}

/* --- folders ---------------------------------------------------------------------------------- */
static void test_folder(void **state) {
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
    assert_int_equal(bl_dataset_count(data, BL_VAL), 1);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 0);
    assert_int_equal(side_of(data), 8);
    struct bl_transform transform = transform_of(raw_view(3, 8, BL_AUGMENT_NONE), false, 0);
    float out[192];
    assert_int_equal(bl_dataset_image(data, BL_TRAIN, 3, &transform, 0, out), 0);
    assert_int_equal(bl_dataset_label(data, BL_TRAIN, 3), 1);
    for (int i = 0; i < 192; i++) assert_int_equal(byte_of(out[i]), picture(1, i / 24, i / 3 % 8, i % 3));
    bl_dataset_close(data);
    write_class("tree/val", "emu", 1, 8);
    refused("folder", "tree", "val/emu: the training images have no class");
    make_folder(in("tree/train/fox", ""));
    refused("folder", "tree", "train/fox: the training class has no images");
}

static void test_folder_split(void **state) {
    write_class("split", "a", 15, 8);
    write_class("split", "b", 15, 8);
    struct bl_dataset *data = opened("folder", "split");
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), 27);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 3);
    struct bl_transform transform = transform_of(raw_view(3, 8, BL_AUGMENT_NONE), false, 0);
    float first[192], again[192];
    assert_int_equal(bl_dataset_image(data, BL_TEST, 0, &transform, 0, first), 0);
    bl_dataset_close(data);
    data = opened("folder", "split");
    assert_int_equal(bl_dataset_image(data, BL_TEST, 0, &transform, 0, again), 0);
    assert_memory_equal(first, again, sizeof first);
    bl_dataset_close(data);
    make_folder(in("bare", ""));
    refused("folder", "bare", "no class folders");
}
static int images_of(struct bl_dataset *data, enum bl_split split, uint8_t *first) {
    struct bl_transform transform = transform_of(raw_view(3, 8, BL_AUGMENT_NONE), false, 0);
    static float out[192];
    for (uint32_t i = 0; i < bl_dataset_count(data, split); i++) {
        assert_int_equal(bl_dataset_image(data, split, i, &transform, 0, out), 0);
        first[i] = (uint8_t)byte_of(out[0]);
    }
    return (int)bl_dataset_count(data, split);
}

/* Images that are added or go leave the others where they are. */
static void test_split_stays(void **state) {
    uint8_t before[200], after[200];
    char spec[512];
    write_class("stay", "a", 40, 8);
    write_class("stay", "b", 1, 8);
    struct bl_dataset *data = opened("folder", "stay");
    struct bl_division division = bl_dataset_division(data);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 5);
    int count = images_of(data, BL_TEST, before);
    bl_dataset_close(data);
    write_class("stay", "a", 120, 8);
    snprintf(spec, sizeof spec, "folder:%s", in("stay", ""));
    assert_int_equal(bl_dataset_open_divided(&data, spec, &division), 0);
    int now = images_of(data, BL_TEST, after), kept = 0;
    assert_int_equal(now + bl_dataset_count(data, BL_TRAIN), 121);
    for (int i = 0, k = 0; i < count; i++) {
        while (k < now && after[k] != before[i]) k++;
        kept += k < now;
    }
    assert_int_equal(kept, count);
    bl_dataset_close(data);
    division.seed++;
    division.limit = 0;
    assert_int_equal(bl_dataset_open_divided(&data, spec, &division), 0);
    assert_int_equal(images_of(data, BL_TEST, before), 13);
    assert_int_not_equal(memcmp(before, after, 5), 0);
    bl_dataset_close(data);
}

static void test_classes_by_name(void **state) {
    write_class("named/train", "cat", 3, 8);
    write_class("named/train", "emu", 2, 8);
    write_class("named/test", "emu", 1, 8);
    const char *const names[] = {"dog", "emu", "cat"};
    struct bl_dataset *data = opened("folder", "named");
    assert_non_null(strstr(bl_dataset_message(data), "no test images of 'cat'"));
    assert_int_equal(bl_dataset_classes_as(data, names, 2, false), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "'cat'"));
    assert_int_equal(bl_dataset_classes_as(data, names, 3, true), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "'dog'"));
    assert_int_equal(bl_dataset_label(data, BL_TRAIN, 0), 0);
    assert_int_equal(bl_dataset_classes_as(data, names, 3, false), 0);
    assert_int_equal(bl_dataset_classes(data), 3);
    assert_string_equal(bl_dataset_class_name(data, 0), "dog");
    assert_int_equal(bl_dataset_label(data, BL_TRAIN, 0), 2);
    assert_int_equal(bl_dataset_label(data, BL_TRAIN, 3), 1);
    assert_int_equal(bl_dataset_label(data, BL_TEST, 0), 1);
    assert_non_null(strstr(bl_dataset_message(data), "'dog'"));
    assert_null(bl_dataset_message(data));
    bl_dataset_close(data);
}

/* More than 2,000 are looked at without being decoded; those that look cut off are. */
static void test_check_of_many(void **state) {
    uint8_t bytes[65536];
    write_class("many/train", "a", 2, 80);
    write_class("many/train", "b", 2, 80);
    write_class("many/test", "a", 1, 80);
    for (int i = 0; i < 2100; i++) link(in("many/test/a", "0000.png"), in("many/test/a", "more%d.png", i));
    size_t size = read_file(in("many/test/a", "0000.png"), bytes, sizeof bytes);
    write_file(in("many/test/a", "cut.png"), bytes, size - 20);
    write_file(in("many/test/a", "empty.png"), bytes, 0);
    write_file(in("many/test/a", "trailing.png"), bytes, size + 3);
    struct bl_dataset *data = opened("folder", "many");
    assert_non_null(bl_dataset_message(data)); // of the class without test images
    assert_int_equal(bl_dataset_check(data), 0);
    assert_int_equal(bl_dataset_count(data, BL_TEST), 2102);
    assert_int_equal(bl_dataset_found(data, BL_TEST, NULL), 2104);
    for (int i = 0; i < 2; i++) assert_non_null(strstr(bl_dataset_message(data), "/test/a/"));
    assert_null(bl_dataset_message(data));
    bl_dataset_close(data);
}

static void expect_message(struct bl_dataset *data, const char *expected) {
    const char *message = bl_dataset_message(data);
    assert_non_null(message);
    if (!strstr(message, expected)) fail_msg("'%s' lacks '%s'", message, expected);
}

/* However few its images are, a class keeps one to be trained on; where none is left to test with, that is said. */
static void test_split_keeps_classes(void **state) {
    write_class("few", "a", 1, 8);
    write_class("few", "b", 1, 8);
    write_class("fewer", "a", 1, 8);
    write_class("fewer", "b", 12, 8);
    char spec[2][512];
    snprintf(spec[0], sizeof spec[0], "folder:%s", in("few", ""));
    snprintf(spec[1], sizeof spec[1], "folder:%s", in("fewer", ""));
    for (uint64_t seed = 0; seed < 20; seed++)
        for (int k = 0; k < 2; k++) {
            struct bl_dataset *data;
            bool has[2] = {false, false};
            assert_int_equal(bl_dataset_open(&data, spec[k], seed), 0);
            for (uint32_t i = 0; i < bl_dataset_count(data, BL_TRAIN); i++)
                has[bl_dataset_label(data, BL_TRAIN, i)] = true;
            assert_true(has[0] && has[1]);
            char *line = bl_dataset_describe(data);
            if (!k) assert_non_null(strstr(line, "2 training images, 2 classes (no splits, and no image to spare"));
            free(line);
            bl_dataset_close(data);
        }
}

/* Beside class folders: an image's name in what lies there counts, notes and lists do not. A split that is empty is
 * spoken of. */
static void test_beside_classes(void **state) {
    write_class("beside/train", "a", 2, 8);
    write_class("beside/train", "b", 2, 8);
    make_folder(in("beside/val", ""));
    static const char *const files[] = {"a.webp",       "README.txt",      "labels.csv", "c.zip",
                                        "train/b.TIFF", "train/list.json", "x.png"};
    for (int i = 0; i < BL_COUNT(files); i++) write_file(in("beside", files[i]), "x", 1);
    for (int i = 0; i < 2; i++) assert_int_equal(symlink("nowhere", in("beside", i ? "y.jpg" : "notes")), 0);
    struct bl_dataset *data = opened("folder", "beside");
    char *line = bl_dataset_describe(data);
    assert_non_null(strstr(line, "; 3 files of types not read: .tiff 1, .webp 1, broken link 1"));
    free(line);
    expect_message(data, "val has no class folders and is not read");
    expect_message(data, "beside: 1 images lie in no class folder");
    expect_message(data, "no test images of");
    assert_null(bl_dataset_message(data));
    bl_dataset_close(data);
}

/* size 8: decoded on opening; 80: on demand */
static void check_damaged(const char *dir, int size, int left) {
    struct bl_dataset *data = opened("folder", dir);
    assert_int_equal(side_of(data), size <= 64 ? size : 0);
    assert_int_equal(bl_dataset_count(data, BL_TRAIN), left);
    struct bl_loader *loader = loader_of(
        data, (struct bl_loader_options){
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

static void test_damaged_images(void **state) {
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
        struct bl_loader *loader = loader_of(
            data, (struct bl_loader_options){
                      .view = raw_view(3, size, BL_AUGMENT_NONE), .batch = 4, .threads = 2, .training = true});
        int images;
        assert_int_equal(take_all(loader, &images), BLANCH_EINPUT);
        assert_non_null(strstr(blanch_error_message(), "more than a tenth"));
        bl_loader_close(loader);
        bl_dataset_close(data);
    }
}

/* Where the second batch of four has no whole image and the first lacks one: what is left comes in its order, once. */
static void test_damaged_in_evaluation(void **state) {
    enum { COUNT = 40, FLOATS = 3 * 16 * 16 };
    static const uint32_t cut[] = {1, 4, 5, 6, 7};
    static float expected[FLOATS];
    write_class("evaluated/train", "a", COUNT, 80);
    write_class("evaluated/train", "b", 12, 80);
    write_class("evaluated/test", "a", 1, 80);
    for (int i = 0; i < BL_COUNT(cut); i++) cut_in_half(in("evaluated/train/a", "%04u.png", cut[i]));
    for (int threads = 1; threads <= 4; threads += 3) {
        struct bl_dataset *data = opened("folder", "evaluated");
        struct bl_view view = raw_view(3, 16, BL_AUGMENT_NONE);
        struct bl_transform transform = transform_of(view, false, 0);
        struct bl_loader *loader = loader_of(
            data, (struct bl_loader_options){.view = view, .batch = 4, .threads = threads, .ahead = 1, .epochs = 2});
        struct bl_batch batch;
        for (uint32_t k = 0; k < 2 * 13; k++) {
            int count = 0;
            assert_int_equal(bl_loader_next(loader, &batch), 0);
            for (uint32_t i = k % 13 * 4; i < k % 13 * 4 + 4; i++) {
                if (i == 1 || (i >= 4 && i <= 7)) continue;
                assert_int_equal(bl_dataset_image(data, BL_TRAIN, i, &transform, 0, expected), 0);
                assert_memory_equal(batch.images + (size_t)FLOATS * count, expected, sizeof expected);
                assert_int_equal(batch.labels[count++], i >= COUNT);
            }
            assert_int_equal(batch.count, count);
            assert_int_equal(batch.whole, 4);
        }
        assert_int_equal(bl_loader_next(loader, &batch), 0);
        assert_int_equal(batch.whole, 0);
        bl_loader_close(loader);
        bl_dataset_close(data);
    }
}

static void test_image_file(void **state) {
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

static void test_mixed_sizes(void **state) {
    write_class("mixed", "a", 20, 8);
    write_png(in("mixed/a", "0013.png"), 13, 20, 10);
    struct bl_dataset *data = opened("folder", "mixed");
    assert_int_equal(side_of(data), 0);
    struct bl_loader *loader =
        loader_of(data, (struct bl_loader_options){
                            .view = raw_view(1, 12, BL_AUGMENT_CIFAR), .batch = 5, .training = true, .epochs = 2});
    int images;
    assert_int_equal(take_all(loader, &images), 0);
    assert_int_equal(images, 36);
    bl_loader_close(loader);
    bl_dataset_close(data);
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),          cmocka_unit_test(test_idx),
        cmocka_unit_test(test_idx_damage),     cmocka_unit_test(test_fashion_mnist),
        cmocka_unit_test(test_cifar),          cmocka_unit_test(test_cifar_damage),
        cmocka_unit_test(test_folder),         cmocka_unit_test(test_folder_split),
        cmocka_unit_test(test_damaged_images), cmocka_unit_test(test_damaged_in_evaluation),
        cmocka_unit_test(test_image_file),     cmocka_unit_test(test_mixed_sizes),
        cmocka_unit_test(test_split_stays),    cmocka_unit_test(test_classes_by_name),
        cmocka_unit_test(test_check_of_many),  cmocka_unit_test(test_split_keeps_classes),
        cmocka_unit_test(test_beside_classes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
