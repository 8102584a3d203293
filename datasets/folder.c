/* Image folders: a class is a folder of images, as in torchvision's ImageFolder. */
#include "listing.h"
#include "base/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SMALL 64                // up to this size a side, images are decoded on opening
#define MOST_BYTES (1ull << 30) // of pixels held
#define TEST_PART 10            // one image in so many is for testing where there is no split

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

/* Takes path over. */
static int add_image(struct gathered *all, char *path, int32_t label) {
    int code =
        path ? bl_grow((void **)&all->paths, &all->path_capacity, all->count + 1, sizeof *all->paths) : BLANCH_ENOMEM;
    if (!code) code = bl_grow((void **)&all->labels, &all->label_capacity, all->count + 1, sizeof *all->labels);
    if (code) {
        free(path);
        return code;
    }
    all->labels[all->count] = label;
    all->paths[all->count++] = path;
    return 0;
}

/* The folders of a class that were read: a link to one of them, or to a folder above, would repeat its images. Without
 * links there is no need to look. */
struct visited {
    struct {
        dev_t device;
        ino_t inode;
    } * at;
    size_t count, capacity;
    bool links;
};

/* 1: it was read before. */
static int visit(struct visited *visited, const char *folder) {
    struct stat status;
    bool known = !lstat(folder, &status);
    if (known && S_ISLNK(status.st_mode)) {
        visited->links = true;
        known = !stat(folder, &status);
    }
    if (!known) return bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(errno));
    for (size_t i = 0; visited->links && i < visited->count; i++)
        if (visited->at[i].device == status.st_dev && visited->at[i].inode == status.st_ino) return 1;
    int code = bl_grow((void **)&visited->at, &visited->capacity, visited->count + 1, sizeof *visited->at);
    if (code) return code;
    visited->at[visited->count].device = status.st_dev;
    visited->at[visited->count++].inode = status.st_ino;
    return 0;
}

static uint32_t count_unread(const struct bl_dataset *data) {
    uint32_t files = 0;
    for (int t = 0; t < data->unread_types; t++) files += data->unread[t].count;
    return files;
}

static int no_images(const char *path, const char *where, uint32_t others) {
    char but[60] = "";
    if (others) snprintf(but, sizeof but, ", but %u file%s of other types", others, others == 1 ? "" : "s");
    return bl_fail(BLANCH_EINPUT, "%s: %s no images (%s)%s", path, where, bl_image_endings, but);
}

/* What is read of a class, and what shows whether it is one. */
struct of_class {
    struct bl_dataset *data;
    struct gathered *all;
    int32_t label;
    struct visited visited;
    size_t images, folders; // right in its own folder
};

static int gather_class(struct of_class *class, const char *folder, bool top) {
    struct bl_names folders = {0}, images = {0};
    int code = visit(&class->visited, folder);
    if (code > 0) return bl_dataset_remark(class->data, "%s is a link to a folder already read; left out", folder);
    if (code) return code;
    code = bl_list(class->data, folder, &folders, &images);
    if (!code) code = bl_layout_check_class(class->data, folder, &folders);
    if (top) {
        class->images = images.count;
        class->folders = folders.count;
    }
    for (size_t i = 0; !code && i < images.count; i++)
        code = add_image(class->all, bl_format("%s/%s", folder, images.at[i]), class->label);
    for (size_t i = 0; !code && i < folders.count; i++) {
        char *path = bl_format("%s/%s", folder, folders.at[i]);
        code = path ? gather_class(class, path, false) : BLANCH_ENOMEM;
        free(path);
    }
    bl_names_free(&folders);
    bl_names_free(&images);
    return code;
}

/* --- without classes -------------------------------------------------------------------------- */

