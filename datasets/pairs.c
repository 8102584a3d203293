/* Pictures with masks: folders images/ and masks/, the latter PNG files of the same names whose indices are the classes
 * of pixels, 255 none; or PASCAL VOC's. Both are read one by one. */
#include "listing.h"
#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CLASSES = 255 };

/* "DIR/images/NAME.jpg" to "DIR/masks/NAME.png"; malloc'd. */
static char *mask_of(const char *path, const char *images, const char *masks) {
    const char *name = strrchr(path, '/') + 1, *dot = strrchr(name, '.');
    const int folder = (int)(name - path) - (int)strlen(images) - 1;
    return bl_format("%.*s%s/%.*s.png", folder, path, masks, dot ? (int)(dot - name) : (int)strlen(name), name);
}

static int read_image(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *pixels) {
    return bl_image_read(data->split[split].paths[index], pixels);
}

static int check_classes(const struct bl_dataset *data, const char *path, const struct bl_pixels *mask) {
    const size_t count = (size_t)mask->width * (size_t)mask->height;
    for (size_t i = 0; i < count; i++)
        if (mask->data[i] >= data->classes && mask->data[i] != BL_UNLABELLED)
            return bl_fail(BLANCH_EINPUT, "%s: a pixel is of class %d, and there are %d", path, mask->data[i],
                           data->classes);
    return 0;
}

static int read_named(const struct bl_dataset *data, enum bl_split split, uint32_t index, const char *const names[2],
                      struct bl_pixels *mask) {
    char *path = mask_of(data->split[split].paths[index], names[0], names[1]);
    int code = path ? bl_mask_read(path, mask) : BLANCH_ENOMEM;
    if (!code && (code = check_classes(data, path, mask))) bl_pixels_free(mask);
    free(path);
    return code;
}

static const char *const pairs[2] = {"images", "masks"}, *const voc[2] = {"JPEGImages", "SegmentationClass"};

static int read_pair(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *mask) {
    return read_named(data, split, index, pairs, mask);
}
static int read_voc(const struct bl_dataset *data, enum bl_split split, uint32_t index, struct bl_pixels *mask) {
    return read_named(data, split, index, voc, mask);
}

/* --- lists ------------------------------------------------------------------------------------ */

/* Takes the paths over. */
static int take(struct bl_images *images, struct bl_names *paths) {
    images->labels = bl_calloc(paths->count, sizeof *images->labels);
    images->damaged = bl_calloc(paths->count, sizeof *images->damaged);
    if (!images->labels || !images->damaged) return BLANCH_ENOMEM;
    images->paths = paths->at;
    images->count = (uint32_t)paths->count;
    *paths = (struct bl_names){0};
    return 0;
}

static int add_path(struct bl_names *paths, const char *folder, const char *name) {
    char *path = bl_format("%s/%s", folder, name);
    int code = path ? bl_names_add(paths, path) : BLANCH_ENOMEM;
    free(path);
    return code;
}

/* The lines of a text file, without blanks at their ends and without empty ones. */
static int read_lines(const char *path, struct bl_names *lines) {
    uint8_t *bytes;
    size_t size;
    int code = bl_data_read(path, &bytes, &size);
    for (size_t at = 0, end; !code && at < size; at = end + 1) {
        for (end = at; end < size && bytes[end] != '\n';) end++;
        size_t last = end;
        while (last > at && strchr(" \t\r", bytes[last - 1])) last--;
        char *line = last > at ? bl_format("%.*s", (int)(last - at), (const char *)bytes + at) : NULL;
        if (last > at) code = line ? bl_names_add(lines, line) : BLANCH_ENOMEM;
        free(line);
    }
    free(bytes);
    return code;
}

/* --- classes ---------------------------------------------------------------------------------- */

static int name_classes(struct bl_dataset *data) {
    if (!(data->class_names = bl_calloc((size_t)data->classes, sizeof *data->class_names))) return BLANCH_ENOMEM;
    for (int i = 0; i < data->classes; i++)
        if (!(data->class_names[i] = bl_format("class %d", i))) return BLANCH_ENOMEM;
    return 0;
}

static int add_largest(const char *image, int *largest) {
    char *path = mask_of(image, pairs[0], pairs[1]);
    struct bl_pixels mask = {0};
    int code = path ? bl_mask_read(path, &mask) : BLANCH_ENOMEM;
    for (size_t k = 0; !code && k < (size_t)mask.width * (size_t)mask.height; k++)
        if (mask.data[k] != BL_UNLABELLED && mask.data[k] > *largest) *largest = mask.data[k];
    bl_pixels_free(&mask);
    free(path);
    return code;
}

/* The largest class of the training images' masks. One that cannot be read is found when it is wanted, but where none
 * can, the first one's reason is the dataset's. */
static int find_largest(struct bl_dataset *data, enum bl_split split, int *largest) {
    const struct bl_images *images = &data->split[split];
    uint32_t unread = 0;
    int code = 0;
    for (uint32_t i = 0; i < images->count && !code; i++) {
        code = add_largest(images->paths[i], largest);
        if (code == BLANCH_EINPUT) unread++, code = 0;
        if (!code) code = bl_check_interrupted();
    }
    return !code && unread && unread == images->count ? add_largest(images->paths[0], largest) : code;
}

