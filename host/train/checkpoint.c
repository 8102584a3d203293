/* Checkpoints: the state dict alone, as PyTorch names it, and beside it what else a run needs to go on. */
#include "train/items.h"
#include "io/files.h"
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a network that scales its loss. */
static const char *const scale_keys[] = {"loss_scale", "loss_scale_good", "loss_scale_skipped"};

/* Of a network that labels pixels. */
static const char *const pixel_keys[] = {"train_pixels", "train_right"};

static int state_save(struct bl_graph *graph, const char *path, const struct bl_position *position) {
    static const char *const keys[] = {"step",       "epoch",      "best_top1", "train_loss", "train_count",
                                       "train_top1", "train_top5", "train_s",   "stale"};
    struct bl_items items;
    struct bl_loss_scale scale;
    char text[BL_COUNT(keys)][32], skipped[32], scaled[3][32], pixels[2][32];
    const char *meta[2 * BL_COUNT(keys) + 15] = {NULL};
    int used = 2 * BL_COUNT(keys);
    snprintf(text[0], 32, "%" PRId64, position->step);
    snprintf(text[1], 32, "%" PRId64, position->epoch);
    snprintf(text[2], 32, "%.17g", position->best_top1);
    snprintf(text[3], 32, "%.17g", position->train.loss);
    snprintf(text[4], 32, "%d", position->train.count);
    snprintf(text[5], 32, "%d", position->train.top1);
    snprintf(text[6], 32, "%d", position->train.top5);
    snprintf(text[7], 32, "%.17g", position->train_s);
    snprintf(text[8], 32, "%" PRId64, position->stale);
    for (int i = 0; i < BL_COUNT(keys); i++) meta[2 * i] = keys[i], meta[2 * i + 1] = text[i];
    snprintf(skipped, sizeof skipped, "%" PRId64, position->skipped);
    snprintf(pixels[0], sizeof pixels[0], "%" PRId64, position->train.pixels);
    snprintf(pixels[1], sizeof pixels[1], "%" PRId64, position->train.right);
    for (int i = 0; i < 2 && position->train.pixels; i++) meta[used++] = pixel_keys[i], meta[used++] = pixels[i];
    if (position->skipped) meta[used++] = "skipped", meta[used++] = skipped;
    if (position->budget) meta[used++] = "overhead_budget", meta[used++] = position->budget;
    int code = bl_graph_scales_loss(graph) ? bl_graph_loss_scale(graph, &scale) : 0;
    if (code) return code;
    if (bl_graph_scales_loss(graph)) {
        snprintf(scaled[0], 32, "%.9g", (double)scale.scale);
        snprintf(scaled[1], 32, "%d", scale.good);
        snprintf(scaled[2], 32, "%d", scale.skipped);
        for (int i = 0; i < BL_COUNT(scale_keys); i++) meta[used++] = scale_keys[i], meta[used++] = scaled[i];
    }
    code = bl_items_of_state(&items, graph, NULL);
    if (!code) code = bl_items_write(&items, path, meta, true);
    free(items.item);
    return code;
}

/* --- the pair ------------------------------------------------------------------------------- */

enum { WEIGHTS, STATE, WEIGHTS_NEW, STATE_NEW, FILES };
static const char *const file_names[FILES] = {"last.safetensors", "last.state.safetensors", "last.safetensors.new",
                                              "last.state.safetensors.new"};

static int make_paths(char *path[FILES], const char *dir) {
    for (int i = 0; i < FILES; i++) path[i] = NULL;
    for (int i = 0; i < FILES; i++)
        if (!(path[i] = bl_format("%s/%s", dir, file_names[i]))) return BLANCH_ENOMEM;
    return 0;
}

static void free_paths(char *path[FILES]) {
    for (int i = 0; i < FILES; i++) free(path[i]);
}

static int replace(const char *from, const char *to) {
    return rename(from, to) == 0 ? 0 : bl_fail(BLANCH_EIO, "%s cannot be renamed to %s: %s", from, to, strerror(errno));
}

