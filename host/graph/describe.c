/* A network to JSON and back: operations by their tables, attributes by their tables of fields. */
#include "graph/describe.h"
#include "graph/internal.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- attributes ------------------------------------------------------------------------------- */

static bool read_int(const cJSON *item, int *value) {
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) || fabs(item->valuedouble) > INT_MAX)
        return false;
    *value = (int)item->valuedouble;
    return true;
}

/* [a, b], or one number for both. */
static bool read_pair(const cJSON *item, int *pair) {
    if (read_int(item, &pair[0])) {
        pair[1] = pair[0];
        return true;
    }
    return cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 && read_int(cJSON_GetArrayItem(item, 0), &pair[0]) &&
           read_int(cJSON_GetArrayItem(item, 1), &pair[1]);
}

static bool read_field(enum bl_field_kind kind, const cJSON *item, void *value) {
    switch (kind) {
    case BL_FIELD_INT:
        return cJSON_IsNull(item) || read_int(item, value);
    case BL_FIELD_INT2:
        return read_pair(item, value);
    case BL_FIELD_FLOAT:
        *(float *)value = (float)cJSON_GetNumberValue(item);
        return cJSON_IsNumber(item);
    case BL_FIELD_BOOL:
        *(int *)value = cJSON_IsTrue(item) || (cJSON_IsNumber(item) && item->valuedouble != 0);
        return cJSON_IsBool(item) || cJSON_IsNumber(item);
    case BL_FIELD_NOT:
        *(int *)value = cJSON_IsFalse(item) || (cJSON_IsNumber(item) && item->valuedouble == 0);
        return cJSON_IsBool(item) || cJSON_IsNumber(item);
    }
    return false;
}

static const char *const kinds[] = {[BL_FIELD_INT] = "a whole number",
                                    [BL_FIELD_INT2] = "a whole number or two in a list",
                                    [BL_FIELD_FLOAT] = "a number",
                                    [BL_FIELD_BOOL] = "true or false",
                                    [BL_FIELD_NOT] = "true or false"};

int bl_attrs_from_json(const struct bl_op *op, const cJSON *json, void *attrs) {
    if (op->attrs_size) memset(attrs, 0, op->attrs_size);
    if (json && !cJSON_IsObject(json))
        return bl_fail(BLANCH_EINPUT, "%s: the attributes are not a JSON object", op->name);
    for (const struct bl_field *f = op->fields; f && f->name; f++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, f->name);
        if (!item && f->optional) continue;
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
        return f->optional && !*(const int *)value ? NULL : cJSON_CreateNumber(*(const int *)value);
    case BL_FIELD_INT2:
        return cJSON_CreateIntArray(value, 2);
    case BL_FIELD_FLOAT:
        return float_json(*(const float *)value);
    case BL_FIELD_BOOL:
        return f->optional && !*(const int *)value ? NULL : cJSON_CreateBool(*(const int *)value);
    case BL_FIELD_NOT:
        return f->optional && !*(const int *)value ? NULL : cJSON_CreateBool(!*(const int *)value);
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

/* The node whose output `user` takes, as it was defined: one that is fused into its producer has the producer's tensor,
 * one that is fused into its only consumer has, for that consumer alone, its input's. NULL: the graph's input. */
static const struct bl_node *maker_of(const struct bl_node *user, const struct blanch_tensor *tensor) {
    for (int i = user->index; i-- > 0;) {
        const struct bl_node *node = bl_graph_node(user->graph, i), *into = node->fused_into;
        if (into && into->index > i && into != user) continue;
        for (int k = 0; k < node->outputs; k++)
            if (node->out[k] == tensor) return node;
    }
    return NULL;
}

/* Of an output other than the first: the node's id, a colon and its number. */
static cJSON *input_id(const struct bl_node *user, const struct blanch_tensor *tensor) {
    const struct bl_node *maker = maker_of(user, tensor);
    char id[160];
    snprintf(id, sizeof id, "%s", maker ? maker->name : "x");
    for (int k = 1; maker && k < maker->outputs; k++)
        if (maker->out[k] == tensor) snprintf(id, sizeof id, "%s:%d", maker->name, k);
    return cJSON_CreateString(id);
}

static cJSON *node_json(const struct bl_node *node) {
    cJSON *json = cJSON_CreateObject(), *attrs = bl_attrs_to_json(node->op, node->attrs), *inputs;
    cJSON_AddStringToObject(json, "id", node->name);
    cJSON_AddStringToObject(json, "op", node->op->name);
    inputs = cJSON_AddArrayToObject(json, "inputs");
    for (int i = 0; i < node->inputs; i++) cJSON_AddItemToArray(inputs, input_id(node, node->in[i]));
    if (node->params || node->buffers) cJSON_AddStringToObject(json, "name", node->name);
    if (attrs && attrs->child)
        cJSON_AddItemToObject(json, "attrs", attrs);
    else
        cJSON_Delete(attrs);
    cJSON_AddItemToObject(json, "out", shape_json(node->out[0]));
    if (node->idle)
        cJSON_AddTrueToObject(json, "unused");
    else if (node->multiply_adds > 0)
        cJSON_AddNumberToObject(json, "multiply_adds", node->multiply_adds);
    return json;
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
        if (node->op->role == BL_ROLE_LOSS) continue;
        cJSON_AddItemToArray(nodes, node_json(node));
        if (!node->idle) multiply_adds += node->multiply_adds;
    }
    cJSON_AddNumberToObject(json, "num_classes", (double)bl_graph_out(graph)->c);
    cJSON_AddItemToObject(json, "input", shape_json(x));
    cJSON_AddNumberToObject(json, "trainable", (double)bl_graph_trainable(graph));
    cJSON_AddNumberToObject(json, "multiply_adds", multiply_adds);
    cJSON_AddItemToObject(json, "parameters", params_json(graph, true));
    cJSON_AddItemToObject(json, "buffers", params_json(graph, false));
    cJSON_AddItemToObject(json, "graph", nodes);
}

