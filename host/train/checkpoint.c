/* Checkpoints: the state dict alone, as PyTorch names it, and beside it what else a run needs to go on. */
#include "train/blocks.h"
#include "io/files.h"
#include "io/json.h"
#include "io/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- what the files hold -------------------------------------------------------------------- */

enum source {
    VALUE,        // of a parameter or buffer
    OF_OPTIMISER, // its state
    MEMORY,       // of a parameter whose update target runs: what lies where its value (0) or a state would
    FIRST,        // the same where the target began
    NUMBERS,      // of the target
    AVERAGE,      // of values
    SOURCES
};
struct item { // a tensor of a file
    char name[192];
    struct bl_param *param;
    enum source source;
    int which;
    const char *former; // its name in files of older versions; NULL: none
};
struct items {
    struct item *item;
    int count;
};
enum { MOST_ITEMS = 1 + BL_MAX_STATES + 2 * (1 + BL_MAX_STATES) + 2 }; // of a parameter

static void add_item(struct items *items, struct bl_param *param, enum source source, int which, const char *suffix) {
    struct item *item = &items->item[items->count++];
    *item = (struct item){.param = param, .source = source, .which = which};
    snprintf(item->name, sizeof item->name, "%s%s%s", param->name, *suffix ? "." : "", suffix);
}

/* "NAME.momentum_buffer", and of a target "NAME.target.memory.momentum_buffer". */
static void add_part(struct items *items, struct bl_param *param, enum source source, int which) {
    static const char *const kinds[SOURCES] = {"", "", "target.memory.", "target.first."};
    char suffix[64];
    const struct bl_optimiser *optimiser = bl_param_optimiser(param);
    snprintf(suffix, sizeof suffix, "%s%s", kinds[source], which ? optimiser->state_name[which - 1] : "value");
    add_item(items, param, source, which, suffix);
}

static bool has_target(const struct bl_safetensors *file, const struct bl_param *param) {
    char name[192];
    snprintf(name, sizeof name, "%s.target.numbers", param->name);
    return bl_st_find(file, name) != NULL;
}

/* Versions that knew SGD alone had its velocity under the parameter's own name. */
static void add_trainable(struct items *items, struct bl_param *param, bool target) {
    const struct bl_optimiser *optimiser = bl_param_optimiser(param);
    int states = optimiser ? optimiser->states : 0;
    for (int i = 1; i <= states; i++) {
        add_part(items, param, OF_OPTIMISER, i);
        if (!strcmp(optimiser->state_name[i - 1], "momentum_buffer"))
            items->item[items->count - 1].former = param->name;
    }
    for (int i = 0; i <= states && target; i++) add_part(items, param, MEMORY, i), add_part(items, param, FIRST, i);
    if (target) add_item(items, param, NUMBERS, 0, "target.numbers");
}

static int open_items(struct items *items, const struct bl_graph *graph) {
    *items = (struct items){bl_calloc((size_t)bl_graph_params(graph) * MOST_ITEMS + 1, sizeof *items->item), 0};
    return items->item ? 0 : BLANCH_ENOMEM;
}

static int list_weights(struct items *items, struct bl_graph *graph) {
    int code = open_items(items, graph);
    for (int i = 0; i < bl_graph_params(graph) && !code; i++)
        if (!bl_graph_param(graph, i)->private_state) add_item(items, bl_graph_param(graph, i), VALUE, 0, "");
    return code;
}

/* file: to be read; NULL: to be written. */
static int list_state(struct items *items, struct bl_graph *graph, const struct bl_safetensors *file) {
    int code = open_items(items, graph);
    for (int i = 0; i < bl_graph_params(graph) && !code; i++) {
        struct bl_param *param = bl_graph_param(graph, i);
        bool target = param->offered && (file ? has_target(file, param) : param->target != NULL);
        if (param->trainable && !param->frozen)
            add_trainable(items, param, target);
        else if (param->private_state)
            add_item(items, param, VALUE, 0, "");
        if (param->average.mem) add_item(items, param, AVERAGE, 0, "average");
    }
    return code;
}

static bool is_counter(const struct item *item) {
    return item->source == VALUE && item->param->counter;
}

