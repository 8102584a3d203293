/* Models that are made at run time, counted by references. Those of models/ are constants: nothing is done to them. */
#include "train/open.h"
#include "train/torchvision.h"
#include "base/text.h"
#include "graph/onnx.h"
#include "io/document.h"
#include "io/files.h"
#include "io/json.h"
#include "io/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- references ------------------------------------------------------------------------------- */

struct blanch_model *bl_model_hold(const struct blanch_model *model) {
    struct blanch_model *made = (struct blanch_model *)model;
    if (made && made->references > 0) made->references++;
    return made;
}

void bl_model_free(struct blanch_model *model) {
    if (!model || model->references < 1 || --model->references > 0) return;
    if (model->release) model->release(model);
    for (int i = 0; i < model->value_count; i++) {
        free((char *)model->values[i].name);
        free((void *)model->values[i].data);
    }
    free(model->values);
    cJSON_Delete((cJSON *)model->json);
    free((char *)model->name);
    free(model);
}

/* --- making ----------------------------------------------------------------------------------- */

static void release_description(struct blanch_model *model) {
    free((void *)model->variant);
}

static void take_task(struct blanch_model *model, const struct bl_description *description) {
    const int *latent = description->latent;
    model->task = BL_GENERATE;
    model->mean = description->mean, model->deviation = description->deviation;
    model->latent = latent[0] * latent[1] * latent[2];
    model->latent_size[0] = latent[1], model->latent_size[1] = latent[2];
    model->encoder = model->latent > 0;
    if (description->diffusion.steps) model->diffusion = &description->diffusion;
}

int bl_model_from_document(struct blanch_model **model, const char *name, cJSON *json) {
    struct bl_description *description = bl_calloc(1, sizeof *description);
    struct blanch_model *made = bl_calloc(1, sizeof *made);
    int code = description && made ? bl_description_read(description, json) : BLANCH_ENOMEM;
    const char *summary = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "summary"));
    *model = NULL;
    if (!code) {
        *made = (struct blanch_model){.references = 1,
                                      .name = bl_strdup(name),
                                      .classes = description->classes,
                                      .channels = description->channels,
                                      .size = description->height,
                                      .width = description->width,
                                      .block_fc = description->block_fc,
                                      .define = bl_description_build,
                                      .variant = description,
                                      .summary = summary ? summary : "read from a file",
                                      .nd = description->nd,
                                      .json = json,
                                      .release = release_description};
        if (description->generates) take_task(made, description);
        description->name = made->name;
        code = made->name ? 0 : BLANCH_ENOMEM;
    }
    if (!code) return *model = made, 0;
    free(description), free(made);
    cJSON_Delete(json);
    return bl_fail_in(code, "%s", name);
}

int bl_model_from_json(struct blanch_model **model, const char *text, size_t size) {
    cJSON *json = bl_json_parse(text, size, NULL);
    *model = NULL;
    if (!json) return bl_memory_lacked() ? BLANCH_ENOMEM : bl_fail(BLANCH_EINPUT, "the description is no JSON");
    int code = bl_document_check(json, "the description");
    if (code) return cJSON_Delete(json), code;
    return bl_model_from_document(model, "description", json);
}

int bl_model_from_onnx(struct blanch_model **model, const char *path) {
    struct bl_onnx_network network;
    *model = NULL;
    int code = bl_onnx_network_read(&network, path);
    if (code) return code;
    code = bl_model_from_document(model, path, network.json);
    network.json = NULL; // taken over
    if (!code) {
        (*model)->values = network.values, (*model)->value_count = network.value_count;
        network.values = NULL, network.value_count = 0;
    }
    bl_onnx_network_release(&network);
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length > tail && !strcmp(text + length - tail, end);
}

bool bl_model_is_file(const char *text) {
    return text && (ends_with(text, ".json") || ends_with(text, ".onnx"));
}

enum { MOST_PATCH = 1024 };
enum { MOST_BYTES = 16 << 20 }; // of a description; networks of a thousand layers have a twentieth

static int open_json(struct blanch_model **model, const char *path) {
    cJSON *json = NULL;
    int code = bl_json_read_small(path, MOST_BYTES, &json);
    return code ? code : bl_model_from_document(model, path, json);
}

