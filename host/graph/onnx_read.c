/* A network of an ONNX file: the nodes that lead to its output, each read by the first form of its type that takes it,
 * build a graph without a device, which is described in JSON. */
#include "graph/internal.h"
#include "graph/onnx_internal.h"
#include "base/text.h"
#include "io/json.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NODES = 1 << 16, MOST_TOLD = 40 };

void *bl_onnx_take(struct bl_onnx_reader *r, size_t count, size_t size) {
    struct bl_onnx_memory *memory = bl_calloc(1, sizeof *memory);
    void *block = memory ? bl_calloc(count + 1, size) : NULL;
    if (!block) return free(memory), NULL;
    *memory = (struct bl_onnx_memory){block, r->memory};
    r->memory = memory;
    return block;
}

/* --- names ------------------------------------------------------------------------------------ */

static struct value *slot_of(const struct bl_onnx_reader *r, const char *name) {
    size_t at = (size_t)bl_hash(BL_HASH_START, name, strlen(name)) & (r->slots - 1);
    while (r->values[at].name && strcmp(r->values[at].name, name)) at = (at + 1) & (r->slots - 1);
    return &r->values[at];
}

struct value *bl_onnx_find(struct bl_onnx_reader *r, const char *name) {
    struct value *slot = slot_of(r, name);
    return slot->name ? slot : NULL;
}

static int enter(struct bl_onnx_reader *r, const char *name) {
    struct value *slot = slot_of(r, name);
    if (slot->name) return bl_fail(BLANCH_EINPUT, "%s: '%s' is given twice", r->model->path, name);
    *slot = (struct value){.name = name, .user = -1};
    return 0;
}

static int enter_names(struct bl_onnx_reader *r) {
    const struct bl_onnx_model *m = r->model;
    size_t count = (size_t)m->initialisers + (size_t)m->inputs;
    for (int i = 0; i < m->nodes; i++) count += (size_t)m->node[i].outputs;
    for (r->slots = 64; r->slots < 2 * count; r->slots *= 2) {
    }
    if (!(r->values = bl_calloc(r->slots, sizeof *r->values))) return BLANCH_ENOMEM;
    int code = 0;
    for (int i = 0; i < m->initialisers && !code; i++) {
        const struct bl_st_tensor *tensor = &m->initialiser[i];
        if ((code = enter(r, tensor->name))) break;
        struct value *value = bl_onnx_find(r, tensor->name);
        value->known = VALUES, value->values = tensor, value->called = tensor->name, value->dims = tensor->dims;
        memcpy(value->shape, tensor->shape, sizeof value->shape);
    }
    for (int i = 0; i < m->inputs && !code; i++)
        if (!bl_onnx_find(r, m->input[i].name)) code = enter(r, m->input[i].name); // or it has a value
    for (int i = 0; i < m->nodes && !code; i++)
        for (int k = 0; k < m->node[i].outputs && !code; k++)
            if (*m->node[i].output[k]) code = enter(r, m->node[i].output[k]);
    return code;
}

/* --- what leads to the output ----------------------------------------------------------------- */

static bool use(struct bl_onnx_reader *r, const char *name, int user) {
    struct value *value = bl_onnx_find(r, name);
    if (!value) return false;
    value->uses++;
    value->user = user;
    return true;
}

static int find_live(struct bl_onnx_reader *r) {
    const struct bl_onnx_model *m = r->model;
    if (m->outputs != 1)
        return bl_fail(BLANCH_EINPUT, "%s: it has %d outputs; a network has one, its logits", m->path, m->outputs);
    if (m->nodes > MOST_NODES)
        return bl_fail(BLANCH_EINPUT, "%s: more than %d nodes; that is not read", m->path, MOST_NODES);
    r->live = bl_calloc((size_t)m->nodes + 1, sizeof *r->live);
    r->absorbed = bl_calloc((size_t)m->nodes + 1, sizeof *r->absorbed);
    if (!r->live || !r->absorbed) return BLANCH_ENOMEM;
    if (!use(r, m->output[0].name, -1))
        return bl_fail(BLANCH_EINPUT, "%s: no node gives its output '%s'", m->path, m->output[0].name);
    for (int i = m->nodes; i-- > 0;) {
        const struct bl_onnx_node *n = &m->node[i];
        r->absorbed[i] = -1;
        for (int k = 0; k < n->outputs; k++)
            r->live[i] = r->live[i] || (*n->output[k] && bl_onnx_find(r, n->output[k])->uses);
        for (int k = 0; r->live[i] && k < n->inputs; k++)
            if (*n->input[k] && !use(r, n->input[k], i))
                return bl_fail(BLANCH_EINPUT, "%s: %s: nothing gives its input '%s'", m->path, n->name, n->input[k]);
    }
    return 0;
}

