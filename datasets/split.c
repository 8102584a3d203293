/* Validation images taken from the training images, and splits as a file says them. */
#include "listing.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bl_val_split_parse(const char *text, double *share) {
    double percent;
    const size_t length = bl_text_decimal(text, &percent);
    if (!length || strcmp(text + length, "%") != 0 || !(percent > 0 && percent <= 90))
        return bl_fail(BLANCH_EUSAGE,
                       "--val-split takes a share of the training images up to 90%%, as in 10%%, not '%s'", text);
    *share = percent / 100;
    return 0;
}

/* --- moving images ---------------------------------------------------------------------------- */

/* All images of all splits, one after the other, with what each split has of them. */
struct all {
    uint32_t count;
    enum bl_split *split; // where each is to go; BL_SPLITS: nowhere
};

static uint32_t count_all(const struct bl_dataset *data) {
    uint32_t count = 0;
    for (int s = 0; s < BL_SPLITS; s++) count += data->split[s].count;
    return count;
}

/* Memory for so many images, like those of `like`. */
static int make(const struct bl_dataset *data, struct bl_images *images, const struct bl_images *like, uint32_t count) {
    const size_t n = (size_t)count + 1;
    *images = (struct bl_images){.labels = bl_calloc(n, sizeof *images->labels)};
    if (like->paths) images->paths = bl_calloc(n, sizeof *images->paths);
    if (like->damaged) images->damaged = bl_calloc(n, sizeof *images->damaged);
    if (like->pixels) images->pixels = bl_malloc(bl_dataset_bytes(data) * n);
    const bool good = images->labels && (!like->paths || images->paths) && (!like->damaged || images->damaged) &&
                      (!like->pixels || images->pixels);
    return good ? 0 : bl_fail(BLANCH_ENOMEM, "%s: out of memory for its splits", data->folder);
}

static void move(const struct bl_dataset *data, struct bl_images *to, const struct bl_images *from, uint32_t i) {
    const size_t bytes = to->pixels ? bl_dataset_bytes(data) : 0;
    to->labels[to->count] = from->labels[i];
    if (to->paths) to->paths[to->count] = from->paths[i];
    if (to->pixels) memcpy(to->pixels + bytes * to->count, from->pixels + bytes * i, bytes);
    to->count++;
}

static void release(struct bl_images *images) {
    free(images->labels);
    free(images->paths);
    free(images->pixels);
    free((void *)images->damaged);
}

static int move_all(struct bl_dataset *data, const struct all *all) {
    struct bl_images made[BL_SPLITS] = {{0}};
    uint32_t counts[BL_SPLITS + 1] = {0};
    const struct bl_images *like = data->split;
    int code = 0;
    while (!like->count) like++;
    for (uint32_t i = 0; i < all->count; i++) counts[all->split[i]]++;
    for (int s = 0; s < BL_SPLITS && !code; s++)
        if (counts[s]) code = make(data, &made[s], like, counts[s]);
    uint32_t at = 0;
    for (int s = 0; s < BL_SPLITS && !code; s++) {
        for (uint32_t i = 0; i < data->split[s].count; i++, at++)
            if (all->split[at] < BL_SPLITS)
                move(data, &made[all->split[at]], &data->split[s], i);
            else if (data->split[s].paths)
                free(data->split[s].paths[i]);
    }
    for (int s = 0; s < BL_SPLITS; s++) {
        release(code ? &made[s] : &data->split[s]);
        if (!code) data->split[s] = made[s];
    }
    return code;
}

/* --- a share ------------------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A number of an image's own, by its name, or its place where images have no names. */
static uint64_t number_of(const struct bl_dataset *data, uint32_t i, enum bl_split to) {
    const struct bl_images *images = &data->split[BL_TRAIN];
    const char *name = images->paths ? images->paths[i] + strlen(data->root[BL_TRAIN]) + 1 : NULL;
    uint32_t words[4];
    bl_philox(data->division.seed, BL_RANDOM_SPLIT, name ? bl_hash(BL_HASH_START, name, strlen(name)) : i,
              to == BL_VAL ? 2 : 1, words);
    return (uint64_t)words[0] << 32 | words[1];
}

