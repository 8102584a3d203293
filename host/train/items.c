/* The tensors of a checkpoint's files. */
#include "train/items.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- which there are ------------------------------------------------------------------------ */

static void add_item(struct bl_items *items, struct bl_param *param, enum bl_source source, int which,
                     const char *suffix) {
    struct bl_item *item = &items->item[items->count++];
    *item = (struct bl_item){.param = param, .source = source, .which = which};
    snprintf(item->name, sizeof item->name, "%s%s%s", param->name, *suffix ? "." : "", suffix);
}

/* torchvision's files of DenseNet have norm.1 and conv.2 in their layers, where its networks have norm1 and conv2. */
static void old_name(const char *name, char former[192]) {
    static const char layer[] = ".denselayer";
    const char *at = strstr(name, layer);
    *former = 0;
    if (!at) return;
    at += sizeof layer - 1;
    at += strspn(at, "0123456789");
    if ((strncmp(at, ".norm", 5) && strncmp(at, ".conv", 5)) || (at[5] != '1' && at[5] != '2') || at[6] != '.') return;
    snprintf(former, 192, "%.*s.%s", (int)(at + 5 - name), name, at + 5);
}

const struct bl_st_tensor *bl_st_find_param(const struct bl_safetensors *file, const struct bl_param *param) {
    char former[192];
    const struct bl_st_tensor *tensor = bl_st_find(file, param->name);
    old_name(param->name, former);
    return tensor || !*former ? tensor : bl_st_find(file, former);
}

