/* blanch export: a trained network for inference, everything folded, as ONNX and as safetensors. */
#include "cli/common.h"
#include "io/files.h"
#include "cli/weights.h"
#include "io/safetensors.h"
#include "train/answers.h"
#include "train/calibrate.h"
#include "train/export.h"
#include <stdio.h>
#include <string.h>

struct export {
    struct bl_weights_options weights;
    const char *onnx, *safetensors, *precision;
    int images; // that ranges of 8 bits are found by
    bool encoder;
    enum bl_type type;
    struct bl_calibration calibration; // of 8 bits
};

static cJSON *names_of(const struct bl_trained *t, int classes) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < classes; i++) cJSON_AddItemToArray(list, cJSON_CreateString(bl_trained_class(t, i)));
    return list;
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

static int write(struct export *e, const struct bl_trained *t, struct bl_network_options *network) {
    struct bl_graph *graph = NULL;
    struct source source = {0};
    network->encodes = e->encoder;
    int code = bl_export_graph(&graph, t->model, network);
    if (!code) code = open_source(&source, t, graph);
    if (!code) {
        const bool generates = t->model->task == BL_GENERATE, told = !generates || bl_graph_labels(graph);
        const bool named = told && (t->data || t->config.class_name);
        const int classes = generates ? network->classes : (int)bl_graph_out(graph)->c;
        const struct bl_export out = {
            .model = t->model,
            .norm = network->norm,
            .encodes = e->encoder,
            .files = {.path = e->onnx,
                      .weights = e->safetensors,
                      .type = e->type == BL_F16 ? BL_F16 : BL_F32,
                      .values = read_values,
                      .context = &source,
                      .input_range = e->type == BL_I8 ? bl_calibration_input : NULL,
                      .range_context = &e->calibration},
            .class_names = named ? names_of(t, classes) : NULL,
            .view = &t->view,
        };
        code = bl_export_write(graph, &out);
    }
    bl_st_close(source.file);
    bl_graph_free(graph);
    return code;
}

/* What is read is not written over: a folded network trains no more as it did. */
static int check_files(const struct export *e, const struct bl_trained *t) {
    const char *const from[] = {t->weights, e->weights.common.model}, *const to[] = {e->onnx, e->safetensors};
    for (int i = 0; i < 4; i++)
        if (from[i / 2] && to[i % 2] && bl_same_file(from[i / 2], to[i % 2]))
            return bl_fail(BLANCH_EUSAGE, "%s is what is exported, and would be written over; name another file",
                           bl_shown(to[i % 2]));
    return 0;
}

/* --- 8 bits ----------------------------------------------------------------------------------- */

static int check_precision(struct export *e) {
    enum blanch_precision precision;
    const bool int8 = e->precision && !strcmp(e->precision, "int8");
    int code = int8 ? 0 : bl_precision_parse(e->precision, &precision);
    if (code || (!int8 && precision == BLANCH_BF16))
        return bl_fail(BLANCH_EUSAGE, "--precision takes fp32, fp16 or int8 here, not '%s'", e->precision);
    e->type = int8 ? BL_I8 : precision == BLANCH_FP16 ? BL_F16 : BL_F32;
    if (!int8) return 0;
    e->weights.needs_data = true;
    return e->onnx ? 0 : bl_fail(BLANCH_EUSAGE, "--precision int8 writes ONNX: give --onnx FILE");
}

/* top-1, or mean IoU where pixels are labelled */
static int measure(struct blanch_network *net, const struct bl_trained *of, enum bl_split split, double *value,
                   bool *pixels) {
    struct blanch_metrics metrics = {0};
    struct bl_answers answers = {0};
    double seconds;
    int code = bl_network_answer(net, of->data, split, &of->view, &metrics, &seconds, &answers);
    *pixels = metrics.pixels > 0;
    *value = *pixels ? bl_answers_mean_iou(&answers) : bl_percent_of(metrics.top1, metrics.count);
    bl_answers_free(&answers);
    return code;
}

