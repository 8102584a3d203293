/* Checkpoints: the state dict alone, as PyTorch names it, and beside it what else a run needs to go on. */
#include "train/train.h"
#include "io/files.h"
#include "io/safetensors.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- writing -------------------------------------------------------------------------------- */

/* Tensors to be written, with the host memory they point into. */
struct dump {
    struct bl_st_tensor *tensors;
    void **memory;
    int count;
};

static int dump_open(struct dump *dump, int capacity) {
    dump->count = 0;
    dump->tensors = bl_calloc((size_t)capacity + 1, sizeof *dump->tensors);
    dump->memory = bl_calloc((size_t)capacity + 1, sizeof *dump->memory);
    return dump->tensors && dump->memory ? 0 : BLANCH_ENOMEM;
}

static void dump_close(struct dump *dump) {
    for (int i = 0; dump->memory && i < dump->count; i++) free(dump->memory[i]);
    free(dump->tensors);
    free(dump->memory);
}

/* state: of the optimiser, or -1 for the value. */
static int dump_add(struct dump *dump, struct bl_param *param, int state) {
    size_t bytes = param->counter ? sizeof(int64_t) : (size_t)param->data.count * sizeof(float);
    void *host = dump->memory[dump->count] = bl_calloc(1, bytes);
    if (!host) return BLANCH_ENOMEM;
    struct bl_st_tensor *tensor = &dump->tensors[dump->count++];
    *tensor = (struct bl_st_tensor){.name = param->name, .data = host, .bytes = bytes};
    tensor->dtype = param->counter ? BL_I64 : BL_F32;
    tensor->dims = param->counter ? 0 : param->dims;
    for (int i = 0; i < tensor->dims; i++) tensor->shape[i] = param->shape[i];
    if (!param->counter) return state < 0 ? bl_param_read(param, host) : bl_param_read_state(param, state, host);
    memcpy(host, &param->value, bytes);
    return 0;
}

int bl_weights_save(struct bl_graph *graph, const char *path, int64_t step) {
    struct dump dump;
    char number[32];
    const char *meta[] = {"format", "pt", "step", number, NULL};
    if (step < 0) meta[2] = NULL;
    snprintf(number, sizeof number, "%" PRId64, step);
    int count = bl_graph_params(graph), code = dump_open(&dump, count);
    for (int i = 0; i < count && !code; i++) {
        struct bl_param *param = bl_graph_param(graph, i);
        if (!param->private_state) code = dump_add(&dump, param, -1);
    }
    if (!code) code = bl_st_write(path, dump.tensors, dump.count, meta);
    dump_close(&dump);
    return code;
}

static int state_save(struct bl_graph *graph, const char *path, const struct bl_position *position) {
    struct dump dump;
    char text[8][32];
    snprintf(text[0], 32, "%" PRId64, position->step);
    snprintf(text[1], 32, "%" PRId64, position->epoch);
    snprintf(text[2], 32, "%.17g", position->best_top1);
    snprintf(text[3], 32, "%.17g", position->train.loss);
    snprintf(text[4], 32, "%d", position->train.count);
    snprintf(text[5], 32, "%d", position->train.top1);
    snprintf(text[6], 32, "%d", position->train.top5);
    snprintf(text[7], 32, "%.17g", position->train_s);
    const char *const meta[] = {"step",
                                text[0],
                                "epoch",
                                text[1],
                                "best_top1",
                                text[2],
                                "train_loss",
                                text[3],
                                "train_count",
                                text[4],
                                "train_top1",
                                text[5],
                                "train_top5",
                                text[6],
                                "train_s",
                                text[7],
                                position->budget ? "overhead_budget" : NULL,
                                position->budget,
                                NULL};
    int count = bl_graph_params(graph), code = dump_open(&dump, count);
    for (int i = 0; i < count && !code; i++) {
        struct bl_param *param = bl_graph_param(graph, i);
        if (param->trainable)
            code = dump_add(&dump, param, 0);
        else if (param->private_state)
            code = dump_add(&dump, param, -1);
    }
    if (!code) code = bl_st_write(path, dump.tensors, dump.count, meta);
    dump_close(&dump);
    return code;
}

/* --- reading -------------------------------------------------------------------------------- */

