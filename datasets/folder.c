/* Image folders: a class is a folder of images, as in torchvision's ImageFolder. */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SMALL 64                // up to this size a side, images are decoded on opening
#define MOST_BYTES (1ull << 30) // of pixels held
#define MAX_DEPTH 8             // of folders below a class; a link to its own parent ends there
#define TEST_PART 10            // one image in so many is for testing where there is no split

struct names {
    char **at;
    size_t count, capacity;
};

static void free_names(struct names *names) {
    for (size_t i = 0; i < names->count; i++) free(names->at[i]);
    free(names->at);
    *names = (struct names){0};
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* DT_UNKNOWN and links are looked up. */
static bool entry_is_folder(const char *folder, const struct dirent *entry, bool *regular) {
    struct stat status;
    *regular = entry->d_type == DT_REG;
    if (entry->d_type == DT_DIR || entry->d_type == DT_REG) return entry->d_type == DT_DIR;
    char *path = bl_format("%s/%s", folder, entry->d_name);
    bool known = path && !stat(path, &status);
    free(path);
    *regular = known && S_ISREG(status.st_mode);
    return known && S_ISDIR(status.st_mode);
}

static int add_name(struct names *names, const char *name) {
    int code = bl_grow((void **)&names->at, &names->capacity, names->count + 1, sizeof *names->at);
    if (code) return code;
    names->at[names->count] = bl_strdup(name);
    return names->at[names->count] ? (names->count++, 0) : BLANCH_ENOMEM;
}

/* Sorted names of the folders and of the images in a folder; either may be NULL. */
static int list(const char *folder, struct names *folders, struct names *images) {
    DIR *stream = opendir(folder);
    if (!stream) return bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(errno));
    const struct dirent *entry;
    int code = 0;
    while (!code && (errno = 0, entry = readdir(stream))) {
        bool regular;
        if (entry->d_name[0] == '.') continue;
        if (entry_is_folder(folder, entry, &regular))
            code = folders ? add_name(folders, entry->d_name) : 0;
        else if (images && regular && bl_image_named(entry->d_name))
            code = add_name(images, entry->d_name);
    }
    if (!code && errno) code = bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(errno));
    closedir(stream);
    if (folders && folders->count) qsort(folders->at, folders->count, sizeof *folders->at, by_name);
    if (images && images->count) qsort(images->at, images->count, sizeof *images->at, by_name);
    return code;
}

/* --- gathering -------------------------------------------------------------------------------- */

struct gathered {
    char **paths;
    int32_t *labels;
    size_t count, path_capacity, label_capacity;
};

static void free_gathered(struct gathered *all) {
    for (size_t i = 0; i < all->count; i++) free(all->paths[i]);
    free(all->paths);
    free(all->labels);
    *all = (struct gathered){0};
}

static int add_image(struct gathered *all, const char *folder, const char *name, int label) {
    int code = bl_grow((void **)&all->paths, &all->path_capacity, all->count + 1, sizeof *all->paths);
    if (!code) code = bl_grow((void **)&all->labels, &all->label_capacity, all->count + 1, sizeof *all->labels);
    if (code) return code;
    all->labels[all->count] = label;
    all->paths[all->count] = bl_format("%s/%s", folder, name);
    return all->paths[all->count] ? (all->count++, 0) : BLANCH_ENOMEM;
}

static int gather_class(struct gathered *all, const char *folder, int label, int depth) {
    struct names folders = {0}, images = {0};
    int code = list(folder, depth < MAX_DEPTH ? &folders : NULL, &images);
    for (size_t i = 0; !code && i < images.count; i++) code = add_image(all, folder, images.at[i], label);
    for (size_t i = 0; !code && i < folders.count; i++) {
        char *path = bl_format("%s/%s", folder, folders.at[i]);
        code = path ? gather_class(all, path, label, depth + 1) : BLANCH_ENOMEM;
        free(path);
    }
    free_names(&folders);
    free_names(&images);
    return code;
}

static int label_of(const struct bl_dataset *data, const char *name) {
    char *const *found = bsearch(&name, data->class_names, (size_t)data->classes, sizeof *data->class_names, by_name);
    return found ? (int)(found - data->class_names) : -1;
}

/* All images of the class folders in root. */
static int gather(const struct bl_dataset *data, const char *root, struct gathered *all) {
    struct names folders = {0};
    int code = list(root, &folders, NULL);
    for (size_t i = 0; !code && i < folders.count; i++) {
        int label = label_of(data, folders.at[i]);
        size_t before = all->count;
        char *path = bl_format("%s/%s", root, folders.at[i]);
        if (!path)
            code = BLANCH_ENOMEM;
        else if (label < 0)
            code = bl_fail(BLANCH_EINPUT, "%s: the training images have no class of this name", path);
        else
            code = gather_class(all, path, label, 0);
        if (!code && all->count == before)
            code = bl_fail(BLANCH_EINPUT, "%s: the class has no images (.jpg, .png, .bmp, .gif, .tga, .ppm)", path);
        free(path);
    }
    free_names(&folders);
    if (!code && all->count > INT32_MAX) code = bl_fail(BLANCH_EINPUT, "%s: %zu images are too many", root, all->count);
    return code;
}

static int read_classes(struct bl_dataset *data, const char *root) {
    struct names folders = {0};
    int code = list(root, &folders, NULL);
    if (!code && !folders.count) code = bl_fail(BLANCH_EINPUT, "%s: there are no class folders in it", root);
    if (!code && folders.count > 1000000)
        code = bl_fail(BLANCH_EINPUT, "%s: %zu classes are too many", root, folders.count);
    if (code) {
        free_names(&folders);
        return code;
    }
    data->classes = (int)folders.count;
    data->class_names = folders.at;
    return 0;
}