static enum bl_type dtype_of(const struct item *item) {
    return is_counter(item) ? BL_I64 : item->source == NUMBERS ? BL_F64 : BL_F32;
}

/* Dimensions; their number returned. */
static int shape_of(const struct item *item, int64_t shape[8]) {
    if (is_counter(item)) return 0;
    if (item->source == NUMBERS) return shape[0] = item->param->offered->number_count, 1;
    for (int i = 0; i < item->param->dims; i++) shape[i] = item->param->shape[i];
    return item->param->dims;
}

static int64_t count_of(const struct item *item) {
    return is_counter(item)          ? 1
           : item->source == NUMBERS ? item->param->offered->number_count
                                     : item->param->data.count;
}

static const struct blanch_tensor *tensor_of(const struct item *item) {
    if (item->source == AVERAGE) return &item->param->average;
    if (item->source == FIRST) return item->param->offered->first[item->which];
    return item->which ? &item->param->state[item->which - 1] : &item->param->data;
}

/* --- writing -------------------------------------------------------------------------------- */

static int read_item(const struct item *item, void *host, size_t bytes) {
    switch (item->source) {
    case VALUE:
        if (!item->param->counter) return bl_param_read(item->param, host);
        memcpy(host, &item->param->value, bytes);
        return 0;
    case OF_OPTIMISER:
        return bl_param_read_state(item->param, item->which - 1, host);
    case NUMBERS:
        memcpy(host, item->param->offered->numbers, bytes);
        return 0;
    default:
        return bl_mem_read(tensor_of(item)->mem, 0, bytes, host);
    }
}

/* What is not finite is no state to go on from. */
static int check_item(const struct item *item, const void *host) {
    const float *value = host;
    int64_t wrong = 0, count = dtype_of(item) == BL_F32 ? count_of(item) : 0;
    for (int64_t i = 0; i < count; i++) wrong += !isfinite(value[i]);
    if (!wrong) return 0;
    return bl_fail(BLANCH_EDIVERGED, "%s is not finite: %lld of %lld values", item->name, (long long)wrong,
                   (long long)count);
}

static int write_items(const struct items *items, const char *path, const char *const *meta, bool checked) {
    struct bl_st_tensor *tensors = bl_calloc((size_t)items->count + 1, sizeof *tensors);
    void **memory = bl_calloc((size_t)items->count + 1, sizeof *memory);
    int code = tensors && memory ? 0 : BLANCH_ENOMEM;
    for (int i = 0; i < items->count && !code; i++) {
        const struct item *item = &items->item[i];
        struct bl_st_tensor *tensor = &tensors[i];
        size_t bytes = (size_t)count_of(item) * bl_type_bytes(dtype_of(item));
        *tensor = (struct bl_st_tensor){.name = item->name, .dtype = dtype_of(item), .bytes = bytes};
        tensor->dims = shape_of(item, tensor->shape);
        tensor->data = memory[i] = bl_calloc(1, bytes);
        code = memory[i] ? read_item(item, memory[i], bytes) : BLANCH_ENOMEM;
        if (!code && checked) code = check_item(item, memory[i]);
    }
    if (!code) code = bl_st_write(path, tensors, items->count, meta);
    for (int i = 0; memory && i < items->count; i++) free(memory[i]);
    free(memory);
    free(tensors);
    return code;
}

static int weights_save(struct bl_graph *graph, const char *path, int64_t step, bool checked) {
    struct items items;
    char number[32];
    const char *meta[7] = {"format", "pt"};
    int used = 2, code = list_weights(&items, graph);
    cJSON *json = bl_blocks_json(graph);
    char *blocks = json ? bl_json_print(json, false) : NULL;
    snprintf(number, sizeof number, "%" PRId64, step);
    if (step >= 0) meta[used++] = "step", meta[used++] = number;
    if (blocks) meta[used++] = "blocks", meta[used++] = blocks;
    if (!code && json && !blocks) code = BLANCH_ENOMEM;
    if (!code) code = write_items(&items, path, meta, checked);
    cJSON_Delete(json);
    free(blocks);
    free(items.item);
    return code;
}

int bl_weights_save(struct bl_graph *graph, const char *path, int64_t step) {
    return weights_save(graph, path, step, false);
}

