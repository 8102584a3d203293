/* Weights for a network with another classifier: everything else is taken. */
#include "io/safetensors.h"
#include "train/train.h"
#include <stdlib.h>
#include <string.h>

static bool is_of_head(const struct bl_graph *graph, const struct bl_param *param) {
    return param->node == bl_graph_head(graph) && param->trainable;
}

static bool is_shaped(const struct bl_st_tensor *tensor, const struct bl_param *param) {
    bool same = param->counter || tensor->dims == param->dims;
    for (int i = 0; same && i < param->dims; i++) same = tensor->shape[i] == param->shape[i];
    return same;
}

/* BLANCH_EINPUT: something that is not the classifier's is missing or of another shape. */
static int check_body(const struct bl_graph *graph, const char *path) {
    struct bl_safetensors *file = NULL;
    int code = bl_st_open(&file, path);
    for (int i = 0; i < bl_graph_params(graph) && !code; i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        if (param->private_state || is_of_head(graph, param)) continue;
        const struct bl_st_tensor *tensor = bl_st_find_param(file, param);
        if (tensor ? !is_shaped(tensor, param) : !param->counter)
            code = bl_fail(BLANCH_EINPUT, "%s: %s is %s, and is not the classifier's; check the model and the norm",
                           path, param->name, tensor ? "of another shape" : "missing");
    }
    code = bl_weights_explain(code, graph, file);
    bl_st_close(file);
    return code;
}

/* Of the classifier: reads its values, or writes them. */
static int move_head(const struct bl_graph *graph, float *values[BL_MAX_PARAMS], bool back) {
    const struct bl_node *head = bl_graph_head(graph);
    int code = 0;
    for (int i = 0; i < head->params && !code; i++) {
        struct bl_param *param = head->param[i];
        if (!back && !(values[i] = bl_calloc((size_t)param->data.count, sizeof *values[i]))) return BLANCH_ENOMEM;
        code = back ? bl_param_write(param, values[i]) : bl_param_read(param, values[i]);
    }
    return code;
}

static int load_body(struct bl_graph *graph, const char *path) {
    float *values[BL_MAX_PARAMS] = {NULL};
    int taken, code = check_body(graph, path);
    if (!code) code = move_head(graph, values, false);
    if (!code) code = bl_weights_init(graph, path, &taken);
    if (!code) code = move_head(graph, values, true);
    for (int i = 0; i < BL_MAX_PARAMS; i++) free(values[i]);
    bl_graph_touch(graph);
    return code;
}

int bl_weights_begin(struct bl_graph *graph, const char *path, bool new_head) {
    if (new_head) return load_body(graph, path);
    int code = bl_weights_load(graph, path);
    char *message = code == BLANCH_EINPUT ? bl_strdup(blanch_error_message()) : NULL;
    if (!message) return code;
    const bool body = !check_body(graph, path);
    bl_fail(code, "%s%s", message, body ? "; --new-head takes all but the classifier" : "");
    free(message);
    return code;
}

/* The first convolution of the images, where it takes all their channels. */
static const struct bl_param *stem_of(const struct bl_graph *graph) {
    for (int i = 0; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        if (node->in[0] != bl_graph_in(graph) || !node->params) continue;
        const struct bl_param *param = node->param[0];
        return param->dims == 4 && param->shape[1] == bl_graph_in(graph)->c ? param : NULL;
    }
    return NULL;
}

/* Of a parameter's tensor in the file; otherwise where it does not tell. */
static int length_of(const struct bl_safetensors *file, const struct bl_param *param, int dimension, int most,
                     int otherwise) {
    const struct bl_st_tensor *tensor = param ? bl_st_find(file, param->name) : NULL;
    const bool tells = tensor && tensor->dims == param->dims && tensor->shape[dimension] >= 1;
    return tells && tensor->shape[dimension] <= most ? (int)tensor->shape[dimension] : otherwise;
}

int bl_weights_shape(const struct blanch_model *model, struct bl_network_options *options, const char *path) {
    struct bl_safetensors *file = NULL;
    struct bl_graph *graph = NULL;
    int code = bl_st_open(&file, path);
    if (!code) code = bl_graph_create(&graph, NULL, 1, true);
    if (!code) code = bl_model_build(graph, model, options);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code) {
        const struct bl_node *head = bl_graph_head(graph);
        const struct bl_param *weight = head && head->params ? head->param[0] : NULL;
        options->classes = length_of(file, weight, 0, BL_MOST_CLASSES, options->classes);
        options->channels = length_of(file, stem_of(graph), 1, BL_MOST_CHANNELS, options->channels);
    }
    bl_graph_free(graph);
    bl_st_close(file);
    return code;
}
