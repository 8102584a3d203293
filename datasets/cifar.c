/* CIFAR-10 and CIFAR-100, the binary version: a record is one label byte (CIFAR-100: coarse, then fine), then 32x32
 * red, green and blue planes. The count of records is the file's size divided by a record's. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define SIZE 32
#define PIXELS (SIZE * SIZE)

static const char *const names10[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                      "dog",      "frog",       "horse", "ship", "truck"};
static const char *const names100[] = {
    "apple",      "aquarium_fish", "baby",         "bear",       "beaver",      "bed",         "bee",
    "beetle",     "bicycle",       "bottle",       "bowl",       "boy",         "bridge",      "bus",
    "butterfly",  "camel",         "can",          "castle",     "caterpillar", "cattle",      "chair",
    "chimpanzee", "clock",         "cloud",        "cockroach",  "couch",       "crab",        "crocodile",
    "cup",        "dinosaur",      "dolphin",      "elephant",   "flatfish",    "forest",      "fox",
    "girl",       "hamster",       "house",        "kangaroo",   "keyboard",    "lamp",        "lawn_mower",
    "leopard",    "lion",          "lizard",       "lobster",    "man",         "maple_tree",  "motorcycle",
    "mountain",   "mouse",         "mushroom",     "oak_tree",   "orange",      "orchid",      "otter",
    "palm_tree",  "pear",          "pickup_truck", "pine_tree",  "plain",       "plate",       "poppy",
    "porcupine",  "possum",        "rabbit",       "raccoon",    "ray",         "road",        "rocket",
    "rose",       "sea",           "seal",         "shark",      "shrew",       "skunk",       "skyscraper",
    "snail",      "snake",         "spider",       "squirrel",   "streetcar",   "sunflower",   "sweet_pepper",
    "table",      "tank",          "telephone",    "television", "tiger",       "tractor",     "train",
    "trout",      "tulip",         "turtle",       "wardrobe",   "whale",       "willow_tree", "wolf",
    "woman",      "worm",
};

struct kind {
    int classes, label_bytes;
    const char *const *names;
    const char *names_file, *inner; // the folder in the published archive
    const char *files[6];           // the test file last
};
static const struct kind cifar10 = {
    10,
    1,
    names10,
    "batches.meta.txt",
    "cifar-10-batches-bin",
    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin",
     "test_batch.bin"},
};
static const struct kind cifar100 = {
    100, 2, names100, "fine_label_names.txt", "cifar-100-binary", {"train.bin", "test.bin"},
};

static void interleave(const uint8_t *planes, uint8_t *out) {
    for (int i = 0; i < PIXELS; i++) {
        out[3 * i] = planes[i];
        out[3 * i + 1] = planes[PIXELS + i];
        out[3 * i + 2] = planes[2 * PIXELS + i];
    }
}

static int check_labels(const struct kind *kind, const char *path, uint32_t index, const uint8_t *record) {
    int label = record[kind->label_bytes - 1];
    if (label >= kind->classes)
        return bl_fail(BLANCH_EINPUT, "%s: image %u has label %d, which is not in 0..%d", path, index, label,
                       kind->classes - 1);
    if (kind->label_bytes == 2 && record[0] >= 20)
        return bl_fail(BLANCH_EINPUT, "%s: image %u has coarse label %d, which is not in 0..19", path, index,
                       record[0]);
    return 0;
}

static int append(const struct kind *kind, struct bl_images *images, const char *path, const uint8_t *bytes,
                  size_t size) {
    size_t record = (size_t)kind->label_bytes + 3 * PIXELS;
    if (size % record)
        return bl_fail(BLANCH_EINPUT,
                       "%s: %zu bytes are not a whole number of %zu-byte records: cut off, or another version", path,
                       size, record);
    uint32_t count = images->count, added = (uint32_t)(size / record);
    uint8_t *pixels = bl_realloc(images->pixels, ((size_t)count + added) * 3 * PIXELS);
    if (!pixels) return bl_fail(BLANCH_ENOMEM, "%s: out of memory", path);
    images->pixels = pixels;
    int32_t *labels = bl_realloc(images->labels, ((size_t)count + added) * sizeof *labels);
    if (!labels) return bl_fail(BLANCH_ENOMEM, "%s: out of memory", path);
    images->labels = labels;
    for (uint32_t i = 0; i < added; i++) {
        const uint8_t *from = bytes + record * i;
        int code = check_labels(kind, path, i, from);
        if (code) return code;
        labels[count + i] = from[kind->label_bytes - 1];
        interleave(from + kind->label_bytes, pixels + (size_t)(count + i) * 3 * PIXELS);
    }
    images->count += added;
    return 0;
}

static int load_file(struct bl_dataset *data, const struct kind *kind, enum bl_split split, const char *name) {
    char *path = bl_format("%s/%s", data->folder, name);
    uint8_t *bytes = NULL;
    size_t size;
    int code = path ? bl_data_read(path, &bytes, &size) : BLANCH_ENOMEM;
    if (!code) code = append(kind, &data->split[split], path, bytes, size);
    free(bytes);
    free(path);
    return code;
}

/* A name a line; the built-in names where the file is missing or of another length. */
static int read_names(struct bl_dataset *data, const struct kind *kind) {
    const char *names[100];
    char *path = bl_format("%s/%s", data->folder, kind->names_file), *text = NULL, *rest;
    uint8_t *bytes = NULL;
    size_t size;
    int found = 0;
    if (path && bl_data_exists(path) && !bl_data_read(path, &bytes, &size))
        text = bl_format("%.*s", (int)(size < 65536 ? size : 65536), (const char *)bytes);
    for (char *line = text ? strtok_r(text, "\r\n", &rest) : NULL; line; line = strtok_r(NULL, "\r\n", &rest))
        if (found++ < kind->classes) names[found - 1] = line;
    int code = bl_dataset_names(data, found == kind->classes ? names : kind->names);
    free(text);
    free(bytes);
    free(path);
    return code;
}