static int state_save(struct bl_graph *graph, const char *path, const struct bl_position *position) {
    static const char *const keys[] = {"step",       "epoch",      "best_top1", "train_loss", "train_count",
                                       "train_top1", "train_top5", "train_s",   "stale"};
    struct items items;
    char text[BL_COUNT(keys)][32], skipped[32];
    const char *meta[2 * BL_COUNT(keys) + 5] = {NULL};
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
    if (position->skipped) meta[used++] = "skipped", meta[used++] = skipped;
    if (position->budget) meta[used++] = "overhead_budget", meta[used++] = position->budget;
    int code = list_state(&items, graph, NULL);
    if (!code) code = write_items(&items, path, meta, true);
    free(items.item);
    return code;
}

static const int64_t MOST_STEPS = INT64_C(1) << 53; // what JSON and its like carry exactly

/* --- reading -------------------------------------------------------------------------------- */

static const struct bl_st_tensor *find_tensor(const struct bl_safetensors *file, const struct item *item) {
    const struct bl_st_tensor *tensor = bl_st_find(file, item->name);
    return tensor || !item->former ? tensor : bl_st_find(file, item->former);
}

static bool same_shape(const struct item *item, const struct bl_st_tensor *tensor) {
    int64_t shape[8];
    int dims = shape_of(item, shape);
    if (is_counter(item)) return tensor->dims == 0 || (tensor->dims == 1 && tensor->shape[0] == 1);
    if (tensor->dims != dims) return false;
    for (int i = 0; i < dims; i++)
        if (tensor->shape[i] != shape[i]) return false;
    return true;
}

/* The first few names of a kind of misfit, and how many there are. */
struct misfit {
    const char *what;
    char names[200];
    int count;
};

static void misfit_add(struct misfit *misfit, const char *name) {
    size_t used = strlen(misfit->names);
    if (misfit->count < 3)
        snprintf(misfit->names + used, sizeof misfit->names - used, "%s%s", used ? ", " : "", name);
    else if (misfit->count == 3)
        snprintf(misfit->names + used, sizeof misfit->names - used, ", ...");
    misfit->count++;
}

enum { MISSING, UNEXPECTED, MISSHAPEN };

static int refuse(const char *path, const struct misfit *misfit, bool state) {
    char text[800] = "";
    for (int i = MISSING; i <= MISSHAPEN; i++) {
        size_t used = strlen(text);
        if (misfit[i].count)
            snprintf(text + used, sizeof text - used, "%s%d %s (%s)", used ? "; " : "", misfit[i].count, misfit[i].what,
                     misfit[i].names);
    }
    if (!*text) return 0;
    return bl_fail(
        BLANCH_EINPUT, "%s does not fit the network: %s; check the model, the norm%s%s and the number of classes", path,
        text, strstr(misfit[MISSHAPEN].names, "running_deconv") ? ", --block" : "", state ? ", the optimiser" : "");
}

static bool is_expected(const struct items *items, const char *name) {
    for (int i = 0; i < items->count; i++) {
        const struct item *item = &items->item[i];
        if (!strcmp(item->name, name) || (item->former && !strcmp(item->former, name))) return true;
    }
    return false;
}

/* num_batches_tracked may be missing: state dicts of old PyTorch versions lack it, and nothing computes with it. */
static int check_fit(const struct items *items, const struct bl_safetensors *file, const char *path) {
    struct misfit misfit[] = {{.what = "missing"}, {.what = "unexpected"}, {.what = "of another shape"}};
    bool state = false;
    for (int i = 0; i < items->count; i++) {
        const struct item *item = &items->item[i];
        const struct bl_st_tensor *tensor = find_tensor(file, item);
        if (!tensor && !(is_counter(item) && !item->param->private_state)) misfit_add(&misfit[MISSING], item->name);
        if (tensor && !same_shape(item, tensor)) misfit_add(&misfit[MISSHAPEN], item->name);
        state |= item->source == OF_OPTIMISER;
    }
    for (int i = 0; i < bl_st_count(file); i++)
        if (!is_expected(items, bl_st_at(file, i)->name)) misfit_add(&misfit[UNEXPECTED], bl_st_at(file, i)->name);
    return refuse(path, misfit, state);
}

