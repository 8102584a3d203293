/* CIFAR-10 and CIFAR-100. The binary version: a record is one label byte (CIFAR-100: coarse, then fine), then 32x32
 * red, green and blue planes; the count of records is the file's size divided by a record's. The version for Python
 * (pickle.h) has the same planes. */
#include "pickle.h"

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
    const char *names_file, *inner;  // the folder in the published archive
    const char *python, *python_key; // that of the version for Python; what its labels are called
    const char *files[6];            // the test file last
};
static const struct kind cifar10 = {
    10,
    1,
    names10,
    "batches.meta.txt",
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "labels",
    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin",
     "test_batch.bin"},
};
static const struct kind cifar100 = {
    100,
    2,
    names100,
    "fine_label_names.txt",
    "cifar-100-binary",
    "cifar-100-python",
    "fine_labels",
    {"train.bin", "test.bin"},
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

/* Room for so many more images. */
static int make_room(struct bl_images *images, const char *path, uint32_t added) {
    const size_t count = (size_t)images->count + added;
    uint8_t *pixels = bl_realloc(images->pixels, count * 3 * PIXELS);
    if (pixels) images->pixels = pixels;
    int32_t *labels = pixels ? bl_realloc(images->labels, count * sizeof *labels) : NULL;
    if (labels) images->labels = labels;
    return labels ? 0 : bl_fail(BLANCH_ENOMEM, "%s: out of memory", path);
}

static int append(const struct kind *kind, struct bl_images *images, const char *path, const uint8_t *bytes,
                  size_t size) {
    size_t record = (size_t)kind->label_bytes + 3 * PIXELS;
    if (size % record)
        return bl_fail(BLANCH_EINPUT,
                       "%s: %zu bytes are not a whole number of %zu-byte records: cut off, or another version", path,
                       size, record);
    uint32_t count = images->count, added = (uint32_t)(size / record);
    int code = make_room(images, path, added);
    if (code) return code;
    for (uint32_t i = 0; i < added; i++) {
        const uint8_t *from = bytes + record * i;
        if ((code = check_labels(kind, path, i, from))) return code;
        images->labels[count + i] = from[kind->label_bytes - 1];
        interleave(from + kind->label_bytes, images->pixels + (size_t)(count + i) * 3 * PIXELS);
    }
    images->count += added;
    return 0;
}

static int append_python(const struct kind *kind, struct bl_images *images, const char *path, const uint8_t *bytes,
                         size_t size) {
    struct bl_cifar_batch batch;
    int code = bl_cifar_batch_read(&batch, path, bytes, size, kind->python_key, (size_t)3 * PIXELS);
    if (!code) code = make_room(images, path, (uint32_t)batch.count);
    for (size_t i = 0; i < batch.count && !code; i++) {
        if (batch.labels[i] >= kind->classes)
            return bl_fail(BLANCH_EINPUT, "%s: image %zu has label %d, which is not in 0..%d", path, i, batch.labels[i],
                           kind->classes - 1);
        images->labels[images->count] = batch.labels[i];
        interleave(batch.data + i * 3 * PIXELS, images->pixels + (size_t)images->count++ * 3 * PIXELS);
    }
    return code;
}

static int load_file(struct bl_dataset *data, const struct kind *kind, enum bl_split split, const char *name,
                     bool python) {
    char *path = bl_format("%s/%.*s", data->folder, (int)(strlen(name) - (python ? 4 : 0)), name);
    uint8_t *bytes = NULL;
    size_t size;
    int code = path ? bl_data_read(path, &bytes, &size) : BLANCH_ENOMEM;
    if (!code) code = (python ? append_python : append)(kind, &data->split[split], path, bytes, size);
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

/* Whether a folder holds the first file of a version; -1: no memory. */
static int holds(const char *folder, const char *inner, const struct kind *kind, bool python) {
    const char *file = kind->files[0];
    char *path =
        bl_format("%s%s%s/%.*s", folder, *inner ? "/" : "", inner, (int)(strlen(file) - (python ? 4 : 0)), file);
    const int there = path ? bl_data_exists(path) : -1;
    free(path);
    return there;
}

/* The folder itself, or the archive's folder inside it; the binary version first. Without either the error names the
 * binary version's file. */
static int find_folder(struct bl_dataset *data, const struct kind *kind, const char *folder, bool *python) {
    const struct {
        const char *inner;
        bool python;
    } places[] = {{"", false}, {kind->inner, false}, {"", true}, {kind->python, true}, {"", false}};
    int i = 0, there = 0;
    if (!bl_data_exists(folder)) return bl_fail(BLANCH_EINPUT, "%s: there is no such folder", folder);
    while (i < BL_COUNT(places) - 1 && !(there = holds(folder, places[i].inner, kind, places[i].python))) i++;
    if (there < 0) return BLANCH_ENOMEM;
    *python = places[i].python;
    data->folder = bl_format("%s%s%s", folder, *places[i].inner ? "/" : "", places[i].inner);
    return data->folder ? 0 : BLANCH_ENOMEM;
}

static int open_kind(struct bl_dataset *data, const struct kind *kind, const char *folder) {
    bool python = false;
    data->classes = kind->classes;
    data->channels = 3;
    data->height = data->width = SIZE;
    int code = find_folder(data, kind, folder, &python);
    if (!code) code = read_names(data, kind);
    for (int i = 0; !code && i < BL_COUNT(kind->files) && kind->files[i]; i++) {
        bool test = i + 1 == BL_COUNT(kind->files) || !kind->files[i + 1];
        code = load_file(data, kind, test ? BL_TEST : BL_TRAIN, kind->files[i], python);
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