/* "NAME.momentum_buffer", and of a target "NAME.target.memory.momentum_buffer". */
static void add_part(struct bl_items *items, struct bl_param *param, enum bl_source source, int which) {
    static const char *const kinds[BL_SOURCES] = {"", "", "target.memory.", "target.first."};
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
static void add_trainable(struct bl_items *items, struct bl_param *param, bool target) {
    const struct bl_optimiser *optimiser = bl_param_optimiser(param);
    int states = optimiser ? optimiser->states : 0;
    for (int i = 1; i <= states; i++) {
        add_part(items, param, BL_OF_OPTIMISER, i);
        if (!strcmp(optimiser->state_name[i - 1], "momentum_buffer"))
            snprintf(items->item[items->count - 1].former, sizeof items->item->former, "%s", param->name);
    }
    for (int i = 0; i <= states && target; i++)
        add_part(items, param, BL_MEMORY, i), add_part(items, param, BL_FIRST, i);
    if (target) add_item(items, param, BL_NUMBERS, 0, "target.numbers");
}

static int open_items(struct bl_items *items, const struct bl_graph *graph) {
    *items =
        (struct bl_items){bl_calloc((size_t)bl_graph_params(graph) * BL_ITEMS_OF_PARAM + 1, sizeof *items->item), 0};
    return items->item ? 0 : BLANCH_ENOMEM;
}

int bl_items_of_weights(struct bl_items *items, struct bl_graph *graph) {
    int code = open_items(items, graph);
    for (int i = 0; i < bl_graph_params(graph) && !code; i++) {
        struct bl_param *param = bl_graph_param(graph, i);
        if (param->private_state) continue;
        add_item(items, param, BL_VALUE, 0, "");
        old_name(param->name, items->item[items->count - 1].former);
    }
    return code;
}

/* file: to be read; NULL: to be written. */
int bl_items_of_state(struct bl_items *items, struct bl_graph *graph, const struct bl_safetensors *file) {
    int code = open_items(items, graph);
    for (int i = 0; i < bl_graph_params(graph) && !code; i++) {
        struct bl_param *param = bl_graph_param(graph, i);
        bool target = param->offered && (file ? has_target(file, param) : param->target != NULL);
        if (param->trainable && !param->frozen)
            add_trainable(items, param, target);
        else if (param->private_state)
            add_item(items, param, BL_VALUE, 0, "");
        if (param->average.mem) add_item(items, param, BL_AVERAGE, 0, "average");
    }
    return code;
}

static bool is_counter(const struct bl_item *item) {
    return item->source == BL_VALUE && item->param->counter;
}

static enum bl_type dtype_of(const struct bl_item *item) {
    return is_counter(item) ? BL_I64 : item->source == BL_NUMBERS ? BL_F64 : BL_F32;
}

/* Dimensions; their number returned. */
static int shape_of(const struct bl_item *item, int64_t shape[8]) {
    if (is_counter(item)) return 0;
    if (item->source == BL_NUMBERS) return shape[0] = item->param->offered->number_count, 1;
    for (int i = 0; i < item->param->dims; i++) shape[i] = item->param->shape[i];
    return item->param->dims;
}

static int64_t count_of(const struct bl_item *item) {
    return is_counter(item)             ? 1
           : item->source == BL_NUMBERS ? item->param->offered->number_count
                                        : item->param->data.count;
}

static const struct blanch_tensor *tensor_of(const struct bl_item *item) {
    if (item->source == BL_AVERAGE) return &item->param->average;
    if (item->source == BL_FIRST) return item->param->offered->first[item->which];
    return item->which ? &item->param->state[item->which - 1] : &item->param->data;
}

/* --- writing -------------------------------------------------------------------------------- */

static int read_item(const struct bl_item *item, void *host, size_t bytes) {
    switch (item->source) {
    case BL_VALUE:
        if (!item->param->counter) return bl_param_read(item->param, host);
        memcpy(host, &item->param->value, bytes);
        return 0;
    case BL_OF_OPTIMISER:
        return bl_param_read_state(item->param, item->which - 1, host);
    case BL_NUMBERS:
        memcpy(host, item->param->offered->numbers, bytes);
        return 0;
    default:
        return bl_mem_read(tensor_of(item)->mem, 0, bytes, host);
    }
}

/* What is not finite is no state to go on from. */
static int check_item(const struct bl_item *item, const void *host) {
    const float *value = host;
    int64_t wrong = 0, count = dtype_of(item) == BL_F32 ? count_of(item) : 0;
    for (int64_t i = 0; i < count; i++) wrong += !isfinite(value[i]);
    if (!wrong) return 0;
    return bl_fail(BLANCH_EDIVERGED, "%s is not finite: %lld of %lld values", item->name, (long long)wrong,
                   (long long)count);
}

int bl_items_write(const struct bl_items *items, const char *path, const char *const *meta, bool checked) {
    struct bl_st_tensor *tensors = bl_calloc((size_t)items->count + 1, sizeof *tensors);
    void **memory = bl_calloc((size_t)items->count + 1, sizeof *memory);
    int code = tensors && memory ? 0 : BLANCH_ENOMEM;
    for (int i = 0; i < items->count && !code; i++) {
        const struct bl_item *item = &items->item[i];
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

/* --- reading -------------------------------------------------------------------------------- */

static const struct bl_st_tensor *find_tensor(const struct bl_safetensors *file, const struct bl_item *item) {
    const struct bl_st_tensor *tensor = bl_st_find(file, item->name);
    return tensor || !*item->former ? tensor : bl_st_find(file, item->former);
}

static bool same_shape(const struct bl_item *item, const struct bl_st_tensor *tensor) {
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

static bool is_expected(const struct bl_items *items, const char *name) {
    for (int i = 0; i < items->count; i++) {
        const struct bl_item *item = &items->item[i];
        if (!strcmp(item->name, name) || !strcmp(item->former, name)) return true;
    }
    return false;
}

/* Of torchvision's networks that label pixels: it serves their training alone, beside another loss. */
static bool is_auxiliary(const char *name) {
    static const char begin[] = "aux_classifier.";
    return !strncmp(name, begin, sizeof begin - 1);
}

/* num_batches_tracked may be missing: state dicts of old PyTorch versions lack it, and nothing computes with it. */
static int check_fit(const struct bl_items *items, const struct bl_safetensors *file, const char *path) {
    struct misfit misfit[] = {{.what = "missing"}, {.what = "unexpected"}, {.what = "of another shape"}};
    bool state = false;
    for (int i = 0; i < items->count; i++) {
        const struct bl_item *item = &items->item[i];
        const struct bl_st_tensor *tensor = find_tensor(file, item);
        if (!tensor && !(is_counter(item) && !item->param->private_state)) misfit_add(&misfit[MISSING], item->name);
        if (tensor && !same_shape(item, tensor)) misfit_add(&misfit[MISSHAPEN], item->name);
        state |= item->source == BL_OF_OPTIMISER;
    }
    for (int i = 0; i < bl_st_count(file); i++)
        if (!is_expected(items, bl_st_at(file, i)->name) && !is_auxiliary(bl_st_at(file, i)->name))
            misfit_add(&misfit[UNEXPECTED], bl_st_at(file, i)->name);
    return refuse(path, misfit, state);
}

/* Types that cannot be read as numbers of the kind wanted, and values that are none, are found before anything is
 * changed. */
static int check_types(const struct bl_items *items, const struct bl_safetensors *file, const char *path) {
    for (int i = 0; i < items->count; i++) {
        const struct bl_item *item = &items->item[i];
        const struct bl_st_tensor *tensor = find_tensor(file, item);
        if (!tensor) continue;
        bool integer = tensor->dtype == BL_I64 || tensor->dtype == BL_I32;
        int64_t value = 0;
        if (is_counter(item) && integer && bl_st_int64s(tensor, &value, 1)) return BLANCH_EINPUT;
        if (value < -BL_MOST_STEPS || value > BL_MOST_STEPS)
            return bl_fail(BLANCH_EINPUT, "%s: counter %s is out of range", path, tensor->name);
        if (is_counter(item) ? !integer : item->source == BL_NUMBERS ? tensor->dtype != BL_F64 : tensor->dtype == BL_U8)
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

static int check_values(const struct bl_items *items, const struct bl_safetensors *file, const char *path) {
    int code = 0;
    for (int i = 0; i < items->count && !code; i++) {
        const struct bl_item *item = &items->item[i];
        const struct bl_st_tensor *tensor = find_tensor(file, item);
        if (tensor && !is_counter(item) && item->source != BL_NUMBERS)
            code = check_finite(tensor, count_of(item), path);
    }
    return code;
}

int bl_items_fit(const struct bl_items *items, const struct bl_safetensors *file, const char *path) {
    int code = check_fit(items, file, path);
    if (!code) code = check_types(items, file, path);
    return code ? code : check_values(items, file, path);
}

static int take_item(const struct bl_item *item, const struct bl_st_tensor *tensor) {
    if (is_counter(item)) return bl_st_int64s(tensor, &item->param->value, 1);
    if (item->source == BL_NUMBERS) return memcpy(item->param->offered->numbers, tensor->data, tensor->bytes), 0;
    float *host = bl_calloc((size_t)item->param->data.count, sizeof *host);
    if (!host) return BLANCH_ENOMEM;
    int code = bl_st_floats(tensor, host, item->param->data.count);
    if (!code) code = bl_mem_write(tensor_of(item)->mem, 0, (size_t)item->param->data.count * sizeof *host, host);
    free(host);
    return code;
}

/* Targets go on last: they need buffers of their layers. */
int bl_items_take(struct bl_graph *graph, const struct bl_items *items, const struct bl_safetensors *file,
                  const char *path) {
    int code = bl_graph_end_targets(graph);
    for (int i = 0; i < items->count && !code; i++) {
        const struct bl_st_tensor *tensor = find_tensor(file, &items->item[i]);
        if (tensor) code = take_item(&items->item[i], tensor);
    }
    for (int i = 0; i < items->count && !code; i++)
        if (items->item[i].source == BL_NUMBERS) code = bl_param_resume_target(items->item[i].param);
    bl_graph_touch(graph);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

/* Leaves the items that the file has, in their shape. */
int bl_items_keep_fitting(struct bl_items *items, const struct bl_safetensors *file, const char *path) {
    const int wanted = items->count;
    items->count = 0;
    for (int i = 0; i < wanted; i++) {
        const struct bl_st_tensor *tensor = find_tensor(file, &items->item[i]);
        if (tensor && same_shape(&items->item[i], tensor)) items->item[items->count++] = items->item[i];
    }
    if (items->count) {
        const int code = check_types(items, file, path);
        return code ? code : check_values(items, file, path);
    }
    return bl_fail(BLANCH_EINPUT,
                   "%s holds nothing that fits the network by name and shape; check the model and the norm", path);
}