/* Types that cannot be read as numbers of the kind wanted, and values that are none, are found before anything is
 * changed. */
static int check_types(const struct items *items, const struct bl_safetensors *file, const char *path) {
    for (int i = 0; i < items->count; i++) {
        const struct item *item = &items->item[i];
        const struct bl_st_tensor *tensor = find_tensor(file, item);
        if (!tensor) continue;
        bool integer = tensor->dtype == BL_I64 || tensor->dtype == BL_I32;
        int64_t value = 0;
        if (is_counter(item) && integer && bl_st_int64s(tensor, &value, 1)) return BLANCH_EINPUT;
        if (value < -MOST_STEPS || value > MOST_STEPS)
            return bl_fail(BLANCH_EINPUT, "%s: counter %s is out of range", path, tensor->name);
        if (is_counter(item) ? !integer : item->source == NUMBERS ? tensor->dtype != BL_F64 : tensor->dtype == BL_U8)
            return bl_fail(BLANCH_EINPUT, "%s: tensor %s has a type that does not fit", path, tensor->name);
    }
    return 0;
}

static int check_finite(const struct bl_st_tensor *tensor, int64_t count, const char *path) {
    float *host = bl_malloc((size_t)count * sizeof *host);
    int code = host ? bl_st_floats(tensor, host, count) : BLANCH_ENOMEM;
    for (int64_t i = 0; i < count && !code; i++)
        if (!isfinite(host[i]))
            code = bl_fail(BLANCH_EINPUT,
                           "%s: tensor %s holds a value that is not finite (%g, element %lld): the run that wrote it "
                           "diverged, or the file is damaged",
                           path, tensor->name, (double)host[i], (long long)i);
    free(host);
    return code;
}

static int check_values(const struct items *items, const struct bl_safetensors *file, const char *path) {
    int code = 0;
    for (int i = 0; i < items->count && !code; i++) {
        const struct item *item = &items->item[i];
        const struct bl_st_tensor *tensor = find_tensor(file, item);
        if (tensor && !is_counter(item) && item->source != NUMBERS) code = check_finite(tensor, count_of(item), path);
    }
    return code;
}

static int fits(const struct items *items, const struct bl_safetensors *file, const char *path) {
    int code = check_fit(items, file, path);
    if (!code) code = check_types(items, file, path);
    return code ? code : check_values(items, file, path);
}

static int take_item(const struct item *item, const struct bl_st_tensor *tensor) {
    if (is_counter(item)) return bl_st_int64s(tensor, &item->param->value, 1);
    if (item->source == NUMBERS) return memcpy(item->param->offered->numbers, tensor->data, tensor->bytes), 0;
    float *host = bl_calloc((size_t)item->param->data.count, sizeof *host);
    if (!host) return BLANCH_ENOMEM;
    int code = bl_st_floats(tensor, host, item->param->data.count);
    if (!code) code = bl_mem_write(tensor_of(item)->mem, 0, (size_t)item->param->data.count * sizeof *host, host);
    free(host);
    return code;
}