/* DIR/classes.txt, a name a line; without it the masks of the training images tell, else those that there are. */
static int find_classes(struct bl_dataset *data) {
    struct bl_names names = {0};
    char *path = bl_format("%s/classes.txt", data->folder);
    int code = path ? 0 : BLANCH_ENOMEM, largest = 0;
    if (!code && bl_data_exists(path)) {
        code = read_lines(path, &names);
        if (!code && (names.count < 1 || names.count > MOST_CLASSES))
            code =
                bl_fail(BLANCH_EINPUT, "%s: it names %zu classes; there are 1 to %d", path, names.count, MOST_CLASSES);
        if (!code) data->classes = (int)names.count, data->class_names = names.at, names = (struct bl_names){0};
    } else if (!code) {
        for (int s = 0; s < BL_SPLITS && !code; s++)
            if (s == BL_TRAIN || !data->split[BL_TRAIN].count) code = find_largest(data, (enum bl_split)s, &largest);
        data->classes = largest + 1;
        if (!code) code = name_classes(data);
    }
    bl_names_free(&names);
    free(path);
    return code;
}

/* --- pairs ------------------------------------------------------------------------------------ */

static int list_split(struct bl_dataset *data, enum bl_split split) {
    struct bl_names names = {0}, paths = {0};
    char *folder = bl_format("%s/%s", data->root[split], pairs[0]);
    int code = folder ? bl_list(data, folder, NULL, &names) : BLANCH_ENOMEM;
    if (!code && !names.count) code = bl_fail(BLANCH_EINPUT, "%s: there are no images in it", folder);
    for (size_t i = 0; i < names.count && !code; i++) {
        char *path = bl_format("%s/%s", folder, names.at[i]), *mask = path ? mask_of(path, pairs[0], pairs[1]) : NULL;
        code = mask ? 0 : BLANCH_ENOMEM;
        if (!code && !bl_data_exists(mask))
            code = bl_fail(BLANCH_EINPUT, "%s: there is no such mask of %s", mask, path);
        if (!code) code = bl_names_add(&paths, path);
        free(path), free(mask);
    }
    if (!code) code = take(&data->split[split], &paths);
    bl_names_free(&names);
    bl_names_free(&paths);
    free(folder);
    return code;
}

/* The folders of the splits, by names as a folder's of classes; without any, the training images'. */
static int find_roots(struct bl_dataset *data) {
    struct bl_names folders = {0};
    int code = bl_list(NULL, data->folder, &folders, NULL);
    bool any = false;
    for (size_t i = 0; i < folders.count && !code; i++) {
        const int split = bl_split_named(folders.at[i], false);
        if (split < 0) continue;
        if (data->root[split])
            code = bl_fail(BLANCH_EINPUT, "%s: two folders hold the %s images; only one of them can be read",
                           data->folder, bl_split_title((enum bl_split)split));
        else if (!(data->root[split] = bl_format("%s/%s", data->folder, folders.at[i])))
            code = BLANCH_ENOMEM;
        any = true;
    }
    bl_names_free(&folders);
    if (!code && !any && !(data->root[BL_TRAIN] = bl_strdup(data->folder))) code = BLANCH_ENOMEM;
    return code;
}

static int open_pairs(struct bl_dataset *data, const char *folder, uint64_t seed) {
    data->channels = 3;
    data->read = read_image, data->read_mask = read_pair;
    if (!(data->folder = bl_strdup(folder))) return BLANCH_ENOMEM;
    int code = find_roots(data);
    for (int s = 0; s < BL_SPLITS && !code; s++)
        if (data->root[s]) code = list_split(data, (enum bl_split)s);
    return code ? code : find_classes(data);
}

/* --- PASCAL VOC ------------------------------------------------------------------------------- */

static const char *const voc_classes[] = {
    "background", "aeroplane", "bicycle",     "bird",  "boat",        "bottle", "bus",
    "car",        "cat",       "chair",       "cow",   "diningtable", "dog",    "horse",
    "motorbike",  "person",    "pottedplant", "sheep", "sofa",        "train",  "tvmonitor"};

/* ImageSets/Segmentation/train.txt names the training images, val.txt those that validate. */
static int list_voc(struct bl_dataset *data, enum bl_split split) {
    struct bl_names names = {0}, paths = {0};
    char *list = bl_format("%s/ImageSets/Segmentation/%s.txt", data->folder, bl_split_name(split)),
         *images = bl_format("%s/%s", data->folder, voc[0]);
    int code = list && images ? read_lines(list, &names) : BLANCH_ENOMEM;
    for (size_t i = 0; i < names.count && !code; i++) {
        char *file = bl_format("%s.jpg", names.at[i]);
        if (!bl_path_is_name(names.at[i]))
            code = bl_fail(BLANCH_EINPUT, "%s: '%s' is no name of an image", list, names.at[i]);
        else
            code = file ? add_path(&paths, images, file) : BLANCH_ENOMEM;
        free(file);
    }
    if (!code && !paths.count) code = bl_fail(BLANCH_EINPUT, "%s names no images", list);
    if (!code) code = take(&data->split[split], &paths);
    if (!code && !(data->root[split] = bl_strdup(images))) code = BLANCH_ENOMEM;
    bl_names_free(&names);
    bl_names_free(&paths);
    free(list), free(images);
    return code;
}

static int open_voc(struct bl_dataset *data, const char *folder, uint64_t seed) {
    data->channels = 3;
    data->read = read_image, data->read_mask = read_voc;
    data->classes = BL_COUNT(voc_classes);
    if (!(data->folder = bl_strdup(folder))) return BLANCH_ENOMEM;
    int code = bl_dataset_names(data, voc_classes);
    if (!code) code = list_voc(data, BL_TRAIN);
    return code ? code : list_voc(data, BL_VAL);
}

const struct bl_format bl_format_pairs = {
    .name = "pairs",
    .help = "pairs:DIR",
    .augment = BL_AUGMENT_CIFAR,
    .open = open_pairs,
};
const struct bl_format bl_format_voc = {
    .name = "voc",
    .help = "voc:DIR",
    .augment = BL_AUGMENT_CIFAR,
    .open = open_voc,
};
