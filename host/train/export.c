/* A network for inference, everything folded, as ONNX and as safetensors; the metadata of the former. */
#include "train/export.h"
#include "train/open.h"
#include "train/public.h"
#include "io/files.h"
#include "io/json.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_PAIRS = 8 };
struct metadata {
    struct bl_onnx_pair pair[MOST_PAIRS];
    char *text[MOST_PAIRS]; // of their values
    int count;
};

/* --- metadata --------------------------------------------------------------------------------- */

/* value is deleted. */
static int add_json(struct metadata *m, const char *key, cJSON *value) {
    char *text = bl_json_print(value, false);
    cJSON_Delete(value);
    if (!text) return BLANCH_ENOMEM;
    m->text[m->count] = text;
    m->pair[m->count++] = (struct bl_onnx_pair){key, text};
    return 0;
}

static void add_text(struct metadata *m, const char *key, const char *value) {
    m->pair[m->count++] = (struct bl_onnx_pair){key, value};
}

static cJSON *numbers(const float *values, int count) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, bl_json_float(values[i]));
    return list;
}

/* Its norms, or its whitening, are in its weights now. */
static bool is_folded(const struct bl_graph *graph) {
    for (int i = 0; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        if (!node->idle && (node->op->normalises || bl_node_nd(node))) return true;
    }
    return false;
}

/* class_names is deleted. */
static int make_metadata(struct metadata *m, const struct bl_graph *graph, const struct bl_export *e) {
    const struct blanch_tensor *x = bl_graph_in(graph);
    cJSON *names = e->class_names;
    add_text(m, "blanch.model", e->model->name);
    add_text(m, "blanch.norm", bl_norm_name(e->norm));
    if (is_folded(graph)) add_text(m, "blanch.folded", "true");
    int code = add_json(m, "blanch.input", cJSON_CreateIntArray((const int[]){(int)x->c, (int)x->h, (int)x->w}, 3));
    if (names && code) cJSON_Delete(names);
    if (!code && names) code = add_json(m, "blanch.class_names", names);
    if (!code && e->view->channels) code = add_json(m, "blanch.mean", numbers(e->view->mean, e->view->channels));
    if (!code && e->view->channels)
        code = add_json(m, "blanch.deviation", numbers(e->view->deviation, e->view->channels));
    return code;
}

int bl_export_graph(struct bl_graph **graph, const struct blanch_model *model, struct bl_network_options *network) {
    if (!model->json) network->norm = bl_model_norm(model, network->norm);
    *graph = NULL;
    if (network->encodes && !model->encoder) return bl_fail(BLANCH_EUSAGE, "%s has no encoder", model->name);
    int code = bl_graph_create(graph, NULL, 1, true);
    if (!code) code = bl_model_build(*graph, model, network);
    return code ? code : bl_graph_finish(*graph, 0);
}

/* An encoder gives means, and the logarithms of variances after them; a diffusion the noise in an image. */
static void name_ends(const struct bl_export *e, struct bl_onnx_options *files) {
    if (e->model->task != BL_GENERATE) return;
    files->input = e->encodes || !e->model->latent ? "images" : "latent";
    files->output = e->encodes ? "gaussian" : e->model->latent ? "images" : "noise";
    files->pixels = !e->encodes && e->model->latent;
}

int bl_export_write(const struct bl_graph *graph, const struct bl_export *e) {
    struct metadata m = {0};
    struct bl_onnx_options files = e->files;
    name_ends(e, &files);
    int code = make_metadata(&m, graph, e);
    files.pairs = m.pair, files.pair_count = m.count;
    if (!code) code = bl_onnx_network_write(graph, &files);
    for (int i = 0; i < MOST_PAIRS; i++) free(m.text[i]);
    return code;
}

/* --- the public call ---------------------------------------------------------------------------- */

static int read_value(void *context, const struct bl_param *param, float *to) {
    const struct blanch_network *net = context;
    struct bl_param *own = bl_graph_find_param(net->graph, param->name);
    return own ? bl_param_read(own, to) : bl_fail(BLANCH_EUSAGE, "%s has no %s", net->model->name, param->name);
}

static int take_path(const char *path, struct bl_onnx_options *files) {
    const char *dot = strrchr(path, '.');
    if (dot && !strcmp(dot, ".onnx")) return files->path = path, bl_onnx_check();
    if (dot && !strcmp(dot, ".safetensors")) return files->weights = path, 0;
    return bl_fail(BLANCH_EUSAGE, "%s: an export is FILE.onnx or FILE.safetensors", path);
}

static int export_as(struct blanch_network *network, const char *path, bool encoder) {
    struct bl_onnx_options files = {.type = BL_F32, .values = read_value, .context = network};
    struct bl_network_options options = network->options;
    struct bl_graph *graph = NULL;
    int code = take_path(path, &files);
    if (code) return code;
    options.inference = true, options.precision = BLANCH_FP32, options.encodes = encoder;
    code = bl_export_graph(&graph, network->model, &options);
    const struct bl_export e = {.model = network->model,
                                .norm = options.norm,
                                .files = files,
                                .encodes = encoder,
                                .view = &(struct bl_view){0}};
    if (!code) code = bl_export_write(graph, &e);
    bl_graph_free(graph);
    return code;
}

int blanch_network_export(struct blanch_network *network, const char *path) {
    int code = bl_given(network && path, __func__);
    return code ? code : export_as(network, path, false);
}

int blanch_network_export_encoder(struct blanch_network *network, const char *path) {
    int code = bl_given(network && path, __func__);
    return code ? code : export_as(network, path, true);
}