/* The renames reach the disk; where a directory cannot be synchronised, nothing better is to be had. */
static void sync_directory(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

int bl_checkpoint_save(struct bl_graph *graph, const char *dir, const struct bl_position *position) {
    char *path[FILES];
    int code = make_paths(path, dir);
    if (code) goto done;
    if ((code = state_save(graph, path[STATE_NEW], position)) ||
        (code = bl_weights_write(graph, path[WEIGHTS_NEW], position->step, true))) {
        unlink(path[STATE_NEW]); // half a pair is of no use to anyone
        goto done;
    }
    sync_directory(dir);
    if ((code = replace(path[STATE_NEW], path[STATE])) || (code = replace(path[WEIGHTS_NEW], path[WEIGHTS]))) goto done;
    sync_directory(dir);
done:
    free_paths(path);
    return code;
}

int bl_checkpoint_save_position(struct bl_graph *graph, const char *dir, const struct bl_position *position) {
    char *path = bl_format("%s/%s", dir, file_names[STATE]);
    int code = path ? state_save(graph, path, position) : BLANCH_ENOMEM;
    free(path);
    return code;
}

/* A number of the metadata, 0 where an early version had none; NAN: it is not finite. */
static double meta_double(const struct bl_safetensors *file, const char *key) {
    const char *text = bl_st_meta(file, key);
    char *end = NULL;
    if (!text) return 0;
    double value = strtod(text, &end);
    return end != text && !*end && isfinite(value) ? value : NAN;
}

/* A count of it, whole and up to most; negative: it is none. */
static int64_t meta_int(const struct bl_safetensors *file, const char *key, double most) {
    double value = meta_double(file, key);
    return value >= 0 && value <= most && value == floor(value) ? (int64_t)value : -1;
}

static int64_t step_of(const struct bl_safetensors *file) {
    return bl_st_meta(file, "step") ? meta_int(file, "step", (double)BL_MOST_STEPS) : -1;
}

/* Opens what is there. The two regular files must be whole; a damaged *.new is what a crash leaves, and is passed over.
 */
static int open_all(struct bl_safetensors *file[FILES], char *path[FILES]) {
    for (int i = 0; i < FILES; i++) {
        file[i] = NULL;
        if (!bl_path_exists(path[i])) continue;
        int code = bl_st_open(&file[i], path[i]);
        if (code && (i < WEIGHTS_NEW || code == BLANCH_ENOMEM)) return code;
        if (code) file[i] = NULL;
    }
    return 0;
}

static int choose_pair(struct bl_safetensors *file[FILES], const char *dir, int *weights, int *state) {
    int64_t best = -1;
    for (int w = WEIGHTS; w < FILES; w += 2)
        for (int s = STATE; s < FILES; s += 2) {
            if (!file[w] || !file[s]) continue;
            int64_t step = step_of(file[w]);
            if (step != step_of(file[s]) || step <= best) continue;
            best = step, *weights = w, *state = s;
        }
    if (best >= 0) return 0;
    if (!file[WEIGHTS] || !file[STATE])
        return bl_fail(BLANCH_EINPUT, "%s holds no checkpoint to resume from (%s is missing)", dir,
                       file_names[file[WEIGHTS] ? STATE : WEIGHTS]);
    const char *one = bl_st_meta(file[WEIGHTS], "step"), *other = bl_st_meta(file[STATE], "step");
    return bl_fail(BLANCH_EINPUT,
                   "%s: last.safetensors is of step %s, last.state.safetensors of step %s; they must agree", dir,
                   one ? one : "(none)", other ? other : "(none)");
}

/* What a crash left of one that was not chosen. */
static void clear_new(char *path[FILES]) {
    for (int i = WEIGHTS_NEW; i < FILES; i++)
        if (unlink(path[i])) errno = 0; // there is none, mostly
}

void bl_checkpoint_clear(const char *dir) {
    char *path[FILES];
    if (!make_paths(path, dir)) clear_new(path);
    free_paths(path);
}

bool bl_checkpoint_exists(const char *dir) {
    char *path[FILES];
    struct bl_safetensors *file[FILES] = {NULL};
    int weights, state, code = make_paths(path, dir);
    bool exists = !code && (bl_path_exists(path[WEIGHTS]) || bl_path_exists(path[STATE]));
    if (!code && !exists) exists = !open_all(file, path) && !choose_pair(file, dir, &weights, &state);
    for (int i = 0; i < FILES; i++) bl_st_close(file[i]);
    free_paths(path);
    return exists;
}

static int read_position(const struct bl_safetensors *state, const char *path, struct bl_position *position) {
    int64_t epoch = meta_int(state, "epoch", (double)BL_MOST_STEPS), count = meta_int(state, "train_count", INT_MAX),
            top1 = meta_int(state, "train_top1", (double)count), top5 = meta_int(state, "train_top5", (double)count),
            skipped = meta_int(state, "skipped", (double)step_of(state)),
            pixels = meta_int(state, pixel_keys[0], 0x1p53), right = meta_int(state, pixel_keys[1], (double)pixels);
    *position = (struct bl_position){
        .step = step_of(state),
        .skipped = skipped,
        .stale = meta_int(state, "stale", (double)BL_MOST_STEPS),
        .epoch = epoch,
        .best_top1 = meta_double(state, "best_top1"),
        .train = {.loss = meta_double(state, "train_loss"),
                  .count = (int)count,
                  .top1 = (int)top1,
                  .top5 = (int)top5,
                  .pixels = pixels,
                  .right = right},
        .train_s = meta_double(state, "train_s"),
    };
    const char *wrong = epoch < 0                       ? "epoch"
                        : count < 0                     ? "train_count"
                        : top1 < 0                      ? "train_top1"
                        : top5 < 0                      ? "train_top5"
                        : skipped < 0                   ? "skipped"
                        : pixels < 0                    ? "train_pixels"
                        : right < 0                     ? "train_right"
                        : position->stale < 0           ? "stale"
                        : !(position->best_top1 <= 100) ? "best_top1"
                        : isnan(position->train.loss)   ? "train_loss"
                        : !(position->train_s >= 0)     ? "train_s"
                                                        : NULL;
    if (wrong) return bl_fail(BLANCH_EINPUT, "%s: the metadata's \"%s\" is out of range", path, wrong);
    const char *budget = bl_st_meta(state, "overhead_budget");
    return budget && !(position->budget = bl_strdup(budget)) ? BLANCH_ENOMEM : 0;
}

/* That of a network that had none begins. */
static int read_loss_scale(const struct bl_safetensors *state, const char *path, struct bl_loss_scale *scale) {
    *scale = (struct bl_loss_scale){.scale = BL_FIRST_LOSS_SCALE};
    if (!bl_st_meta(state, scale_keys[0])) return 0;
    const double value = meta_double(state, scale_keys[0]);
    const int64_t good = meta_int(state, scale_keys[1], BL_GROWTH_INTERVAL - 1),
                  skipped = meta_int(state, scale_keys[2], INT_MAX);
    const char *wrong = !(value >= FLT_MIN && value <= FLT_MAX) ? scale_keys[0]
                        : good < 0                              ? scale_keys[1]
                        : skipped < 0                           ? scale_keys[2]
                                                                : NULL;
    if (wrong) return bl_fail(BLANCH_EINPUT, "%s: the metadata's \"%s\" is out of range", path, wrong);
    *scale = (struct bl_loss_scale){.scale = (float)value, .good = (int)good, .skipped = (int)skipped};
    return 0;
}

int bl_checkpoint_load(struct bl_graph *graph, const char *dir, struct bl_position *position) {
    return bl_checkpoint_load_if(graph, dir, position, NULL, NULL);
}

int bl_checkpoint_load_if(struct bl_graph *graph, const char *dir, struct bl_position *position,
                          int (*accept)(void *context, const struct bl_position *position), void *context) {
    char *path[FILES];
    struct bl_safetensors *file[FILES] = {NULL};
    struct bl_items values = {0}, states = {0};
    struct bl_loss_scale scale;
    int weights = WEIGHTS, state = STATE, code = make_paths(path, dir);
    if (code || (code = open_all(file, path)) || (code = choose_pair(file, dir, &weights, &state))) goto done;
    if ((code = bl_items_of_weights(&values, graph)) || (code = bl_items_of_state(&states, graph, file[state])))
        goto done;
    if ((code = bl_items_fit(&values, file[weights], path[weights])) ||
        (code = bl_items_fit(&states, file[state], path[state])) ||
        (code = read_position(file[state], path[state], position)) ||
        (code = read_loss_scale(file[state], path[state], &scale)) || (accept && (code = accept(context, position))))
        goto done;
    if ((code = bl_items_take(graph, &values, file[weights], path[weights])) ||
        (code = bl_items_take(graph, &states, file[state], path[state])))
        goto done;
    if (bl_graph_scales_loss(graph) && (code = bl_graph_set_loss_scale(graph, &scale))) goto done;
    bl_graph_set_counts(graph, (struct bl_counts){.steps = (uint64_t)position->step,
                                                  .updates = (uint64_t)(position->step - position->skipped)});
    if (state == STATE_NEW && (code = replace(path[STATE_NEW], path[STATE]))) goto done;
    if (weights == WEIGHTS_NEW) code = replace(path[WEIGHTS_NEW], path[WEIGHTS]);
    if (!code) clear_new(path);
done:
    free(values.item);
    free(states.item);
    for (int i = 0; i < FILES; i++) bl_st_close(file[i]);
    free_paths(path);
    return code;
}
