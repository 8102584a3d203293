/* The public calls for models: definitions of networks, also those of a program's own function. */
#include "train/open.h"
#include "train/public.h"
#include "graph/describe.h"
#include "io/json.h"
#include "train/train.h"
#include <stdlib.h>
#include <string.h>

const char *const *blanch_models_list(void) {
    enum { MOST = 255 };
    static const char *names[MOST + 1]; // ends with NULL
    for (int i = 0; i < MOST && bl_model_list[i]; i++) names[i] = bl_model_list[i]->name;
    return names;
}

int blanch_model_find(struct blanch_model **model, const char *name) {
    int code = bl_given(model && name, __func__);
    if (model) *model = NULL;
    return code ? code : bl_model_open(model, name);
}

int blanch_model_from_json(struct blanch_model **model, const char *text, size_t size) {
    int code = bl_given(model && text, __func__);
    if (model) *model = NULL;
    return code ? code : bl_model_from_json(model, text, size);
}

int blanch_model_from_onnx(struct blanch_model **model, const char *path) {
    int code = bl_given(model && path, __func__);
    if (model) *model = NULL;
    return code ? code : bl_model_from_onnx(model, path);
}

void blanch_model_free(struct blanch_model *model) {
    bl_model_free(model);
}

/* --- of a program's function -------------------------------------------------------------------- */

static int check_logits(const struct blanch_builder *b, const struct blanch_tensor *x, const struct blanch_tensor *y,
                        const char *name) {
    const struct bl_graph *graph = b->graph;
    const int nodes = bl_graph_nodes(graph);
    if (!y) return bl_fail(BLANCH_EUSAGE, "%s: its definition returns no logits", name);
    if (!nodes || bl_graph_node(graph, nodes - 1)->out[0] != y)
        return bl_fail(BLANCH_EUSAGE, "%s: the logits that its definition returns are not what was added last", name);
    if (y->c == b->classes && ((y->h == 1 && y->w == 1) || (y->h == x->h && y->w == x->w))) return 0;
    return bl_fail(BLANCH_EUSAGE,
                   "%s: the logits of its definition are %lld x %lld x %lld, not %d x 1 x 1, nor %d x %lld x %lld",
                   name, (long long)y->c, (long long)y->h, (long long)y->w, b->classes, b->classes, (long long)x->h,
                   (long long)x->w);
}

/* The state dict has each name once. */
static int check_names(const struct bl_graph *graph, const char *name) {
    for (int i = 0; i < bl_graph_params(graph); i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(bl_graph_param(graph, i)->name, bl_graph_param(graph, k)->name))
                return bl_fail(BLANCH_EUSAGE, "%s: two layers of its definition have the parameter '%s'", name,
                               bl_graph_param(graph, i)->name);
    return 0;
}

static struct blanch_tensor *call_define(struct blanch_builder *b, struct blanch_tensor *x, const void *variant) {
    const struct blanch_definition *definition = variant;
    struct blanch_tensor *y = x ? definition->define(b, x, definition->context) : NULL;
    int code = check_logits(b, x, y, definition->name);
    if (!code) code = check_names(b->graph, definition->name);
    return bl_graph_stick(b->graph, code) ? NULL : y;
}

static void release_definition(struct blanch_model *model) {
    const struct blanch_definition *definition = model->variant;
    if (definition->release) definition->release(definition->context);
    free((void *)definition);
}

static int check_definition(const struct blanch_definition *d) {
    if (!d->define) return bl_fail(BLANCH_EUSAGE, "a definition has to have a function `define`");
    if (!d->name || !*d->name) return bl_fail(BLANCH_EUSAGE, "a definition has to have a name");
    if (d->classes < 1 || d->channels < 1 || d->height < 1 || d->width < 1 || d->block_fc < 0)
        return bl_fail(BLANCH_EUSAGE, "%s: a definition of %d classes and images of %d x %d x %d: all are 1 or more",
                       d->name, d->classes, d->channels, d->height, d->width);
    return 0;
}

int blanch_model_define(struct blanch_model **model, const struct blanch_definition *definition) {
    struct blanch_definition d;
    int code = bl_given(model, __func__);
    if (model) *model = NULL;
    if (!code) code = bl_take(&d, sizeof d, definition, "blanch_definition");
    if (!code) code = check_definition(&d);
    if (code) return code;
    struct blanch_model *made = bl_calloc(1, sizeof *made);
    struct blanch_definition *own = bl_malloc(sizeof *own);
    char *name = bl_strdup(d.name);
    if (!made || !own || !name) return free(made), free(own), free(name), BLANCH_ENOMEM;
    *own = d, own->name = name;
    *made = (struct blanch_model){.name = name,
                                  .classes = d.classes,
                                  .channels = d.channels,
                                  .size = d.height,
                                  .width = d.width,
                                  .block_fc = d.block_fc ? d.block_fc : 512,
                                  .define = call_define,
                                  .variant = own,
                                  .references = 1,
                                  .release = release_definition};
    *model = made;
    return 0;
}

/* --- looking ------------------------------------------------------------------------------------ */

int blanch_model_info(const struct blanch_model *model, struct blanch_model_info *info) {
    int code = bl_given(model, __func__);
    if (code) return code;
    const struct blanch_model_info found = {.name = model->name,
                                            .summary = model->summary,
                                            .classes = model->classes,
                                            .channels = model->channels,
                                            .height = model->size,
                                            .width = bl_model_width(model)};
    return bl_give(info, &found, sizeof found, "blanch_model_info");
}

int blanch_model_json(const struct blanch_model *model, enum blanch_norm norm, char **text) {
    int code = bl_given(model && text, __func__);
    if (text) *text = NULL;
    if (!code && (unsigned)norm > BLANCH_OWN) code = bl_fail(BLANCH_EUSAGE, "there is no norm %d", (int)norm);
    if (code) return code;
    const struct bl_network_options options = {.norm = norm, .inference = true};
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", model->name);
    cJSON_AddStringToObject(json, "norm", bl_norm_name(norm));
    code = json ? bl_model_describe(model, &options, json) : BLANCH_ENOMEM;
    if (!code && !(*text = bl_json_print(json, true))) code = BLANCH_ENOMEM;
    cJSON_Delete(json);
    return code;
}
