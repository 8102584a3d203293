/* A layer's case: a graph of one operation, forward and backward. */
#include "cli/check.h"
#include "io/files.h"
#include "io/json.h"
#include "graph/describe.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_OPERANDS = 3 };
static const char *const in_names[MAX_OPERANDS] = {"in.x", "in.x2", "in.x3"};
static const char *const grad_names[MAX_OPERANDS] = {"out.grad_x", "out.grad_x2", "out.grad_x3"};
static const char labels_name[] = "in.labels"; // a last operand, without a gradient

struct layer {
    struct bl_check *check;
    struct bl_graph *graph;
    struct bl_node *node;
    int n, inputs; // inputs: less labels
    bool training;
    struct bl_tolerance tolerance;
};

static bool is_loss(const struct layer *layer) {
    return layer->node->op->role == BL_ROLE_LOSS;
}

/* --- the graph -------------------------------------------------------------------------------- */

static int read_mode(struct layer *layer) {
    const char *mode = bl_st_meta(layer->check->file, "mode");
    if (!mode || (strcmp(mode, "train") && strcmp(mode, "eval")))
        return bl_fail(BLANCH_EINPUT, "the metadata's 'mode' must be train or eval, not '%s'",
                       mode ? mode : "(missing)");
    layer->training = !strcmp(mode, "train");
    return bl_check_number(layer->check, "tolerance", &layer->tolerance.relative);
}

static int read_attrs(const struct layer *layer, const struct bl_op **op, void **attrs) {
    const char *name = bl_st_meta(layer->check->file, "op"), *text = bl_st_meta(layer->check->file, "attrs");
    if (!name) return bl_fail(BLANCH_EINPUT, "the metadata has no 'op'");
    if (!(*op = bl_op_find(name))) return bl_fail(BLANCH_EINPUT, "unknown operation '%s'", name);
    cJSON *json = text ? cJSON_Parse(text) : NULL;
    if (text && !json && bl_memory_lacked()) return BLANCH_ENOMEM;
    if (text && !json) return bl_fail(BLANCH_EINPUT, "the metadata's 'attrs' are not JSON");
    int code = BLANCH_ENOMEM;
    if ((*attrs = bl_calloc(1, (*op)->attrs_size + 1))) code = bl_attrs_from_json(*op, json, *attrs);
    cJSON_Delete(json);
    return code;
}

/* All operands are of one batch; the first one makes the graph. */
static int check_operand(struct layer *layer, const struct bl_st_tensor *tensor, int least, int most) {
    if (tensor->dims < least || tensor->dims > most)
        return bl_fail(BLANCH_EINPUT, "the tensor '%s' has %d dimensions, where %d to %d are needed", tensor->name,
                       tensor->dims, least, most);
    if (tensor->shape[0] < 1 || tensor->shape[0] > 1 << 20 || (layer->graph && tensor->shape[0] != layer->n))
        return bl_fail(BLANCH_EINPUT, "the tensor '%s' has a batch of %lld", tensor->name, (long long)tensor->shape[0]);
    if (layer->graph) return 0;
    layer->n = (int)tensor->shape[0];
    int code = bl_graph_create(&layer->graph, layer->check->dev, layer->n, false);
    if (!code) bl_graph_want_input_grads(layer->graph);
    return code;
}

/* (N, C), (N, C, H, W); sizes left out are 1. */
static int add_input(struct layer *layer, const struct bl_st_tensor *tensor, struct blanch_tensor **input) {
    int code = check_operand(layer, tensor, 2, 4);
    if (code) return code;
    *input = bl_graph_input(layer->graph, tensor->shape[1], tensor->dims > 2 ? tensor->shape[2] : 1,
                            tensor->dims > 3 ? tensor->shape[3] : 1);
    return 0;
}

/* (N), of images, or (N, H, W), of their pixels. */
static int add_labels(struct layer *layer, const struct bl_st_tensor *tensor, struct blanch_tensor **input) {
    int code = check_operand(layer, tensor, 1, 3);
    if (code) return code;
    *input = bl_graph_input_as(layer->graph, BL_I32, 1, tensor->dims > 1 ? tensor->shape[1] : 1,
                               tensor->dims > 2 ? tensor->shape[2] : 1);
    return 0;
}

static int build(struct layer *layer) {
    const struct bl_op *op = NULL;
    const struct bl_st_tensor *tensor;
    struct blanch_tensor *in[MAX_OPERANDS + 1] = {NULL};
    const struct bl_st_tensor *labels = bl_st_find(layer->check->file, labels_name);
    void *attrs = NULL;
    int code = read_mode(layer);
    if (!code) code = read_attrs(layer, &op, &attrs);
    if (!code && !labels) code = bl_check_find(layer->check, in_names[0], NULL, &tensor);
    for (int i = 0; i < MAX_OPERANDS && !code && (tensor = bl_st_find(layer->check->file, in_names[i])); i++) {
        code = add_input(layer, tensor, &in[i]);
        layer->inputs++;
    }
    if (!code && labels) code = add_labels(layer, labels, &in[layer->inputs]);
    if (!code) {
        bl_graph_add(layer->graph, op->name, "layer", attrs, in, layer->inputs + (labels != NULL));
        code = bl_graph_finish(layer->graph, 0);
    }
    free(attrs);
    if (!code) layer->node = bl_graph_node(layer->graph, 0);
    return code;
}

/* --- running ---------------------------------------------------------------------------------- */