static int unknown(const char *name) {
    const char *near = bl_nearest(name, blanch_models_list());
    return bl_fail(BLANCH_EUSAGE, "unknown model '%s'%s%s%s `blanch models` lists them", name,
                   near ? ", did you mean '" : ";", near ? near : "", near ? "'?" : "");
}

/* NAME/SIZE of one whose patches may have another size. *model NULL: it is no such text. */
static int open_patched(struct blanch_model **model, const char *text) {
    const char *slash = strchr(text, '/');
    char *name = slash ? bl_format("%.*s", (int)(slash - text), text) : NULL;
    const struct blanch_model *found = name ? bl_model_find(name) : NULL;
    free(name);
    if (!found || !found->patched) return 0;
    long long patch;
    const size_t length = bl_text_whole(slash + 1, &patch);
    if (!length || slash[1 + length] || patch < 1 || patch > MOST_PATCH)
        return bl_fail(BLANCH_EUSAGE, "%s: patches are of 1 to %d pixels", text, MOST_PATCH);
    struct blanch_model *made = bl_calloc(1, sizeof *made);
    if (!made) return BLANCH_ENOMEM;
    *made = *found;
    made->references = 1;
    made->release = release_description;
    made->name = bl_strdup(text), made->variant = found->patched((int)patch);
    if (made->name && made->variant) return *model = made, 0;
    bl_model_free(made);
    return BLANCH_ENOMEM;
}

int bl_model_open(struct blanch_model **model, const char *text) {
    *model = NULL;
    if (!text) return bl_fail(BLANCH_EUSAGE, "no model is named; `blanch models` lists them");
    if (ends_with(text, ".onnx")) return bl_model_from_onnx(model, text);
    if (bl_model_is_file(text)) return open_json(model, text);
    const struct bl_torchvision *named = bl_torchvision_find(text);
    if (!named && bl_torchvision_named(text)) return bl_torchvision_unknown(text);
    int code = named ? 0 : open_patched(model, text);
    if (code || *model) return code;
    const struct blanch_model *found = bl_model_find(named ? named->own : text);
    if (!found) return unknown(text);
    *model = bl_model_hold(found);
    return 0;
}

int bl_model_lacks_norm(const char *name) {
    struct blanch_model *model;
    int code = bl_model_open(&model, name);
    bl_model_free(model);
    return code ? code : bl_fail(BLANCH_EUSAGE, "--norm is missing: bn, gn, ln, nd, none or own");
}

/* --- looking ---------------------------------------------------------------------------------- */

int bl_model_check_budget(const struct blanch_model *model) {
    if (!model->nd) return 0;
    return bl_fail(BLANCH_EUSAGE,
                   "%s: an overhead budget compares with the network with batch norm, and the file has layers of "
                   "network deconvolution alone",
                   model->name);
}

void bl_model_changes(const struct blanch_model *model, int channels, int classes, char *text, size_t size) {
    *text = 0;
    if (!model->json || (channels == model->channels && classes == model->classes)) return;
    snprintf(text, size, "%s is made for %d channel%s and %d classes; here it has %d and %d", model->name,
             model->channels, model->channels == 1 ? "" : "s", model->classes, channels, classes);
}

/* As it learns: what makes images follows from that. */
static void add_task(const struct blanch_model *model, const struct bl_network_options *options, cJSON *json) {
    cJSON_AddStringToObject(json, "task", "generate");
    cJSON_AddNumberToObject(json, "mean", (double)model->mean);
    cJSON_AddNumberToObject(json, "deviation", (double)model->deviation);
    cJSON_AddNumberToObject(json, "num_classes", options->classes ? options->classes : model->classes);
}

int bl_model_describe(const struct blanch_model *model, const struct bl_network_options *options, cJSON *json) {
    struct bl_graph *graph = NULL;
    struct bl_network_options whole = *options;
    if (model->task == BL_GENERATE) whole.inference = false;
    int code = bl_graph_create(&graph, NULL, 1, true);
    if (!code) code = bl_model_build(graph, model, &whole);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code && model->task == BL_GENERATE) add_task(model, options, json);
    if (!code && model->block_fc != BL_USUAL_BLOCK_FC)
        cJSON_AddNumberToObject(cJSON_AddObjectToObject(json, "nd"), "block_fc", model->block_fc);
    if (!code) bl_graph_describe(graph, json);
    bl_graph_free(graph);
    return code;
}
