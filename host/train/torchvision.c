/* torchvision's names: torchvision:vgg16_bn is vgg16-imagenet with batch norm, and takes torchvision's state dict. */
#include "train/torchvision.h"
#include "base/text.h"
#include "io/safetensors.h"
#include "train/open.h"
#include "train/train.h"
#include <stdio.h>
#include <string.h>

static const char prefix[] = "torchvision:";
static const struct bl_torchvision names[] = {
    {"torchvision:resnet18", "resnet18-imagenet", BLANCH_BN},
    {"torchvision:resnet50", "resnet50-imagenet", BLANCH_BN},
    {"torchvision:vgg11", "vgg11-imagenet", BLANCH_NONE},
    {"torchvision:vgg11_bn", "vgg11-imagenet", BLANCH_BN},
    {"torchvision:vgg16", "vgg16-imagenet", BLANCH_NONE},
    {"torchvision:vgg16_bn", "vgg16-imagenet", BLANCH_BN},
    {"torchvision:vgg19", "vgg19-imagenet", BLANCH_NONE},
    {"torchvision:vgg19_bn", "vgg19-imagenet", BLANCH_BN},
    {"torchvision:densenet121", "densenet121-imagenet", BLANCH_BN},
    {"torchvision:mobilenet_v2", "mobilenetv2-imagenet", BLANCH_BN},
};

bool bl_torchvision_named(const char *text) {
    return text && !strncmp(text, prefix, sizeof prefix - 1);
}

const struct bl_torchvision *bl_torchvision_find(const char *text) {
    for (int i = 0; text && i < BL_COUNT(names); i++)
        if (!strcmp(text, names[i].name)) return &names[i];
    return NULL;
}

int bl_torchvision_unknown(const char *text) {
    const char *known[BL_COUNT(names) + 1] = {NULL};
    for (int i = 0; i < BL_COUNT(names); i++) known[i] = names[i].name + sizeof prefix - 1;
    const char *near = bl_nearest(text + sizeof prefix - 1, known);
    if (near) return bl_fail(BLANCH_EUSAGE, "unknown model '%s', did you mean '%s%s'?", text, prefix, near);
    return bl_fail(BLANCH_EUSAGE,
                   "unknown model '%s'; of torchvision's there are resnet18, resnet50, vgg11, vgg16, vgg19 and each "
                   "with _bn, densenet121, mobilenet_v2",
                   text);
}

/* --- whose weights ------------------------------------------------------------------------------ */

/* Every parameter and buffer of one has a tensor of its name in the other; counters may be missing. */
static bool same_names(const struct bl_graph *graph, const struct bl_safetensors *file) {
    int found = 0, counters = 0;
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        const bool there = bl_st_find_param(file, param) != NULL;
        found += there;
        counters += !there && param->counter;
        if (!there && !param->counter) return false;
    }
    return found == bl_st_count(file) && found + counters == bl_graph_params(graph);
}

const char *bl_torchvision_of(const struct bl_safetensors *file, const struct bl_graph *graph) {
    if (same_names(graph, file)) return NULL;
    for (int i = 0; i < BL_COUNT(names); i++) {
        const struct bl_network_options options = {.norm = names[i].norm, .inference = true};
        struct bl_graph *own = NULL;
        int code = bl_graph_create(&own, NULL, 1, true);
        if (!code) code = bl_model_build(own, bl_model_find(names[i].own), &options);
        if (!code) code = bl_graph_finish(own, 0);
        const bool same = !code && same_names(own, file);
        bl_graph_free(own);
        if (same) return names[i].name;
    }
    return NULL;
}
