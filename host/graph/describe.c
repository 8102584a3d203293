/* A network to JSON: operations by their tables, attributes, to JSON and back, by their tables of fields. */
#include "graph/describe.h"
#include "base/text.h"
#include "graph/internal.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FIELDS = 40 };

/* --- attributes ------------------------------------------------------------------------------- */

bool bl_json_int(const cJSON *item, int *value) {
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) || fabs(item->valuedouble) > INT_MAX)
        return false;
    *value = (int)item->valuedouble;
    return true;
}

int bl_json_keys(const cJSON *json, const char *const *known, const char *where, const char *what) {
    for (const cJSON *item = json ? json->child : NULL; item; item = item->next) {
        int i = 0;
        while (known[i] && strcmp(known[i], item->string)) i++;
        if (known[i]) continue;
        const char *near = bl_nearest(item->string, known);
        return bl_fail(BLANCH_EINPUT, "%s: there is no %s '%s'%s%s%s", where, what, item->string,
                       near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return 0;
}

/* [a, b], or one number for both. */
static bool read_pair(const cJSON *item, int *pair) {
    if (bl_json_int(item, &pair[0])) {
        pair[1] = pair[0];
        return true;
    }
    return cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 && bl_json_int(cJSON_GetArrayItem(item, 0), &pair[0]) &&
           bl_json_int(cJSON_GetArrayItem(item, 1), &pair[1]);
}

static bool read_field(enum bl_field_kind kind, const cJSON *item, void *value) {
    switch (kind) {
    case BL_FIELD_INT:
        return cJSON_IsNull(item) || bl_json_int(item, value);
    case BL_FIELD_INT2:
        return read_pair(item, value);
    case BL_FIELD_FLOAT:
        *(float *)value = (float)cJSON_GetNumberValue(item);
        return cJSON_IsNumber(item);
    case BL_FIELD_BOOL:
        *(int *)value = cJSON_IsTrue(item) || (cJSON_IsNumber(item) && item->valuedouble != 0);
        return cJSON_IsBool(item) || cJSON_IsNumber(item);
    }
    return false;
}

static const char *const kinds[] = {[BL_FIELD_INT] = "a whole number below 2147483648",
                                    [BL_FIELD_INT2] = "a whole number below 2147483648, or two in a list",
                                    [BL_FIELD_FLOAT] = "a number",
                                    [BL_FIELD_BOOL] = "true or false"};

static void put_default(const struct bl_field *f, void *value) {
    if (f->kind == BL_FIELD_FLOAT)
        *(float *)value = (float)f->otherwise;
    else
        *(int *)value = (int)f->otherwise;
    if (f->kind == BL_FIELD_INT2) ((int *)value)[1] = (int)f->otherwise;
}

/* What is misspelt would be left at its default without a word. */
static int check_names(const struct bl_op *op, const cJSON *json) {
    const char *known[MOST_FIELDS + 1] = {NULL};
    for (int i = 0; i < MOST_FIELDS && op->fields && op->fields[i].name; i++) known[i] = op->fields[i].name;
    return bl_json_keys(json, known, op->name, "attribute");
}

int bl_attrs_from_json(const struct bl_op *op, const cJSON *json, void *attrs) {
    if (op->attrs_size) memset(attrs, 0, op->attrs_size);
    if (json && !cJSON_IsObject(json))
        return bl_fail(BLANCH_EINPUT, "%s: the attributes are not a JSON object", op->name);
    int code = check_names(op, json);
    if (code) return code;
    for (const struct bl_field *f = op->fields; f && f->name; f++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, f->name);
        if (!item && f->optional) {
            put_default(f, (char *)attrs + f->offset);
            continue;
        }
        if (!item) return bl_fail(BLANCH_EINPUT, "%s: the attribute '%s' is missing", op->name, f->name);
        if (!read_field(f->kind, item, (char *)attrs + f->offset))
            return bl_fail(BLANCH_EINPUT, "%s: the attribute '%s' must be %s", op->name, f->name, kinds[f->kind]);
    }
    return 0;
}

/* The shortest number that reads back as the same float. */
static cJSON *float_json(float value) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return cJSON_CreateNumber(strtod(text, NULL));
}

static cJSON *field_json(const struct bl_field *f, const void *value) {
    switch (f->kind) {
    case BL_FIELD_INT:
        return f->optional && !f->otherwise && !*(const int *)value ? NULL : cJSON_CreateNumber(*(const int *)value);
    case BL_FIELD_INT2:
        return cJSON_CreateIntArray(value, 2);
    case BL_FIELD_FLOAT:
        return float_json(*(const float *)value);
    case BL_FIELD_BOOL:
        return f->optional && !f->otherwise && !*(const int *)value ? NULL : cJSON_CreateBool(*(const int *)value);
    }
    return NULL;
}

cJSON *bl_attrs_to_json(const struct bl_op *op, const void *attrs) {
    cJSON *json = cJSON_CreateObject();
    for (const struct bl_field *f = op->fields; json && f && f->name; f++) {
        cJSON *value = field_json(f, (const char *)attrs + f->offset);
        if (value) cJSON_AddItemToObject(json, f->name, value);
    }
    return json;
}

/* --- to JSON ---------------------------------------------------------------------------------- */

static cJSON *sizes_json(const int64_t *sizes, int count) {
    cJSON *json = cJSON_CreateArray();
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(json, cJSON_CreateNumber((double)sizes[i]));
    return json;
}

static cJSON *shape_json(const struct blanch_tensor *t) {
    return sizes_json((int64_t[]){t->c, t->h, t->w}, 3);
}