static bool same_shape(const struct bl_param *param, const struct bl_st_tensor *tensor) {
    if (param->counter) return tensor->dims == 0 || (tensor->dims == 1 && tensor->shape[0] == 1);
    if (tensor->dims != param->dims) return false;
    for (int i = 0; i < param->dims; i++)
        if (tensor->shape[i] != param->shape[i]) return false;
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

static int refuse(const char *path, const struct misfit *misfit) {
    char text[800] = "";
    for (int i = MISSING; i <= MISSHAPEN; i++) {
        size_t used = strlen(text);
        if (misfit[i].count)
            snprintf(text + used, sizeof text - used, "%s%d %s (%s)", used ? "; " : "", misfit[i].count, misfit[i].what,
                     misfit[i].names);
    }
    if (!*text) return 0;
    return bl_fail(BLANCH_EINPUT,
                   "%s does not fit the network: %s; check the model, the norm and the number of classes", path, text);
}

/* Which parameters a file of this kind holds: velocity of the trainable ones, data of the rest. */
static bool in_state(const struct bl_param *param) {
    return param->trainable || param->private_state;
}
static bool in_weights(const struct bl_param *param) {
    return !param->private_state;
}

static const struct bl_param *find_param(struct bl_graph *graph, const char *name,
                                         bool (*wanted)(const struct bl_param *)) {
    const struct bl_param *param = bl_graph_find_param(graph, name);
    return param && wanted(param) ? param : NULL;
}

/* num_batches_tracked may be missing: state dicts of old PyTorch versions lack it, and nothing computes with it. */
static int check_fit(struct bl_graph *graph, const struct bl_safetensors *file, const char *path,
                     bool (*wanted)(const struct bl_param *)) {
    struct misfit misfit[] = {{.what = "missing"}, {.what = "unexpected"}, {.what = "of another shape"}};
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        if (!wanted(param)) continue;
        const struct bl_st_tensor *tensor = bl_st_find(file, param->name);
        if (!tensor && !(param->counter && !param->private_state)) misfit_add(&misfit[MISSING], param->name);
        if (tensor && !same_shape(param, tensor)) misfit_add(&misfit[MISSHAPEN], param->name);
    }
    for (int i = 0; i < bl_st_count(file); i++) {
        const char *name = bl_st_at(file, i)->name;
        if (!find_param(graph, name, wanted)) misfit_add(&misfit[UNEXPECTED], name);
    }
    return refuse(path, misfit);
}

static int read_tensor(struct bl_param *param, struct bl_tensor *to, const struct bl_st_tensor *tensor) {
    if (param->counter) return bl_st_int64s(tensor, &param->value, 1);
    float *host = bl_calloc((size_t)param->data.count, sizeof *host);
    if (!host) return BLANCH_ENOMEM;
    int code = bl_st_floats(tensor, host, param->data.count);
    if (!code) code = bl_mem_write(to->mem, 0, (size_t)param->data.count * sizeof *host, host);
    free(host);
    return code;
}

/* Types that cannot be read as numbers of the kind wanted are found before anything is changed. */
static int check_types(struct bl_graph *graph, const struct bl_safetensors *file, const char *path,
                       bool (*wanted)(const struct bl_param *)) {
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        const struct bl_st_tensor *tensor = wanted(param) ? bl_st_find(file, param->name) : NULL;
        if (!tensor) continue;
        bool integer = tensor->dtype == BL_I64 || tensor->dtype == BL_I32;
        if (param->counter ? !integer : tensor->dtype == BL_U8)
            return bl_fail(BLANCH_EINPUT, "%s: tensor %s has a type that does not fit", path, param->name);
    }
    return 0;
}

static int fits(struct bl_graph *graph, const struct bl_safetensors *file, const char *path,
                bool (*wanted)(const struct bl_param *)) {
    int code = check_fit(graph, file, path, wanted);
    return code ? code : check_types(graph, file, path, wanted);
}