/* --- and back --------------------------------------------------------------------------------- */

struct described {
    struct bl_graph *graph;
    const cJSON *nodes;           // the description's
    struct blanch_tensor **value; // of each of them: its first output
    struct blanch_tensor *logits; // the last node's output
};

static const cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}
static const char *text(const cJSON *object, const char *key) {
    const char *value = cJSON_GetStringValue(item(object, key));
    return value ? value : "";
}

static int read_sizes(const cJSON *list, const char *what, int64_t size[3]) {
    int count = cJSON_GetArraySize(list);
    for (int i = 0; i < 3; i++) {
        const cJSON *entry = cJSON_GetArrayItem(list, i);
        int value = 1;
        if (i < count && !read_int(entry, &value)) count = 0;
        size[i] = value;
    }
    return count >= 1 && count <= 3 ? 0 : bl_fail(BLANCH_EINPUT, "%s: the sizes are not one to three numbers", what);
}

/* "ID" or "ID:OUTPUT", of a node before the one at `end`. */
static struct blanch_tensor *find_value(const struct described *d, const char *id, int end) {
    const cJSON *node = d->nodes->child;
    for (int i = 0; i < end; i++, node = node->next) {
        const char *name = text(node, "id");
        size_t length = strlen(name);
        if (strncmp(name, id, length) || !d->value[i]) continue;
        if (!id[length]) return d->value[i];
        const struct bl_node *maker = bl_graph_producer(d->graph, d->value[i]);
        int output = id[length] == ':' ? atoi(id + length + 1) : 0;
        if (maker && output > 0 && output < maker->outputs) return maker->out[output];
    }
    return NULL;
}

static int find_inputs(const struct described *d, const cJSON *node, int at, struct blanch_tensor **in, int *count) {
    const cJSON *inputs = item(node, "inputs"), *id;
    *count = 0;
    cJSON_ArrayForEach(id, inputs) {
        if (*count == BL_MAX_INPUTS)
            return bl_fail(BLANCH_EINPUT, "%s: more than %d inputs", text(node, "id"), BL_MAX_INPUTS);
        if (!cJSON_IsString(id) || !(in[(*count)++] = find_value(d, id->valuestring, at)))
            return bl_fail(BLANCH_EINPUT, "%s: no node before it is called '%s'", text(node, "id"),
                           cJSON_IsString(id) ? id->valuestring : "");
    }
    return 0;
}