/* The folder itself, or the archive's folder inside it. */
static int find_folder(struct bl_dataset *data, const struct kind *kind, const char *folder) {
    char *first = bl_format("%s/%s", folder, kind->files[0]), *inner = bl_format("%s/%s", folder, kind->inner);
    char *inner_first = bl_format("%s/%s/%s", folder, kind->inner, kind->files[0]);
    char *python = first ? bl_format("%.*s", (int)(strlen(first) - 4), first) : NULL;
    int code = 0;
    if (!first || !inner || !inner_first || !python)
        code = BLANCH_ENOMEM;
    else if (!bl_data_exists(folder))
        code = bl_fail(BLANCH_EINPUT, "%s: there is no such folder", folder);
    else if (bl_data_exists(first) || !bl_data_exists(inner_first))
        data->folder = bl_strdup(folder);
    else
        data->folder = bl_strdup(inner);
    if (!code && !data->folder) code = BLANCH_ENOMEM;
    if (!code && !bl_data_exists(first) && bl_data_exists(python))
        code =
            bl_fail(BLANCH_EINPUT, "%s: this is the Python version; the binary version has %s", folder, kind->files[0]);
    free(first);
    free(inner);
    free(inner_first);
    free(python);
    return code;
}

static int open_kind(struct bl_dataset *data, const struct kind *kind, const char *folder) {
    data->classes = kind->classes;
    data->channels = 3;
    data->height = data->width = SIZE;
    int code = find_folder(data, kind, folder);
    if (!code) code = read_names(data, kind);
    for (int i = 0; !code && i < BL_COUNT(kind->files) && kind->files[i]; i++) {
        bool test = i + 1 == BL_COUNT(kind->files) || !kind->files[i + 1];
        code = load_file(data, kind, test ? BL_TEST : BL_TRAIN, kind->files[i]);
    }
    return code;
}

static int open_cifar10(struct bl_dataset *data, const char *argument, uint64_t seed) {
    return open_kind(data, &cifar10, argument);
}

static int open_cifar100(struct bl_dataset *data, const char *argument, uint64_t seed) {
    return open_kind(data, &cifar100, argument);
}

const struct bl_format bl_format_cifar10 = {
    .name = "cifar10",
    .help = "cifar10:DIR",
    .augment = BL_AUGMENT_CIFAR,
    .mean = {0.4914f, 0.4822f, 0.4465f},
    .deviation = {0.2023f, 0.1994f, 0.2010f},
    .open = open_cifar10,
};

const struct bl_format bl_format_cifar100 = {
    .name = "cifar100",
    .help = "cifar100:DIR",
    .augment = BL_AUGMENT_CIFAR,
    .mean = {0.5071f, 0.4865f, 0.4409f},
    .deviation = {0.2009f, 0.1984f, 0.2023f},
    .open = open_cifar100,
};