/* Targets go on last: they need buffers of their layers. */
static int take(struct bl_graph *graph, const struct items *items, const struct bl_safetensors *file,
                const char *path) {
    int code = bl_graph_end_targets(graph);
    for (int i = 0; i < items->count && !code; i++) {
        const struct bl_st_tensor *tensor = find_tensor(file, &items->item[i]);
        if (tensor) code = take_item(&items->item[i], tensor);
    }
    for (int i = 0; i < items->count && !code; i++)
        if (items->item[i].source == NUMBERS) code = bl_param_resume_target(items->item[i].param);
    bl_graph_touch(graph);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

int bl_weights_load(struct bl_graph *graph, const char *path) {
    struct bl_safetensors *file = NULL;
    struct items items = {0};
    int code = bl_st_open(&file, path);
    if (!code) code = list_weights(&items, graph);
    if (!code) code = fits(&items, file, path);
    if (!code) code = take(graph, &items, file, path);
    free(items.item);
    bl_st_close(file);
    return code;
}

/* Leaves the items that the file has, in their shape. */
static int keep_fitting(struct items *items, const struct bl_safetensors *file, const char *path) {
    const int wanted = items->count;
    items->count = 0;
    for (int i = 0; i < wanted; i++) {
        const struct bl_st_tensor *tensor = find_tensor(file, &items->item[i]);
        if (tensor && same_shape(&items->item[i], tensor)) items->item[items->count++] = items->item[i];
    }
    if (items->count) return 0;
    return bl_fail(BLANCH_EINPUT,
                   "%s holds nothing that fits the network by name and shape; check the model and the norm", path);
}

int bl_weights_init(struct bl_graph *graph, const char *path, int *taken) {
    struct bl_safetensors *file = NULL;
    struct items items = {0};
    int code = bl_st_open(&file, path);
    if (!code) code = list_weights(&items, graph);
    if (!code) code = keep_fitting(&items, file, path);
    if (!code) code = check_types(&items, file, path);
    if (!code) code = check_values(&items, file, path);
    if (!code) code = take(graph, &items, file, path);
    *taken = code ? 0 : items.count;
    free(items.item);
    bl_st_close(file);
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
    return rename(from, to) == 0 ? 0 : bl_fail(BLANCH_EIO, "%s cannot be renamed to %s: %m", from, to);
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
        (code = weights_save(graph, path[WEIGHTS_NEW], position->step, true))) {
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
    return bl_st_meta(file, "step") ? meta_int(file, "step", (double)MOST_STEPS) : -1;
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
    int64_t epoch = meta_int(state, "epoch", (double)MOST_STEPS), count = meta_int(state, "train_count", INT_MAX),
            top1 = meta_int(state, "train_top1", (double)count), top5 = meta_int(state, "train_top5", (double)count),
            skipped = meta_int(state, "skipped", (double)step_of(state));
    *position = (struct bl_position){
        .step = step_of(state),
        .skipped = skipped,
        .stale = meta_int(state, "stale", (double)MOST_STEPS),
        .epoch = epoch,
        .best_top1 = meta_double(state, "best_top1"),
        .train = {.loss = meta_double(state, "train_loss"), .count = (int)count, .top1 = (int)top1, .top5 = (int)top5},
        .train_s = meta_double(state, "train_s"),
    };
    const char *wrong = epoch < 0                       ? "epoch"
                        : count < 0                     ? "train_count"
                        : top1 < 0                      ? "train_top1"
                        : top5 < 0                      ? "train_top5"
                        : skipped < 0                   ? "skipped"
                        : position->stale < 0           ? "stale"
                        : !(position->best_top1 <= 100) ? "best_top1"
                        : isnan(position->train.loss)   ? "train_loss"
                        : !(position->train_s >= 0)     ? "train_s"
                                                        : NULL;
    if (wrong) return bl_fail(BLANCH_EINPUT, "%s: the metadata's \"%s\" is out of range", path, wrong);
    const char *budget = bl_st_meta(state, "overhead_budget");
    return budget && !(position->budget = bl_strdup(budget)) ? BLANCH_ENOMEM : 0;
}

int bl_checkpoint_load(struct bl_graph *graph, const char *dir, struct bl_position *position) {
    return bl_checkpoint_load_if(graph, dir, position, NULL, NULL);
}

int bl_checkpoint_load_if(struct bl_graph *graph, const char *dir, struct bl_position *position,
                          int (*accept)(void *context, const struct bl_position *position), void *context) {
    char *path[FILES];
    struct bl_safetensors *file[FILES] = {NULL};
    struct items values = {0}, states = {0};
    int weights = WEIGHTS, state = STATE, code = make_paths(path, dir);
    if (code || (code = open_all(file, path)) || (code = choose_pair(file, dir, &weights, &state))) goto done;
    if ((code = list_weights(&values, graph)) || (code = list_state(&states, graph, file[state]))) goto done;
    if ((code = fits(&values, file[weights], path[weights])) || (code = fits(&states, file[state], path[state])) ||
        (code = read_position(file[state], path[state], position)) || (accept && (code = accept(context, position))))
        goto done;
    if ((code = take(graph, &values, file[weights], path[weights])) ||
        (code = take(graph, &states, file[state], path[state])))
        goto done;
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
