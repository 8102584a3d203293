/* blanch models: lists the networks, or one network's layers. */
#include "cli/common.h"
#include "model.h"
#include "train/open.h"
#include "train/torchvision.h"
#include "train/train.h"
#include <stdio.h>
#include <stdlib.h>

/* --- the list --------------------------------------------------------------------------------- */

static int count_params(const struct blanch_model *model, enum blanch_norm norm, int64_t *trainable) {
    struct bl_network_options options = {.model = model->name, .norm = norm, .inference = true};
    struct bl_graph *graph = NULL;
    int code = bl_graph_create(&graph, NULL, 1, true);
    if (!code) code = bl_model_build(graph, model, &options);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code) *trainable = bl_graph_trainable(graph);
    bl_graph_free(graph);
    return code;
}

static int list_json(const struct bl_common *common) {
    cJSON *json = bl_document("models", NULL, bl_options_json(common->options));
    cJSON *list = cJSON_AddArrayToObject(json, "models");
    for (int i = 0; bl_model_list[i]; i++) {
        const struct blanch_model *model = bl_model_list[i];
        cJSON *entry = cJSON_CreateObject(), *counts;
        cJSON_AddItemToArray(list, entry);
        cJSON_AddStringToObject(entry, "name", model->name);
        cJSON_AddStringToObject(entry, "summary", model->summary);
        cJSON_AddItemToObject(entry, "input",
                              cJSON_CreateIntArray((int[]){model->channels, model->size, model->size}, 3));
        cJSON_AddNumberToObject(entry, "classes", model->classes);
        counts = cJSON_AddObjectToObject(entry, "parameters");
        for (enum blanch_norm norm = BLANCH_BN; norm <= BLANCH_NONE; norm++) {
            int64_t trainable;
            int code = count_params(model, norm, &trainable);
            if (code) return cJSON_Delete(json), code;
            cJSON_AddNumberToObject(counts, bl_norm_name(norm), (double)trainable);
        }
    }
    return bl_print_json(json);
}

static int list_text(void) {
    printf("%-22s %-11s %7s %12s %12s  %s\n", "network", "input", "classes", "params bn", "params nd", "");
    for (int i = 0; bl_model_list[i]; i++) {
        const struct blanch_model *model = bl_model_list[i];
        int64_t bn, nd;
        int code = count_params(model, BLANCH_BN, &bn);
        if (code || (code = count_params(model, BLANCH_ND, &nd))) return code;
        char input[64];
        snprintf(input, sizeof input, "%dx%dx%d", model->channels, model->size, model->size);
        printf("%-22s %-11s %7d %12lld %12lld  %s\n", model->name, input, model->classes, (long long)bn, (long long)nd,
               model->summary);
    }
    printf("\n`blanch models NAME` lists a network's layers. torchvision:resnet18, resnet50, vgg11, vgg16, vgg19, each "
           "with\n_bn, densenet121 and mobilenet_v2 name those of -imagenet as torchvision does.\n");
    return 0;
}

/* --- one network ------------------------------------------------------------------------------ */

static int64_t node_params(const struct bl_node *node) {
    int64_t count = 0;
    for (int i = 0; i < node->params; i++) count += node->param[i]->data.count;
    return count;
}

static double total_multiply_adds(const struct bl_graph *graph) {
    double total = 0;
    for (int i = 0; i < bl_graph_nodes(graph); i++)
        if (!bl_graph_node(graph, i)->idle) total += bl_graph_node(graph, i)->multiply_adds;
    return total;
}

static void print_node(const struct bl_node *node) {
    char shape[96], params[32] = ".", work[32] = ".";
    snprintf(shape, sizeof shape, "%lldx%lldx%lld", (long long)node->out[0]->c, (long long)node->out[0]->h,
             (long long)node->out[0]->w);
    if (node->params) snprintf(params, sizeof params, "%lld", (long long)node_params(node));
    if (node->multiply_adds > 0 && !node->idle) snprintf(work, sizeof work, "%.0f", node->multiply_adds);
    printf("%-40s %-18s %-14s %12s %14s%s\n", node->name, node->op->name, shape, params, work,
           node->idle ? "  never used" : "");
}