static int gather_below(struct bl_dataset *counts, struct visited *visited, struct gathered *all, const char *folder) {
    struct bl_names folders = {0}, images = {0};
    int code = visit(visited, folder);
    if (code) return code > 0 ? 0 : code;
    code = bl_list(counts, folder, &folders, &images);
    for (size_t i = 0; !code && i < images.count; i++)
        code = add_image(all, bl_format("%s/%s", folder, images.at[i]), 0);
    for (size_t i = 0; !code && i < folders.count; i++) {
        char *path = bl_format("%s/%s", folder, folders.at[i]);
        code = path ? gather_below(counts, visited, all, path) : BLANCH_ENOMEM;
        free(path);
    }
    bl_names_free(&folders);
    bl_names_free(&images);
    return code;
}

int bl_image_list(const char *folder, char ***paths, size_t *count, uint32_t *others) {
    struct bl_dataset counts = {.folder = NULL};
    struct visited visited = {.links = false};
    struct gathered all = {0};
    size_t length = strlen(folder);
    while (length > 1 && strchr(bl_separators, folder[length - 1])) length--;
    char *root = bl_format("%.*s", (int)length, folder);
    int code = root ? gather_below(&counts, &visited, &all, root) : BLANCH_ENOMEM;
    *others = count_unread(&counts);
    if (!code && !all.count) code = no_images(folder, "the folder holds", *others);
    *paths = code ? NULL : all.paths;
    *count = code ? 0 : all.count;
    if (code)
        free_gathered(&all);
    else
        free(all.labels);
    free(visited.at);
    free(counts.unread);
    free(root);
    return code;
}

/* --- classes ---------------------------------------------------------------------------------- */