/* A class keeps its image of the greatest number for training. */
static int mark(struct bl_dataset *data, const uint64_t *number, uint64_t limit, enum bl_split to, struct all *all) {
    const struct bl_images *images = &data->split[BL_TRAIN];
    uint32_t *last = bl_calloc((size_t)data->classes, sizeof *last); // counted from 1
    if (!last) return BLANCH_ENOMEM;
    for (uint32_t i = 0; i < images->count; i++) {
        uint32_t *of_class = &last[images->labels[i]];
        if (!*of_class || number[i] > number[*of_class - 1]) *of_class = i + 1;
        if (number[i] <= limit) all->split[i] = to;
    }
    for (int c = 0; c < data->classes; c++)
        if (last[c]) all->split[last[c] - 1] = BL_TRAIN;
    free(last);
    return 0;
}

/* As a folder's test images are chosen: those up to a limit, which is kept. */
static int take_share(struct bl_dataset *data, double share, uint64_t *limit, enum bl_split to, struct all *all) {
    const uint32_t count = data->split[BL_TRAIN].count;
    const double wanted = share * count;
    uint64_t *number = bl_calloc(2 * (size_t)count + 1, sizeof *number), *sorted = number ? number + count : NULL;
    if (!number) return BLANCH_ENOMEM;
    for (uint32_t i = 0; i < count; i++) number[i] = sorted[i] = number_of(data, i, to);
    if (!*limit && count) {
        qsort(sorted, count, sizeof *sorted, by_value);
        *limit = sorted[wanted < 1 ? 0 : (uint32_t)lrint(wanted) - 1];
    }
    int code = mark(data, number, *limit, to, all);
    free(number);
    if (!code && data->root[BL_TRAIN] && !(data->root[to] = bl_strdup(data->root[BL_TRAIN]))) code = BLANCH_ENOMEM;
    return code;
}

/* --- a file ------------------------------------------------------------------------------------- */