static int write_tensor(struct layer *layer, const char *name, struct blanch_tensor *tensor) {
    float *values;
    int code = bl_check_read(layer->check, name, NULL, tensor->count, &values);
    if (!code) code = bl_tensor_write(layer->graph, tensor, layer->n, values);
    free(values);
    return code;
}

/* Of the node's only one, which bears the node's name: "weight". */
static const char *short_name(const struct bl_param *param) {
    return strcmp(param->name, "layer") ? param->name + strlen("layer.") : "weight";
}

static int write_param(struct layer *layer, struct bl_param *param) {
    float *values;
    if (param->counter) return 0;
    int code = bl_check_read(layer->check, "in.", short_name(param), param->data.count, &values);
    if (!code) code = bl_param_write(param, values);
    free(values);
    return code;
}

/* The loss is the mean over the labels that count. */
static int write_labels(struct layer *layer, const struct bl_st_tensor *tensor) {
    const struct blanch_tensor *to = layer->node->in[layer->inputs];
    int64_t counted = 0, *wide = bl_calloc((size_t)to->count, sizeof *wide);
    int32_t *labels = bl_calloc((size_t)to->count, sizeof *labels);
    int code = wide && labels ? bl_st_int64s(tensor, wide, to->count) : BLANCH_ENOMEM;
    for (int64_t i = 0; i < to->count && !code; i++) {
        if (wide[i] < 0 || wide[i] > INT32_MAX)
            code = bl_fail(BLANCH_EINPUT, "the tensor '%s' has a label %lld", tensor->name, (long long)wide[i]);
        labels[i] = (int32_t)wide[i];
        counted += to->h * to->w == 1 || labels[i] != BL_IGNORED_LABEL;
    }
    if (!code) code = bl_mem_write(to->mem, 0, bl_tensor_bytes(to), labels);
    bl_graph_weigh_batch(layer->graph, (double)counted);
    free(wide), free(labels);
    return code;
}

static int run_graph(struct layer *layer) {
    struct bl_node *node = layer->node;
    const struct bl_st_tensor *labels = bl_st_find(layer->check->file, labels_name);
    int code = labels ? write_labels(layer, labels) : 0;
    for (int i = 0; i < layer->inputs && !code; i++) code = write_tensor(layer, in_names[i], node->in[i]);
    for (int i = 0; i < node->params && !code; i++) code = write_param(layer, node->param[i]);
    for (int i = 0; i < node->buffers && !code; i++) code = write_param(layer, node->buffer[i]);
    bl_graph_touch(layer->graph);
    if (!code) code = bl_graph_forward(layer->graph, layer->n, layer->training);
    if (code) return code;
    if (is_loss(layer)) return bl_graph_backward_from(layer->graph, layer->n, layer->training);
    if (!node->out[0]->grad) return bl_fail(BLANCH_EINPUT, "%s: no gradient passes through it", node->op->name);
    if ((code = write_tensor(layer, "in.grad_y", node->out[0]->grad))) return code;
    return bl_graph_backward_from(layer->graph, layer->n, layer->training);
}

/* --- results ---------------------------------------------------------------------------------- */

static int compare_tensor(struct layer *layer, const char *name, struct blanch_tensor *tensor) {
    if (!tensor) return bl_fail(BLANCH_EINPUT, "%s: there is no %s", layer->node->op->name, name);
    float *got = bl_calloc((size_t)tensor->count, sizeof *got);
    int code = got ? bl_tensor_read(layer->graph, tensor, layer->n, got) : BLANCH_ENOMEM;
    if (code) return free(got), code;
    return bl_check_compare(layer->check, name, NULL, got, tensor->count, layer->tolerance);
}

static int compare_flat(struct layer *layer, const char *prefix, const struct bl_param *param,
                        const struct blanch_tensor *data) {
    if (param->counter) return 0;
    float *got = bl_calloc((size_t)data->count, sizeof *got);
    int code = got ? bl_mem_read(data->mem, 0, bl_tensor_bytes(data), got) : BLANCH_ENOMEM;
    if (code) return free(got), code;
    return bl_check_compare(layer->check, prefix, short_name(param), got, data->count, layer->tolerance);
}

/* A loss's output holds more of each image than the loss, which comes first. */
static int compare_losses(struct layer *layer) {
    const struct blanch_tensor *y = layer->node->out[0];
    const int64_t each = y->count / y->n;
    float *got = bl_calloc((size_t)y->count, sizeof *got);
    int code = got ? bl_mem_read(y->mem, 0, bl_tensor_bytes(y), got) : BLANCH_ENOMEM;
    if (code) return free(got), code;
    for (int64_t i = 1; i < y->n; i++) got[i] = got[i * each];
    return bl_check_compare(layer->check, "out.y", NULL, got, y->n, layer->tolerance);
}

static int compare_all(struct layer *layer) {
    struct bl_node *node = layer->node;
    int code = is_loss(layer) ? compare_losses(layer) : compare_tensor(layer, "out.y", node->out[0]);
    for (int i = 0; i < layer->inputs && !code; i++) code = compare_tensor(layer, grad_names[i], node->in[i]->grad);
    for (int i = 0; i < node->params && !code; i++)
        code = compare_flat(layer, "out.grad_", node->param[i], &node->param[i]->grad);
    for (int i = 0; i < node->buffers && !code; i++)
        code = compare_flat(layer, "out.", node->buffer[i], &node->buffer[i]->data);
    return code;
}

int bl_check_layer(struct bl_check *check) {
    struct layer layer = {.check = check};
    int code = build(&layer);
    if (!code) code = run_graph(&layer);
    if (!code) code = compare_all(&layer);
    bl_graph_free(layer.graph);
    return code;
}