/* What 8 bits cost is measured with the file that was written, as whoever reads it finds it. */
static int compare(const struct export *e, const struct bl_trained *live) {
    const enum bl_split split = bl_dataset_count(live->data, BL_TEST)  ? BL_TEST
                                : bl_dataset_count(live->data, BL_VAL) ? BL_VAL
                                                                       : BL_TRAIN;
    struct bl_weights_options of = {.batch = live->net->options.batch};
    struct bl_trained read;
    double before = 0, after = 0;
    bool pixels;
    bl_common_init(&of.common);
    of.common.model = e->onnx, of.common.device = e->weights.common.device;
    of.common.max_alloc = e->weights.common.max_alloc;
    int code = measure(live->net, live, split, &before, &pixels);
    if (code || (code = bl_trained_open(&read, &of))) return code;
    code = measure(read.net, live, split, &after, &pixels);
    bl_trained_close(&read);
    if (!code)
        printf("%s images: %s %.2f %% before, %.2f %% with 8 bits (ranges of %d %s images)\n", bl_split_name(split),
               pixels ? "mean IoU" : "top-1", before, after, e->calibration.images, bl_split_name(BL_TRAIN));
    return code;
}

static int export_int8(struct export *e, const struct bl_trained *t, struct bl_network_options *network) {
    struct bl_trained live;
    int code = bl_trained_open(&live, &e->weights);
    if (code) return code;
    code = bl_dataset_check(live.data);
    if (!code) code = bl_calibrate(&e->calibration, live.net, live.data, BL_TRAIN, &live.view, e->images);
    if (!code) code = write(e, t, network);
    if (!code) printf("%s: ONNX of 8 bits, opset %d\n", bl_shown(e->onnx), BL_ONNX_WRITTEN);
    if (!code) code = compare(e, &live);
    bl_calibration_free(&e->calibration);
    bl_trained_close(&live);
    return code;
}

static int export(struct export *e) {
    struct bl_trained trained;
    struct bl_network_options network;
    if (!e->onnx && !e->safetensors) return bl_fail(BLANCH_EUSAGE, "--onnx FILE or --safetensors FILE is missing");
    int code = e->onnx ? bl_onnx_check() : 0;
    if (!code) code = check_precision(e);
    if (code) return code;
    code = bl_trained_find(&trained, &e->weights, &network);
    if (!code && e->type == BL_I8 && trained.model->task == BL_GENERATE)
        code = bl_fail(BLANCH_EUSAGE, "--precision int8 compares top-1, and %s generates images: take fp16",
                       trained.model->name);
    if (!code) code = check_files(e, &trained);
    if (!code) code = e->type == BL_I8 ? export_int8(e, &trained, &network) : write(e, &trained, &network);
    if (!code && e->onnx && e->type != BL_I8) printf("%s: ONNX, opset %d\n", bl_shown(e->onnx), BL_ONNX_WRITTEN);
    if (!code && e->safetensors) printf("%s: the folded weights\n", bl_shown(e->safetensors));
    bl_trained_close(&trained);
    return code;
}

static int run(int argc, char **argv) {
    struct export e = {.images = 512};
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
        {"precision", BL_OPT_TEXT, &e.precision, 0, 0, "fp32|fp16|int8", "of weights and arithmetic (fp32)"},
        {"encoder", BL_OPT_FLAG, &e.encoder, 0, 0, NULL, "of a network that generates: its encoder, not its decoder"},
        {"calibrate", BL_OPT_INT, &e.images, 1, 1 << 24, "N",
         "int8: training images of --data, or of the run's data, that ranges are found by (512)"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o->common, BL_COMMON_NETWORK | BL_COMMON_DEVICE | BL_COMMON_ND);
    int code = bl_options_parse(&bl_command_export, options, argc, argv, NULL, &help);
    return code || help ? code : export(&e);
}

const struct bl_command bl_command_export = {
    .name = "export",
    .summary = "writes a trained network for inference, as ONNX",
    .usage =
        "usage: blanch export --run DIR [--best] --onnx FILE [--safetensors FILE] [options]\n"
        "       blanch export --weights FILE --model NAME --norm NORM [--data SPEC] --onnx FILE [options]\n"
        "       blanch export --model FILE.onnx --onnx FILE [options]\n"
        "\n"
        "Writes the network as it is in evaluation: batch norm is folded into convolutions, network deconvolution "
        "into\n"
        "weights and biases; the batch is open, and class names, mean and deviation stand in the metadata\n"
        "(docs/onnx.md). No device is needed, but for int8: weights have 8 bits then, by a scale of each output, and "
        "layers'\n"
        "inputs, by the range that images of the training set give them; top-1 before and after is printed.\n",
    .run = run,
};