struct named {
    char *name;
    int line;
    enum bl_split split;
    bool found;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* "train CLASS/NAME" lines of text, which is changed; sorted by name. */
static int read_lines(const char *path, char *text, struct named **named, size_t *count) {
    size_t capacity = 0;
    int line = 0, code = 0;
    for (char *at = text, *next; at && !code; at = next) {
        next = strchr(at, '\n');
        if (next) *next++ = 0;
        at[strcspn(at, "\r")] = 0;
        line++;
        if (!*at) continue;
        const size_t word = strcspn(at, " \t");
        char *name = at + word + strspn(at + word, " \t");
        if (at[word]) at[word] = 0;
        const int split = bl_split_named(at, true);
        if (split < 0 || !*name)
            return bl_fail(BLANCH_EINPUT, "%s, line %d: it is not train, val or test and the name of an image", path,
                           line);
        if ((code = bl_grow((void **)named, &capacity, *count + 1, sizeof **named))) return code;
        (*named)[(*count)++] = (struct named){.name = name, .line = line, .split = (enum bl_split)split};
    }
    if (*count) qsort(*named, *count, sizeof **named, by_name);
    for (size_t i = 1; i < *count && !code; i++)
        if (!by_name(&(*named)[i - 1], &(*named)[i]))
            code = bl_fail(BLANCH_EINPUT, "%s, line %d: %s is there twice", path, (*named)[i].line, (*named)[i].name);
    return code;
}

/* Of a folder the path below it, else the image's number through all splits. */
static const char *name_of(const struct bl_dataset *data, int split, uint32_t i, uint32_t number, char text[16]) {
    const struct bl_images *images = &data->split[split];
    if (images->paths) return images->paths[i] + strlen(data->folder) + 1;
    snprintf(text, 16, "%u", number);
    return text;
}

static int match(struct bl_dataset *data, const char *path, struct named *named, size_t count, struct all *all) {
    uint32_t at = 0, left_out = 0;
    char text[16];
    for (int s = 0; s < BL_SPLITS; s++)
        for (uint32_t i = 0; i < data->split[s].count; i++, at++) {
            const struct named key = {.name = (char *)name_of(data, s, i, at, text)};
            struct named *found = count ? bsearch(&key, named, count, sizeof *named, by_name) : NULL;
            all->split[at] = found ? found->split : BL_SPLITS;
            if (found) found->found = true;
            left_out += !found;
        }
    for (size_t i = 0; i < count; i++)
        if (!named[i].found)
            return bl_fail(BLANCH_EINPUT, "%s, line %d: there is no image %s in %s", path, named[i].line, named[i].name,
                           data->folder);
    if (!left_out) return 0;
    return bl_dataset_remark(data, "%s: %u images that %s does not name are left out", data->folder, left_out, path);
}

static int take_file(struct bl_dataset *data, const char *path, struct all *all) {
    uint8_t *bytes;
    size_t size, count = 0;
    struct named *named = NULL;
    int code = bl_data_read(path, &bytes, &size);
    char *text = code ? NULL : bl_malloc(size + 1);
    if (!code && !text) code = BLANCH_ENOMEM;
    if (!code) {
        memcpy(text, bytes, size);
        text[size] = 0;
        if (strlen(text) != size) code = bl_fail(BLANCH_EINPUT, "%s: it is no text", path);
    }
    if (!code) code = read_lines(path, text, &named, &count);
    if (!code) code = match(data, path, named, count, all);
    for (int s = 0; s < BL_SPLITS && !code; s++) { // names are those below the folder from now on
        free(data->root[s]);
        data->root[s] =
            data->split[0].paths || data->split[1].paths || data->split[2].paths ? bl_strdup(data->folder) : NULL;
    }
    data->divided = false;
    data->division.limit = 0;
    free(named);
    free(text);
    free(bytes);
    return code;
}

/* --- both ----------------------------------------------------------------------------------------- */

/* how: takes the images' splits, as they are, and changes them. */
static int split_by(struct bl_dataset *data, int (*how)(struct bl_dataset *data, struct all *all)) {
    struct all all = {.count = count_all(data)};
    if (!(all.split = bl_calloc((size_t)all.count + 1, sizeof *all.split))) return BLANCH_ENOMEM;
    uint32_t at = 0;
    for (int s = 0; s < BL_SPLITS; s++)
        for (uint32_t i = 0; i < data->split[s].count; i++) all.split[at++] = (enum bl_split)s;
    int code = how(data, &all);
    if (!code) code = move_all(data, &all);
    free(all.split);
    return code;
}

/* Of arrays without splits, as of folders. */
static int for_testing(struct bl_dataset *data, struct all *all) {
    data->divided = true;
    return take_share(data, 0.1, &data->division.limit, BL_TEST, all);
}

static int for_validation(struct bl_dataset *data, struct all *all) {
    if (!data->split[BL_VAL].count)
        return take_share(data, data->division.validation, &data->division.val_limit, BL_VAL, all);
    return bl_fail(BLANCH_EUSAGE, "%s has validation images of its own: leave --val-split out", data->folder);
}

static int by_file(struct bl_dataset *data, struct all *all) {
    int code = take_file(data, data->division.file, all);
    data->division.file = NULL; // the caller's
    return code;
}

int bl_dataset_split(struct bl_dataset *data) {
    const bool alone = data->format == &bl_format_npz && !data->split[BL_VAL].count && !data->split[BL_TEST].count;
    const bool share = data->division.validation > 0;
    if (share && data->division.file)
        return bl_fail(BLANCH_EUSAGE, "--split-file says which images validate: leave --val-split out");
    if (data->division.file) return split_by(data, by_file);
    int code = alone ? split_by(data, for_testing) : 0;
    return !code && share ? split_by(data, for_validation) : code;
}