static int label_of(const struct bl_dataset *data, const char *name) {
    int low = 0, high = data->classes;
    while (low < high) {
        int middle = (low + high) / 2, order = strcmp(name, data->class_names[middle]);
        if (!order) return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

/* DIR and the split's folder, which are one where there are no splits. */
static int visit_above(struct of_class *class, const char *root) {
    int code = visit(&class->visited, class->data->folder);
    if (!code) code = visit(&class->visited, root);
    return code < 0 ? code : 0;
}

static int gather_folder(struct of_class *class, const char *root, const char *name, enum bl_split split) {
    struct bl_dataset *data = class->data;
    size_t before = class->all->count;
    uint32_t unread = count_unread(data);
    int code = 0;
    char *path = bl_format("%s/%s", root, name);
    class->label = label_of(data, name);
    class->visited = (struct visited){0};
    if (!path)
        code = BLANCH_ENOMEM;
    else if (class->label < 0)
        code = bl_fail(BLANCH_EINPUT, "%s: the training images have no class of this name", path);
    else if (!(code = visit_above(class, root)))
        code = gather_class(class, path, true);
    if (!code && class->all->count == before && split == BL_TRAIN)
        code = no_images(path, "the training class has", count_unread(data) - unread);
    free(class->visited.at);
    free(path);
    return code;
}

/* Folders of folders might be a level too high, or images sorted within their classes: it is said which is taken, but
 * what is named like splits is refused. */
static int remark_nested(struct bl_dataset *data, const char *root, const char *nested) {
    struct bl_names folders = {0};
    if (bl_split_like(nested) && !data->division.old) return bl_layout_refuse_like(root, nested);
    char *path = bl_format("%s/%s", root, nested);
    int code = path ? bl_list(NULL, path, &folders, NULL) : BLANCH_ENOMEM;
    char *list = code ? NULL : bl_names_join(&folders);
    if (!code)
        code = list ? bl_dataset_remark(data, "%s: no class folder holds images itself; all in %s count as '%s'", root,
                                        list, nested)
                    : BLANCH_ENOMEM;
    free(list);
    free(path);
    bl_names_free(&folders);
    return code;
}

/* What looks like images but lies beside the folders that are read. folders may be NULL. */
static int look_beside(struct bl_dataset *data, const char *root, struct bl_names *folders) {
    struct bl_names loose = {0};
    int code = bl_list_loose(data, root, folders, &loose);
    if (!code && loose.count)
        code = bl_dataset_remark(data, "%s: %zu images lie in no class folder and are not read", root, loose.count);
    bl_names_free(&loose);
    return code;
}

/* All images of the class folders in the split's root. */
static int gather(struct bl_dataset *data, enum bl_split split, struct gathered *all) {
    struct bl_names folders = {0};
    struct of_class class = {.data = data, .all = all};
    const char *root = data->root[split], *nested = NULL;
    bool flat = false;
    int code = look_beside(data, root, &folders);
    const uint32_t unread = count_unread(data);
    for (size_t i = 0; !code && i < folders.count; i++) {
        code = gather_folder(&class, root, folders.at[i], split);
        flat |= class.images > 0;
        if (class.folders > 1 && (!nested || bl_split_like(folders.at[i]))) nested = folders.at[i];
    }
    if (!code && !all->count) code = no_images(root, "its class folders hold", count_unread(data) - unread);
    if (!code && all->count > INT32_MAX) code = bl_fail(BLANCH_EINPUT, "%s: %zu images are too many", root, all->count);
    if (!code && !flat && nested) code = remark_nested(data, root, nested);
    bl_names_free(&folders);
    return code;
}

/* Those of the training images; without any, of all. */
static int read_classes(struct bl_dataset *data) {
    struct bl_names folders = {0}, images = {0};
    const char *root = NULL;
    int code = 0;
    for (int s = 0; s < BL_SPLITS && !code && (s == BL_TRAIN || !data->root[BL_TRAIN]); s++)
        if ((root = data->root[s] ? data->root[s] : root) && data->root[s])
            code = bl_list(NULL, root, &folders, &images);
    bl_names_sort(&folders);
    if (!code && !folders.count)
        code = bl_fail(BLANCH_EINPUT, "%s: there are no class folders in it%s", root,
                       images.count ? ", though images: each class's belong into a folder of its name" : "");
    if (!code && folders.count > 1000000)
        code = bl_fail(BLANCH_EINPUT, "%s: %zu classes are too many", root, folders.count);
    bl_names_free(&images);
    if (code) {
        bl_names_free(&folders);
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

/* As folders were divided before there was a hash: every tenth position of a seeded shuffle. */
static int mark_shuffled(uint64_t seed, uint32_t count, bool *test) {
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

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A class that would be left without training images keeps the last of its images in the hashes' order. */
static int keep_classes(const struct bl_dataset *data, const struct gathered *all, const uint64_t *number, bool *test) {
    size_t *last = bl_calloc((size_t)data->classes, sizeof *last); // of a class, counted from 1
    if (!last) return BLANCH_ENOMEM;
    for (size_t i = 0; i < all->count; i++) {
        size_t *of_class = &last[all->labels[i]];
        if (!*of_class || number[i] > number[*of_class - 1]) *of_class = i + 1;
    }
    for (int c = 0; c < data->classes; c++)
        if (last[c]) test[last[c] - 1] = false;
    free(last);
    return 0;
}

/* Each name has a number of its own, whatever else the folder holds; the test images are those up to a limit, of which
 * there is a tenth at first. With the limit kept, no image ever changes sides, but one that was kept for its class. */
static int mark_hashed(struct bl_dataset *data, const struct gathered *all, bool *test) {
    uint64_t *number = bl_calloc(2 * all->count, sizeof *number), *sorted = number ? number + all->count : NULL;
    if (!number) return BLANCH_ENOMEM;
    const size_t skip = strlen(data->root[BL_TRAIN]) + 1;
    for (size_t i = 0; i < all->count; i++) {
        const char *name = all->paths[i] + skip;
        uint32_t words[4];
        bl_philox(data->division.seed, BL_RANDOM_SPLIT, bl_hash(BL_HASH_START, name, strlen(name)), 1, words);
        number[i] = sorted[i] = (uint64_t)words[0] << 32 | words[1];
    }
    if (!data->division.limit) {
        qsort(sorted, all->count, sizeof *sorted, by_value);
        data->division.limit = sorted[(all->count - 1) / TEST_PART];
    }
    for (size_t i = 0; i < all->count; i++) test[i] = number[i] <= data->division.limit;
    int code = keep_classes(data, all, number, test);
    free(number);
    return code;
}

static int divide(struct bl_dataset *data, struct gathered *all) {
    struct gathered parts[BL_SPLITS] = {0};
    if (all->count < 2 && !data->division.limit)
        return bl_fail(BLANCH_EINPUT, "%s: one image cannot be split into training and test images", data->folder);
    bool *test = bl_calloc(all->count, sizeof *test);
    int code = !test                ? BLANCH_ENOMEM
               : data->division.old ? mark_shuffled(data->division.seed, (uint32_t)all->count, test)
                                    : mark_hashed(data, all, test);
    for (size_t i = 0; !code && i < all->count; i++) {
        code = add_image(&parts[test[i] ? BL_TEST : BL_TRAIN], all->paths[i], all->labels[i]);
        all->paths[i] = NULL;
    }
    for (int s = 0; s < BL_SPLITS; s++) {
        if (!code && parts[s].count) code = take(&parts[s], &data->split[s]);
        free_gathered(&parts[s]);
    }
    free(test);
    data->divided = true;
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int load(struct bl_dataset *data) {
    struct gathered all = {0};
    int code = read_classes(data);
    const bool alone = !data->root[BL_VAL] && !data->root[BL_TEST];
    for (int s = 0; s < BL_SPLITS && !code; s++) {
        if (!data->root[s]) continue;
        code = gather(data, (enum bl_split)s, &all);
        if (!code) code = alone ? divide(data, &all) : take(&all, &data->split[s]);
        free_gathered(&all);
        if (alone) break;
    }
    if (!code && alone && !(data->root[BL_TEST] = bl_strdup(data->root[BL_TRAIN]))) code = BLANCH_ENOMEM;
    return code;
}

static int read_path(const struct bl_dataset *data, enum bl_split which, uint32_t index, struct bl_pixels *pixels) {
    return bl_image_read(data->split[which].paths[index], pixels);
}

/* Small images are held decoded. The first readable one tells. */
static int decode_small(struct bl_dataset *data) {
    const struct bl_images *images = data->split;
    while (!images->count) images++;
    int width = 0, height = 0, code = BLANCH_EINPUT;
    for (uint32_t i = 0; code && i < images->count && i <= images->count / 10; i++)
        code = bl_image_size(images->paths[i], &width, &height);
    uint64_t count = 0;
    for (int s = 0; s < BL_SPLITS; s++) count += data->split[s].count;
    if (code || height > SMALL || width > SMALL || count * (uint64_t)width * (uint64_t)height * 3 > MOST_BYTES)
        return 0;
    return bl_dataset_decode(data, height, width);
}

static int open_folder(struct bl_dataset *data, const char *folder, uint64_t seed) {
    struct stat status;
    struct bl_layout layout = {0};
    data->channels = 3;
    data->read = read_path;
    data->folder = bl_strdup(folder);
    if (!data->folder) return BLANCH_ENOMEM;
    if (stat(folder, &status)) return bl_fail(BLANCH_EINPUT, "%s: %s", folder, strerror(errno));
    int code = bl_layout_find(data, &layout);
    if (code) return code;
    memcpy(data->root, layout.root, sizeof data->root);
    bool any = layout.root[BL_TRAIN] || layout.root[BL_VAL] || layout.root[BL_TEST];
    if (!any && !(data->root[BL_TRAIN] = bl_strdup(folder))) return BLANCH_ENOMEM;
    code = any ? look_beside(data, folder, NULL) : 0;
    if (!code) code = load(data);
    return code ? code : decode_small(data);
}

const struct bl_format bl_format_folder = {
    .name = "folder",
    .help = "folder:DIR",
    .augment = BL_AUGMENT_CIFAR,
    .open = open_folder,
};