static int check_shape(const cJSON *node, const struct blanch_tensor *out) {
    int64_t size[3];
    int code = item(node, "out") ? read_sizes(item(node, "out"), text(node, "id"), size) : 0;
    if (code || !item(node, "out") || (size[0] == out->c && size[1] == out->h && size[2] == out->w)) return code;
    return bl_fail(BLANCH_EINPUT, "%s: its output is %lld x %lld x %lld, where the description says %lld x %lld x %lld",
                   text(node, "id"), (long long)out->c, (long long)out->h, (long long)out->w, (long long)size[0],
                   (long long)size[1], (long long)size[2]);
}

static int add_node(struct described *d, const cJSON *node, int at) {
    const char *name = *text(node, "name") ? text(node, "name") : text(node, "id");
    const struct bl_op *op = bl_op_find(text(node, "op"));
    struct blanch_tensor *in[BL_MAX_INPUTS];
    int count;
    if (!*name || strlen(name) >= sizeof((struct bl_node *)0)->name)
        return bl_fail(BLANCH_EINPUT, "node %d: its name is missing or too long", at);
    if (!op) return bl_fail(BLANCH_EINPUT, "%s: unknown operation '%s'", name, text(node, "op"));
    int code = find_inputs(d, node, at, in, &count);
    void *attrs = code ? NULL : bl_calloc(1, op->attrs_size + 1);
    if (!code && !attrs) code = BLANCH_ENOMEM;
    if (!code && (code = bl_attrs_from_json(op, item(node, "attrs"), attrs))) bl_fail_in(code, "%s", name);
    if (!code && !(d->value[at] = bl_graph_add(d->graph, op->name, name, attrs, in, count)))
        code = bl_fail(d->graph->error, "%s", d->graph->message ? d->graph->message : "out of host memory");
    free(attrs);
    if (code) return code;
    d->logits = d->value[at];
    if (cJSON_IsTrue(item(node, "unused"))) bl_graph_idle(d->graph, d->value[at]);
    return check_shape(node, d->value[at]);
}

static bool has_shape(const struct bl_param *param, const cJSON *shape) {
    bool same = cJSON_GetArraySize(shape) == param->dims;
    for (int i = 0; same && i < param->dims; i++)
        same = cJSON_GetNumberValue(cJSON_GetArrayItem(shape, i)) == (double)param->shape[i];
    return same;
}

/* The nodes' names in the order in which the list has their parameters; a node's own stand in the operation's order. */
static int read_order(const struct described *d, const cJSON *list) {
    const struct bl_node *last = NULL;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, list) {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(entry, 0));
        const struct bl_param *param = name ? bl_graph_find_param(d->graph, name) : NULL;
        if (!param || !has_shape(param, cJSON_GetArrayItem(entry, 1)))
            return bl_fail(BLANCH_EINPUT, "%s: no node has a parameter of that name and shape",
                           name ? name : "a parameter without a name");
        if (param->node != last) bl_graph_order(d->graph, "", param->node->name);
        last = param->node;
    }
    return 0;
}

int bl_graph_add_described(struct bl_graph *graph, const cJSON *json, struct blanch_tensor **logits) {
    struct described d = {.graph = graph, .nodes = item(json, "graph")};
    int64_t size[3];
    int at = 0, code = read_sizes(item(json, "input"), "input", size);
    if (!code && cJSON_GetArraySize(d.nodes) < 2) code = bl_fail(BLANCH_EINPUT, "the description has no graph");
    if (code) return code;
    if (!(d.value = bl_calloc((size_t)cJSON_GetArraySize(d.nodes), sizeof *d.value))) return BLANCH_ENOMEM;
    const cJSON *node;
    cJSON_ArrayForEach(node, d.nodes) {
        if (at == 0)
            d.value[at] = bl_graph_input(graph, size[0], size[1], size[2]);
        else
            code = add_node(&d, node, at);
        if (code) break;
        at++;
    }
    if (!code) code = read_order(&d, item(json, "parameters"));
    if (!code) code = read_order(&d, item(json, "buffers"));
    free(d.value);
    *logits = d.logits;
    return code;
}