/* --- splitting -------------------------------------------------------------------------------- */

static int take(struct gathered *all, struct bl_images *images) {
    images->damaged = bl_calloc(all->count, sizeof *images->damaged);
    if (!images->damaged) return BLANCH_ENOMEM;
    images->paths = all->paths;
    images->labels = all->labels;
    images->count = (uint32_t)all->count;
    *all = (struct gathered){0};
    return 0;
}

/* Every tenth position of a seeded shuffle is marked; both parts keep the order of the names. */
static int mark_test(uint64_t seed, uint32_t count, bool *test) {
    uint32_t *order = bl_calloc(count, sizeof *order);
    if (!order) return BLANCH_ENOMEM;
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t words[4];
        bl_philox(seed, BL_RANDOM_SPLIT, i, 0, words);
        uint32_t j = bl_below(words[0], i), other = order[j];
        order[j] = order[i - 1];
        order[i - 1] = other;
    }
    for (uint32_t i = 0; i < count; i += TEST_PART) test[order[i]] = true;
    free(order);
    return 0;
}

static int split(struct bl_dataset *data, struct gathered *all, uint64_t seed) {
    struct gathered parts[BL_SPLITS] = {0};
    if (all->count < 2)
        return bl_fail(BLANCH_EINPUT, "%s: one image cannot be split into training and test images", data->folder);
    bool *test = bl_calloc(all->count, sizeof *test);
    int code = test ? mark_test(seed, (uint32_t)all->count, test) : BLANCH_ENOMEM;
    for (size_t i = 0; !code && i < all->count; i++) {
        struct gathered *part = &parts[test[i] ? BL_TEST : BL_TRAIN];
        code = bl_grow((void **)&part->paths, &part->path_capacity, part->count + 1, sizeof *part->paths);
        if (!code) code = bl_grow((void **)&part->labels, &part->label_capacity, part->count + 1, sizeof *part->labels);
        if (code) break;
        part->labels[part->count] = all->labels[i];
        part->paths[part->count++] = all->paths[i];
        all->paths[i] = NULL;
    }
    for (int s = 0; s < BL_SPLITS; s++) {
        if (!code && parts[s].count) code = take(&parts[s], &data->split[s]);
        free_gathered(&parts[s]);
    }
    free(test);
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* DIR/test or DIR/val; a test folder without classes (ImageNet's) gives way to val. NULL: neither. */
static int find_test(const char *folder, char **test) {
    static const char *const candidates[] = {"test", "val"};
    *test = NULL;
    for (int i = 0; i < BL_COUNT(candidates); i++) {
        struct names folders = {0};
        struct stat status;
        char *path = bl_format("%s/%s", folder, candidates[i]);
        if (!path) return BLANCH_ENOMEM;
        bool there = !stat(path, &status) && S_ISDIR(status.st_mode);
        int code = there ? list(path, &folders, NULL) : 0;
        bool classes = folders.count;
        free_names(&folders);
        if (code || classes) {
            *test = classes && !code ? path : (free(path), NULL);
            return code;
        }
        free(path);
    }
    return 0;
}

static int load(struct bl_dataset *data, const char *train, const char *test, uint64_t seed) {
    struct gathered all = {0};
    int code = read_classes(data, train);
    if (!code) code = gather(data, train, &all);
    if (!code) code = test ? take(&all, &data->split[BL_TRAIN]) : split(data, &all, seed);
    free_gathered(&all);
    if (!code && test) {
        code = gather(data, test, &all);
        if (!code) code = take(&all, &data->split[BL_TEST]);
        free_gathered(&all);
    }
    return code;
}

static int read_path(const struct bl_dataset *data, enum bl_split which, uint32_t index, struct bl_pixels *pixels) {
    return bl_image_read(data->split[which].paths[index], pixels);
}

/* Small images are held decoded. The first readable one tells. */
static int decode_small(struct bl_dataset *data) {
    const struct bl_images *images = &data->split[BL_TRAIN];
    int width = 0, height = 0, code = BLANCH_EINPUT;
    for (uint32_t i = 0; code && i < images->count && i <= images->count / 10; i++)
        code = bl_image_size(images->paths[i], &width, &height);
    uint64_t count = (uint64_t)images->count + data->split[BL_TEST].count;
    if (code || width != height || width > SMALL || count * (uint64_t)width * (uint64_t)height * 3 > MOST_BYTES)
        return 0;
    return bl_dataset_decode(data, width);
}

static int open_folder(struct bl_dataset *data, const char *folder, uint64_t seed) {
    data->channels = 3;
    data->read = read_path;
    data->folder = bl_strdup(folder);
    char *train = bl_format("%s/train", folder), *test = NULL;
    struct stat status;
    int code = 0;
    if (!train || !data->folder)
        code = BLANCH_ENOMEM;
    else if (stat(folder, &status))
        code = bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(errno));
    else if (stat(train, &status) || !S_ISDIR(status.st_mode))
        code = load(data, folder, NULL, seed);
    else if (!(code = find_test(folder, &test)))
        code = load(data, train, test, seed);
    free(train);
    free(test);
    return code ? code : decode_small(data);
}

const struct bl_format bl_format_folder = {
    .name = "folder",
    .help = "folder:DIR",
    .augment = BL_AUGMENT_CIFAR,
    .mean = {0.4914f, 0.4822f, 0.4465f},
    .deviation = {0.2023f, 0.1994f, 0.2010f},
    .open = open_folder,
};
