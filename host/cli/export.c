/* blanch export: a trained network for inference, everything folded, as ONNX and as safetensors. */
#include "cli/common.h"
#include "cli/weights.h"
#include "graph/onnx.h"
#include "io/files.h"
#include "io/json.h"
#include "train/open.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct export {
    struct bl_weights_options weights;
    const char *onnx, *safetensors, *precision;
};

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

static cJSON *names_of(const struct bl_trained *t, int classes) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < classes; i++) cJSON_AddItemToArray(list, cJSON_CreateString(bl_trained_class(t, i)));
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

static int make_metadata(struct metadata *m, const struct bl_trained *t, const struct bl_network_options *network,
                         const struct bl_graph *graph) {
    const struct blanch_tensor *x = bl_graph_in(graph);
    const int classes = (int)bl_graph_out(graph)->c;
    add_text(m, "blanch.model", t->model->name);
    add_text(m, "blanch.norm", bl_norm_name(network->norm));
    if (is_folded(graph)) add_text(m, "blanch.folded", "true");
    int code = add_json(m, "blanch.input", cJSON_CreateIntArray((const int[]){(int)x->c, (int)x->h, (int)x->w}, 3));
    if (!code && (t->data || t->config.class_name)) code = add_json(m, "blanch.class_names", names_of(t, classes));
    if (!code && t->view.channels) code = add_json(m, "blanch.mean", numbers(t->view.mean, t->view.channels));
    if (!code && t->view.channels) code = add_json(m, "blanch.deviation", numbers(t->view.deviation, t->view.channels));
    return code;
}

/* --- values ----------------------------------------------------------------------------------- */

struct source {
    const struct bl_trained *trained;
    struct bl_safetensors *file; // NULL: the model's own values
};

static int read_values(void *context, const struct bl_param *param, float *to) {
    const struct source *source = context;
    const struct blanch_model *model = source->trained->model;
    const struct bl_st_tensor *found = source->file ? bl_st_find(source->file, param->name) : NULL;
    for (int i = 0; !source->file && i < model->value_count; i++)
        if (!strcmp(model->values[i].name, param->name)) found = &model->values[i];
    if (!found) return bl_fail(BLANCH_EINPUT, "%s has no %s", source->trained->weights, param->name);
    return bl_st_floats(found, to, param->data.count);
}

static int open_source(struct source *source, const struct bl_trained *t, struct bl_graph *graph) {
    *source = (struct source){t};
    if (t->own) return bl_trained_check_own(t, graph);
    int code = bl_st_open(&source->file, t->weights);
    return code ? code : bl_weights_check(graph, source->file, t->weights);
}

/* --- the network ------------------------------------------------------------------------------ */

/* Without a device: nothing is computed but the folding. */
static int build(struct bl_graph **graph, const struct bl_trained *t, struct bl_network_options *network) {
    if (!t->model->json) network->norm = bl_model_norm(t->model, network->norm);
    int code = bl_graph_create(graph, NULL, 1, true);
    if (!code) code = bl_model_build(*graph, t->model, network);
    return code ? code : bl_graph_finish(*graph, 0);
}

static int write(const struct export *e, enum blanch_precision precision, const struct bl_trained *t,
                 struct bl_network_options *network) {
    struct bl_graph *graph = NULL;
    struct source source = {0};
    struct metadata m = {0};
    int code = build(&graph, t, network);
    if (!code) code = open_source(&source, t, graph);
    if (!code) code = make_metadata(&m, t, network, graph);
    const struct bl_onnx_options options = {.path = e->onnx,
                                            .weights = e->safetensors,
                                            .type = precision == BLANCH_FP16 ? BL_F16 : BL_F32,
                                            .pairs = m.pair,
                                            .pair_count = m.count,
                                            .values = read_values,
                                            .context = &source};
    if (!code) code = bl_onnx_network_write(graph, &options);
    for (int i = 0; i < MOST_PAIRS; i++) free(m.text[i]);
    bl_st_close(source.file);
    bl_graph_free(graph);
    return code;
}

static int export(const struct export *e) {
    struct bl_trained trained;
    struct bl_network_options network;
    if (!e->onnx && !e->safetensors) return bl_fail(BLANCH_EUSAGE, "--onnx FILE or --safetensors FILE is missing");
    enum blanch_precision precision;
    int code = e->onnx ? bl_onnx_check() : 0;
    if (!code) code = bl_precision_parse(e->precision, &precision);
    if (!code && precision == BLANCH_BF16) code = bl_fail(BLANCH_EUSAGE, "--precision takes fp32 or fp16 here");
    if (code) return code;
    code = bl_trained_find(&trained, &e->weights, &network);
    if (!code) code = write(e, precision, &trained, &network);
    if (!code && e->onnx) printf("%s: ONNX, opset %d\n", bl_shown(e->onnx), BL_ONNX_WRITTEN);
    if (!code && e->safetensors) printf("%s: the folded weights\n", bl_shown(e->safetensors));
    bl_trained_close(&trained);
    return code;
}

static int run(int argc, char **argv) {
    struct export e = {0};
    struct bl_weights_options *o = &e.weights;
    bool help;
    bl_common_init(&o->common);
    const struct bl_option own[] = {
        {"run", BL_OPT_TEXT, &o->run, 0, 0, "DIR", "a run: its last weights, settings and class names"},
        {"best", BL_OPT_FLAG, &o->best, 0, 0, NULL, "the run's best weights instead"},
        {"weights", BL_OPT_TEXT, &o->weights, 0, 0, "FILE", "a state dict as safetensors, with --model and --norm"},
        {"data", BL_OPT_TEXT, &o->data, 0, 0, "SPEC",
         "the dataset that gives classes and normalisation (with --weights)"},
        {"onnx", BL_OPT_TEXT, &e.onnx, 0, 0, "FILE", "writes the network as ONNX"},
        {"safetensors", BL_OPT_TEXT, &e.safetensors, 0, 0, "FILE", "writes its folded weights, by the same names"},
        {"precision", BL_OPT_TEXT, &e.precision, 0, 0, "fp32|fp16", "of weights and arithmetic (fp32)"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o->common, BL_COMMON_NETWORK | BL_COMMON_ND);
    int code = bl_options_parse(&bl_command_export, options, argc, argv, NULL, &help);
    return code || help ? code : export(&e);
}

const struct bl_command bl_command_export = {
    .name = "export",
    .summary = "writes a trained network for inference, as ONNX",
    .usage = "usage: blanch export --run DIR [--best] --onnx FILE [--safetensors FILE] [options]\n"
             "       blanch export --weights FILE --model NAME --norm bn|nd|none [--data SPEC] --onnx FILE [options]\n"
             "       blanch export --model FILE.onnx --onnx FILE [options]\n"
             "\n"
             "Writes the network as it is in evaluation: batch norm is folded into convolutions, network deconvolution "
             "into\n"
             "weights and biases; the batch is open, and class names, mean and deviation stand in the metadata\n"
             "(docs/onnx.md). No device is needed.\n",
    .run = run,
};