static int show_text(const struct blanch_model *model, const struct bl_network_options *options,
                     const struct bl_graph *graph) {
    const struct blanch_tensor *x = bl_graph_in(graph);
    const struct blanch_tensor *y = bl_graph_out(graph);
    printf("%s-%s: %s; input %lldx%lldx%lld, ", bl_shown(model->name), bl_norm_name(options->norm),
           bl_shown(model->summary), (long long)x->c, (long long)x->h, (long long)x->w);
    if (model->task == BL_GENERATE)
        printf("makes %lldx%lldx%lld\n\n", (long long)y->c, (long long)y->h, (long long)y->w);
    else
        printf("%d classes\n\n", (int)y->c);
    printf("%-40s %-18s %-14s %12s %14s\n", "layer", "operation", "output", "parameters", "multiply-adds");
    for (int i = 0; i < bl_graph_nodes(graph); i++) print_node(bl_graph_node(graph, i));
    printf("%-40s %-18s %-14s %12lld %14.0f\n", "total", "", "", (long long)bl_graph_trainable(graph),
           total_multiply_adds(graph));
    printf("\nMultiply-adds are those of one image's forward pass.\n");
    return 0;
}

static int show_json(const struct blanch_model *model, const struct bl_network_options *options,
                     const struct bl_common *common) {
    cJSON *json = bl_document("model", NULL, bl_options_json(common->options));
    cJSON_AddStringToObject(json, "model", model->name);
    cJSON_AddStringToObject(json, "norm", bl_norm_name(options->norm));
    cJSON_AddStringToObject(json, "summary", model->summary);
    int code = bl_model_describe(model, options, json);
    if (!code) return bl_print_json(json);
    cJSON_Delete(json);
    return code;
}

static int show(const struct blanch_model *model, struct bl_network_options *options, const struct bl_common *common) {
    struct bl_graph *graph = NULL;
    if (!model->json) options->norm = bl_model_norm(model, options->norm);
    bl_common_say_unused(common, bl_model_norm(model, options->norm) == BLANCH_ND);
    if (common->json) return show_json(model, options, common);
    int code = bl_graph_create(&graph, NULL, 1, true);
    if (!code) code = bl_model_build(graph, model, options);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code) code = show_text(model, options, graph);
    bl_graph_free(graph);
    return code;
}

static int run(int argc, char **argv) {
    struct bl_common common;
    struct bl_network_options network = {.norm = BLANCH_OWN, .inference = true};
    struct blanch_model *model = NULL;
    bool help;
    int count = 0, code;
    bl_common_init(&common);
    const struct bl_option own[] = {
        {"norm", BL_OPT_TEXT, &common.norm, 0, 0, "bn|gn|ln|nd|none|own",
         "batch, group or layer norm, network deconvolution, no norm; as FILE says, else bn (the default)"},
        {"classes", BL_OPT_INT, &network.classes, 1, 1 << 20, "N",
         "the number of classes (default: the network's own)"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &common, BL_COMMON_ND | BL_COMMON_JSON | BL_COMMON_SIZE);
    code = bl_options_parse(&bl_command_models, options, argc, argv, &count, &help);
    if (code || help) return code;
    if ((code = common.norm ? bl_norm_parse(common.norm, &network.norm) : 0) ||
        (code = bl_common_nd(&common, false, &network.nd)))
        return code;
    if (!count && (common.norm || common.size || network.classes || bl_common_gives_nd(&common)))
        return bl_fail(BLANCH_EUSAGE,
                       "--norm, --size, --classes and options of ND go with a network: blanch models NAME");
    if (count > 1) return bl_fail(BLANCH_EUSAGE, "models takes one network, not also '%s'", argv[2]);
    if (count) {
        const struct bl_torchvision *named = bl_torchvision_find(argv[1]);
        if (named && network.norm == BLANCH_OWN) network.norm = named->norm;
        code = bl_model_open(&model, argv[1]);
        if (!code) code = bl_model_size(model, common.size, &network.height, &network.width);
        if (!code) code = show(model, &network, &common);
        bl_model_free(model);
        return code;
    }
    return common.json ? list_json(&common) : list_text();
}

const struct bl_command bl_command_models = {
    .name = "models",
    .summary = "lists the networks, or one network's layers",
    .usage =
        "usage: blanch models [--json]\n"
        "       blanch models NAME|FILE.json|FILE.onnx [--norm bn|gn|ln|nd|none|own] [options]\n"
        "\n"
        "Lists the networks; with a name, its layers with their output shapes, parameters, and the multiply-adds of\n"
        "one image's forward pass.\n",
    .run = run,
};