static int take(struct bl_graph *graph, const struct bl_safetensors *file, const char *path,
                bool (*wanted)(const struct bl_param *), bool velocities) {
    int code = bl_graph_end_targets(graph);
    for (int i = 0; i < bl_graph_params(graph) && !code; i++) {
        struct bl_param *param = bl_graph_param(graph, i);
        const struct bl_st_tensor *tensor = wanted(param) ? bl_st_find(file, param->name) : NULL;
        if (!tensor) continue;
        code = read_tensor(param, velocities && param->trainable ? &param->state[0] : &param->data, tensor);
    }
    bl_graph_touch(graph);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

int bl_weights_load(struct bl_graph *graph, const char *path) {
    struct bl_safetensors *file = NULL;
    int code = bl_st_open(&file, path);
    if (!code) code = fits(graph, file, path, in_weights);
    if (!code) code = take(graph, file, path, in_weights, false);
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
        (code = bl_weights_save(graph, path[WEIGHTS_NEW], position->step))) {
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

static int64_t meta_int(const struct bl_safetensors *file, const char *key) {
    const char *text = bl_st_meta(file, key);
    return text ? strtoll(text, NULL, 10) : -1;
}

static double meta_double(const struct bl_safetensors *file, const char *key) {
    const char *text = bl_st_meta(file, key);
    return text ? strtod(text, NULL) : 0;
}

/* Opens what is there. The two regular files must be whole; a damaged *.new is what a crash leaves, and is passed over.
 */
static int open_all(struct bl_safetensors *file[FILES], char *path[FILES]) {
    for (int i = 0; i < FILES; i++) {
        file[i] = NULL;
        if (!bl_path_exists(path[i])) continue;
        int code = bl_st_open(&file[i], path[i]);
        if (code && i < WEIGHTS_NEW) return code;
        if (code) file[i] = NULL;
    }
    return 0;
}

static int choose_pair(struct bl_safetensors *file[FILES], const char *dir, int *weights, int *state) {
    int64_t best = -1;
    for (int w = WEIGHTS; w < FILES; w += 2)
        for (int s = STATE; s < FILES; s += 2) {
            if (!file[w] || !file[s]) continue;
            int64_t step = meta_int(file[w], "step");
            if (step != meta_int(file[s], "step") || step <= best) continue;
            best = step, *weights = w, *state = s;
        }
    if (best >= 0) return 0;
    if (!file[WEIGHTS] || !file[STATE])
        return bl_fail(BLANCH_EINPUT, "%s holds no checkpoint to resume from (%s is missing)", dir,
                       file_names[file[WEIGHTS] ? STATE : WEIGHTS]);
    return bl_fail(BLANCH_EINPUT,
                   "%s: last.safetensors is of step %" PRId64 ", last.state.safetensors of step %" PRId64
                   "; they must agree",
                   dir, meta_int(file[WEIGHTS], "step"), meta_int(file[STATE], "step"));
}

static void read_position(const struct bl_safetensors *state, struct bl_position *position) {
    *position = (struct bl_position){
        .step = meta_int(state, "step"),
        .epoch = meta_int(state, "epoch"),
        .best_top1 = meta_double(state, "best_top1"),
        .train = {.loss = meta_double(state, "train_loss"),
                  .count = (int)meta_int(state, "train_count"),
                  .top1 = (int)meta_int(state, "train_top1"),
                  .top5 = (int)meta_int(state, "train_top5")},
        .train_s = meta_double(state, "train_s"),
    };
}

int bl_checkpoint_load(struct bl_graph *graph, const char *dir, struct bl_position *position) {
    char *path[FILES];
    struct bl_safetensors *file[FILES] = {NULL};
    int weights = WEIGHTS, state = STATE, code = make_paths(path, dir);
    if (code || (code = open_all(file, path)) || (code = choose_pair(file, dir, &weights, &state))) goto done;
    if ((code = fits(graph, file[weights], path[weights], in_weights))) goto done;
    if ((code = fits(graph, file[state], path[state], in_state))) goto done;
    if ((code = take(graph, file[weights], path[weights], in_weights, false))) goto done;
    if ((code = take(graph, file[state], path[state], in_state, true))) goto done;
    read_position(file[state], position);
    const char *budget = bl_st_meta(file[state], "overhead_budget");
    if (budget && !(position->budget = bl_strdup(budget))) {
        code = BLANCH_ENOMEM;
        goto done;
    }
    bl_graph_set_step(graph, (uint64_t)position->step);
    if (state == STATE_NEW && (code = replace(path[STATE_NEW], path[STATE]))) goto done;
    if (weights == WEIGHTS_NEW) code = replace(path[WEIGHTS_NEW], path[WEIGHTS]);
done:
    for (int i = 0; i < FILES; i++) bl_st_close(file[i]);
    free_paths(path);
    return code;
}