/* --- the input -------------------------------------------------------------------------------- */

static int read_input(struct bl_onnx_reader *r) {
    const struct bl_onnx_model *m = r->model;
    const struct bl_onnx_value *images = NULL;
    for (int i = 0; i < m->inputs; i++) {
        if (bl_onnx_find(r, m->input[i].name)->known == VALUES) continue;
        if (images)
            return bl_fail(BLANCH_EINPUT, "%s: it has inputs beside the images: '%s'", m->path, m->input[i].name);
        images = &m->input[i];
    }
    if (!images || images->dims != 4)
        return bl_fail(BLANCH_EINPUT, "%s: it has no input of (batch, channels, height, width)", m->path);
    for (int d = 1; d < 4; d++)
        if (images->shape[d] < 1 || images->shape[d] > INT_MAX)
            return bl_fail(BLANCH_EINPUT, "%s: the sizes of its images are open; export it with the batch open alone",
                           m->path);
    if (images->type != BL_F32)
        return bl_fail(BLANCH_EINPUT, "%s: its images are not float32; export the network as float32", m->path);
    if (images->shape[0] != FREE && (images->shape[0] < 1 || images->shape[0] > INT_MAX))
        return bl_fail(BLANCH_EINPUT, "%s: its images come in batches of %lld; export it with a few", m->path,
                       (long long)images->shape[0]);
    r->batch = images->shape[0];
    struct value *value = bl_onnx_find(r, images->name);
    value->tensor = bl_graph_input(r->graph, images->shape[1], images->shape[2], images->shape[3]);
    value->known = TENSOR, value->dims = 4, value->view = BL_ONNX_NCHW;
    memcpy(value->shape, images->shape, sizeof value->shape);
    value->shape[0] = r->batch;
    return value->tensor ? 0 : bl_graph_finish(r->graph, 0);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static const char *shown_name(const struct bl_onnx_node *n) {
    return *n->name ? n->name : n->outputs ? n->output[0] : "without a name";
}

static int note(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const char *why) {
    r->refusals++;
    if (r->refusals > MOST_TOLD) return 0;
    char *all = bl_format("%s%s%s%s%s (%s%s%s)", r->refused ? r->refused : "", r->refused ? "; " : "",
                          *n->domain ? n->domain : "", *n->domain ? "." : "", n->type, shown_name(n), why ? ": " : "",
                          why ? why : "");
    free(r->refused);
    r->refused = all;
    return all ? 0 : BLANCH_ENOMEM;
}

static bool is_standard(const struct bl_onnx_node *n) {
    return !*n->domain || !strcmp(n->domain, "ai.onnx");
}

/* *known: there are forms of its type; *taken: one of them has the node. */
static int try_forms(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct bl_onnx_form *forms,
                     bool *known, bool *taken) {
    for (const struct bl_onnx_form *form = forms; form && form->type && !*taken; form++) {
        if (strcmp(form->type, n->type)) continue;
        *known = true;
        r->other = false, r->code = 0;
        form->read(r, n);
        if (r->code) return r->code;
        *taken = !r->other;
    }
    return 0;
}

static int try_op(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct bl_op *op, bool *known,
                  bool *taken) {
    const struct bl_onnx_op *onnx = op->onnx;
    if (!onnx) return 0;
    r->op = op;
    if (!onnx->type || strcmp(onnx->type, n->type)) return try_forms(r, n, onnx->forms, known, taken);
    *known = *taken = true;
    r->code = 0;
    return bl_onnx_add_unary(r, n, 0, NULL);
}

static int dispatch(struct bl_onnx_reader *r, const struct bl_onnx_node *n, bool *known, bool *taken) {
    int code = try_forms(r, n, bl_onnx_fold_forms, known, taken);
    if (!code && !*taken) code = try_forms(r, n, bl_onnx_view_forms, known, taken);
    if (!code && !*taken) code = try_forms(r, n, bl_onnx_attention_forms, known, taken);
    for (int i = 0; bl_op_list[i] && !code && !*taken; i++) code = try_op(r, n, bl_op_list[i], known, taken);
    return code;
}

static bool lists_form(const struct bl_onnx_form *forms, const char *type) {
    while (forms && forms->type && strcmp(forms->type, type)) forms++;
    return forms && forms->type;
}

static bool has_form(const struct bl_onnx_node *n) {
    bool found = lists_form(bl_onnx_fold_forms, n->type) || lists_form(bl_onnx_view_forms, n->type) ||
                 lists_form(bl_onnx_attention_forms, n->type);
    for (int i = 0; bl_op_list[i] && !found; i++) {
        const struct bl_onnx_op *onnx = bl_op_list[i]->onnx;
        found = onnx && ((onnx->type && !strcmp(onnx->type, n->type)) || lists_form(onnx->forms, n->type));
    }
    return found;
}

/* What comes of a node that cannot be read is not told again. */
static bool follows_refused(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    for (int i = 0; i < n->inputs; i++)
        if (*n->input[i] && bl_onnx_find(r, n->input[i])->known == UNKNOWN) return true;
    return false;
}

static int read_node(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    bool known = false, taken = false;
    const int whose = r->absorbed[bl_onnx_index(r, n)];
    if (whose >= 0) {
        r->code = 0;
        return bl_onnx_give(r, n, 0, bl_onnx_find(r, r->model->node[whose].output[0]));
    }
    if (r->graph->error || follows_refused(r, n)) { // the graph takes no more after what it has refused
        if (!is_standard(n) || !has_form(n)) return note(r, n, NULL);
        if (!r->refusals)
            return bl_fail(BLANCH_EINPUT, "%s: %s (%s) comes before what it uses", r->model->path, n->type,
                           shown_name(n));
        return 0;
    }
    int code = is_standard(n) ? dispatch(r, n, &known, &taken) : 0;
    if (code == BLANCH_ENOMEM || bl_graph_nodes(r->graph) >= BL_MOST_LAYERS)
        return code ? code
                    : bl_fail(BLANCH_EINPUT, "%s: more than %d layers; that is not read", r->model->path,
                              BL_MOST_LAYERS);
    if (!code && taken) return 0;
    char why[600] = "";
    if (code) snprintf(why, sizeof why, "%s", blanch_error_message());
    return note(r, n, code ? why : known ? "in this form it is not read" : NULL);
}

/* Where an exporter says which are in training mode, the rest is frozen in PyTorch, and is not here. */
static void tell_frozen(const struct bl_onnx_reader *r) {
    char names[1024] = "";
    size_t used = 0;
    bool others = false;
    for (int i = 0; i < r->model->nodes; i++) {
        const struct bl_onnx_node *n = &r->model->node[i];
        if (!r->live[i] || strcmp(n->type, "BatchNormalization")) continue;
        if (bl_onnx_int(n, "training_mode", 0))
            others = true;
        else if (used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", shown_name(n));
    }
    if (used && others)
        bl_warn("%s: these batch norms are in evaluation mode in the file; training trains them like the others: %s",
                r->model->path, names);
}

static int tell_refused(const struct bl_onnx_reader *r) {
    char more[64] = "";
    if (r->refusals > MOST_TOLD) snprintf(more, sizeof more, "; and %d more", r->refusals - MOST_TOLD);
    return bl_fail(BLANCH_EINPUT, "%s: these nodes cannot be read (docs/onnx.md): %s%s", r->model->path, r->refused,
                   more);
}

static int read_nodes(struct bl_onnx_reader *r) {
    int code = 0;
    for (int i = 0; i < r->model->nodes && !code; i++)
        if (r->live[i]) code = read_node(r, &r->model->node[i]);
    if (!code && r->refusals) code = tell_refused(r);
    if (code) return code;
    tell_frozen(r);
    const struct value *out = bl_onnx_find(r, r->model->output[0].name);
    const struct blanch_tensor *x = bl_graph_in(r->graph), *y = out->tensor;
    const bool logits = out->known == TENSOR && y != x &&
                        (y->h * y->w == 1 || (y->h == x->h && y->w == x->w && out->view == BL_ONNX_NCHW));
    if (!logits)
        return bl_fail(BLANCH_EINPUT,
                       "%s: its output '%s' is not the logits of classes: (batch, classes), or those of every pixel, "
                       "(batch, classes, height, width)",
                       r->model->path, r->model->output[0].name);
    return 0;
}

/* --- the result ------------------------------------------------------------------------------- */

/* Signs that exporters leave: PyTorch calls weights that it computed anew after their convolution, or a convolution
 * after the output of the batch norm that it took in; Blanch says so. */
static bool is_folded(const struct bl_onnx_reader *r) {
    const struct bl_onnx_model *m = r->model;
    bool folded = false;
    for (int i = 0; i < m->pairs; i++)
        if (!strcmp(m->pair[i].key, "blanch.folded") && !strcmp(m->pair[i].value, "true")) return true;
    for (int i = 0; i < m->nodes; i++) {
        const struct bl_onnx_node *n = &m->node[i];
        if (!strcmp(n->type, "BatchNormalization")) return false;
        if (strcmp(n->type, "Conv") || n->inputs < 2 || !n->outputs) continue;
        folded = folded || !strncmp(n->input[1], "onnx::Conv_", 11) || !strncmp(n->output[0], "getitem", 7);
    }
    return folded;
}

/* Metadata that is JSON, of keys that docs/onnx.md names. */
static void add_metadata(const struct bl_onnx_reader *r, cJSON *json) {
    static const char *const keys[] = {"blanch.class_names", "blanch.mean", "blanch.deviation"};
    for (int i = 0; i < r->model->pairs; i++)
        for (int k = 0; k < BL_COUNT(keys); k++) {
            const struct bl_onnx_pair *pair = &r->model->pair[i];
            const char *name = keys[k] + strlen("blanch.");
            if (strcmp(pair->key, keys[k]) || cJSON_GetObjectItemCaseSensitive(json, name)) continue;
            cJSON *value = bl_json_parse(pair->value, strlen(pair->value), NULL);
            if (value) cJSON_AddItemToObject(json, name, value);
        }
}

static int describe(struct bl_onnx_reader *r) {
    int code = bl_graph_finish(r->graph, 0);
    if (code) return bl_fail_in(code, "%s", r->model->path);
    if (!(r->out->json = cJSON_CreateObject())) return BLANCH_ENOMEM;
    bl_graph_describe(r->graph, r->out->json);
    add_metadata(r, r->out->json);
    if (is_folded(r)) cJSON_AddTrueToObject(r->out->json, "folded");
    return bl_memory_lacked();
}

static void close_reader(struct bl_onnx_reader *r) {
    for (struct bl_onnx_memory *memory = r->memory, *next; memory; memory = next) {
        next = memory->next;
        free(memory->block);
        free(memory);
    }
    bl_graph_free(r->graph);
    free(r->values), free(r->live), free(r->absorbed), free(r->refused), free(r->cats);
}

int bl_onnx_network_read(struct bl_onnx_network *network, const char *path) {
    struct bl_onnx_reader r = {.out = network};
    struct bl_onnx_file *file;
    *network = (struct bl_onnx_network){0};
    int code = bl_onnx_open(&file, path);
    if (!code) code = bl_graph_create(&r.graph, NULL, 1, false);
    if (!code) {
        r.model = bl_onnx_model(file);
        code = enter_names(&r);
    }
    if (!code) code = find_live(&r);
    if (!code) code = read_input(&r);
    if (!code) code = read_nodes(&r);
    if (!code) code = describe(&r);
    close_reader(&r);
    bl_onnx_close(file);
    if (code) bl_onnx_network_release(network);
    return code;
}

void bl_onnx_network_release(struct bl_onnx_network *network) {
    for (int i = 0; i < network->value_count; i++) {
        free((char *)network->values[i].name);
        free((void *)network->values[i].data);
    }
    free(network->values);
    cJSON_Delete(network->json);
    *network = (struct bl_onnx_network){0};
}