/* A counter of the operation's own is no part of a state dict. */
static cJSON *params_json(const struct bl_graph *graph, bool trainable) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        if (param->trainable != trainable || param->private_state) continue;
        cJSON *entry = cJSON_CreateArray();
        cJSON_AddItemToArray(entry, cJSON_CreateString(param->name));
        cJSON_AddItemToArray(entry, sizes_json(param->shape, param->dims));
        cJSON_AddItemToArray(list, entry);
    }
    return list;
}

const struct bl_node *bl_graph_maker(const struct bl_node *user, const struct blanch_tensor *tensor) {
    for (int i = user->index; i-- > 0;) {
        const struct bl_node *node = bl_graph_node(user->graph, i), *into = node->fused_into;
        if (into && into->index > i && into != user) continue;
        for (int k = 0; k < node->outputs; k++)
            if (node->out[k] == tensor) return node;
    }
    return NULL;
}

void bl_graph_id(const struct bl_node *node, char id[160]) {
    bool taken = !strcmp(node->name, "x") || !strcmp(node->name, "labels");
    for (int i = 0; i < node->index && !taken; i++) taken = !strcmp(bl_graph_node(node->graph, i)->name, node->name);
    snprintf(id, 160, taken ? "%.90s#%d" : "%s", node->name, node->index);
}

/* Of an output other than the first: the node's id, a colon and its number. */
static cJSON *input_id(const struct bl_node *user, const struct blanch_tensor *tensor) {
    const struct bl_node *maker = bl_graph_maker(user, tensor);
    char id[160], of_output[180];
    snprintf(id, sizeof id, tensor == bl_graph_labels(user->graph) ? "labels" : "x");
    if (maker) bl_graph_id(maker, id);
    for (int k = 1; maker && k < maker->outputs; k++)
        if (maker->out[k] == tensor) {
            snprintf(of_output, sizeof of_output, "%s:%d", id, k);
            return cJSON_CreateString(of_output);
        }
    return cJSON_CreateString(id);
}

static void add_rule(cJSON *json, const struct bl_nd_rule *rule) {
    if (rule->keep) cJSON_AddTrueToObject(json, "keep");
    if (!rule->block && !rule->n_iter && !rule->freeze && !*rule->name) return;
    cJSON *nd = cJSON_AddObjectToObject(json, "nd");
    if (*rule->name) cJSON_AddStringToObject(nd, "name", rule->name);
    if (rule->block) cJSON_AddNumberToObject(nd, "block", rule->block);
    if (rule->n_iter) cJSON_AddNumberToObject(nd, "n_iter", rule->n_iter);
    if (rule->freeze) cJSON_AddTrueToObject(nd, "freeze");
}

static cJSON *node_json(const struct bl_node *node) {
    cJSON *json = cJSON_CreateObject(), *attrs = bl_attrs_to_json(node->op, node->attrs), *inputs;
    char id[160];
    bl_graph_id(node, id);
    cJSON_AddStringToObject(json, "id", id);
    cJSON_AddStringToObject(json, "op", node->op->name);
    inputs = cJSON_AddArrayToObject(json, "inputs");
    for (int i = 0; i < node->inputs; i++) cJSON_AddItemToArray(inputs, input_id(node, node->in[i]));
    if (node->params || node->buffers) cJSON_AddStringToObject(json, "name", node->name);
    if (attrs && attrs->child)
        cJSON_AddItemToObject(json, "attrs", attrs);
    else
        cJSON_Delete(attrs);
    add_rule(json, &node->rule);
    cJSON_AddItemToObject(json, "out", shape_json(node->out[0]));
    if (node->idle)
        cJSON_AddTrueToObject(json, "unused");
    else if (node->multiply_adds > 0)
        cJSON_AddNumberToObject(json, "multiply_adds", node->multiply_adds);
    return json;
}

/* The loss of logits, which training adds to a network; that of images is the definition's own. */
static bool is_added(const struct bl_node *node) {
    return node->op->role == BL_ROLE_LOSS && node->in[1]->type == BL_I32;
}

void bl_graph_describe(const struct bl_graph *graph, cJSON *json) {
    const struct blanch_tensor *x = bl_graph_in(graph);
    cJSON *nodes = cJSON_CreateArray(), *input = cJSON_CreateObject();
    double multiply_adds = 0;
    cJSON_AddStringToObject(input, "id", "x");
    cJSON_AddStringToObject(input, "op", "input");
    cJSON_AddArrayToObject(input, "inputs");
    cJSON_AddItemToObject(input, "out", shape_json(x));
    cJSON_AddItemToArray(nodes, input);
    for (int i = 0; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        if (is_added(node)) continue;
        cJSON_AddItemToArray(nodes, node_json(node));
        if (!node->idle) multiply_adds += node->multiply_adds;
    }
    if (!bl_graph_has_loss(graph) || is_added(bl_graph_node(graph, bl_graph_nodes(graph) - 1)))
        cJSON_AddNumberToObject(json, "num_classes", (double)bl_graph_out(graph)->c);
    cJSON_AddItemToObject(json, "input", shape_json(x));
    cJSON_AddNumberToObject(json, "trainable", (double)bl_graph_trainable(graph));
    cJSON_AddNumberToObject(json, "multiply_adds", multiply_adds);
    cJSON_AddItemToObject(json, "parameters", params_json(graph, true));
    cJSON_AddItemToObject(json, "buffers", params_json(graph, false));
    cJSON_AddItemToObject(json, "graph", nodes);
}

/* --- for files of weights ----------------------------------------------------------------------- */

void bl_graph_set_about(struct bl_graph *graph, cJSON *about) {
    cJSON_Delete(graph->about);
    graph->about = about;
}

const cJSON *bl_graph_about(const struct bl_graph *graph) {
    return graph->about;
}
