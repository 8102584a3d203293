/* A network of a JSON description. Its nodes are read first, then built one by one; the layers and batch norms through
 * the builders that apply the rule of deconvolution. */
#include "base/text.h"
#include "graph/describe.h"
#include "graph/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NODES = 5000, LONGEST_NAME = 100, MOST_SIZE = 1 << 20 };

/* A node of the description. */
struct row {
    const cJSON *json;
    const char *id, *name;
    char place[12];                // both, where nothing else is said
    const struct bl_op *op;        // NULL: the input
    int inputs, in[BL_MAX_INPUTS]; // rows, and
    int output[BL_MAX_INPUTS];     // which of their outputs
    bool unused;
    struct blanch_tensor *value; // its first output; of a batch norm that goes, its input's
    struct bl_node *node;        // NULL: it has none
};

struct described {
    const struct bl_description *description;
    struct blanch_builder *b;
    struct row *row;
    int rows;
    int head;    // the row whose outputs become the classes; -1: they stay
    bool fits;   // sizes may be others than the description's
    bool turned; // layers may be others
};

static const cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static int read_sizes(const cJSON *list, const char *where, const char *key, int size[3]) {
    const cJSON *entry = cJSON_IsArray(list) ? list->child : NULL;
    int count = 0;
    size[0] = size[1] = size[2] = 1;
    for (; entry && count < 3; entry = entry->next, count++)
        if (!bl_json_int(entry, &size[count]) || size[count] < 1 || size[count] > MOST_SIZE) break;
    if (count && !entry) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not one to three sizes from 1 to %d", where, key, MOST_SIZE);
}

/* --- the nodes' names and connections --------------------------------------------------------- */

static int read_text(const struct row *row, const char *key, const char **text) {
    const cJSON *value = item(row->json, key);
    *text = value ? cJSON_GetStringValue(value) : "";
    if (!*text) return bl_fail(BLANCH_EINPUT, "node %s: \"%s\" is not a text", row->place, key);
    if (strlen(*text) <= LONGEST_NAME) return 0;
    return bl_fail(BLANCH_EINPUT, "node %s: \"%s\" is longer than %d characters", row->place, key, LONGEST_NAME);
}

static int unknown_operation(const struct row *row, const char *name) {
    enum { MOST = 200 };
    const char *names[MOST + 1] = {NULL};
    for (int i = 0, n = 0; bl_op_list[i] && n < MOST; i++)
        if (bl_op_list[i]->role != BL_ROLE_LOSS) names[n++] = bl_op_list[i]->name;
    const char *near = bl_nearest(name, names);
    return bl_fail(BLANCH_EINPUT, "node '%s': there is no operation '%s'%s%s%s", row->id, name,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int read_operation(struct row *row, int at) {
    const char *name;
    int code = read_text(row, "op", &name);
    if (code) return code;
    if (!*name) return bl_fail(BLANCH_EINPUT, "node '%s': \"op\", its operation, is missing", row->id);
    if (!strcmp(name, "input") && at == 0) return 0;
    if (!strcmp(name, "input"))
        return bl_fail(BLANCH_EINPUT, "node '%s': an input can be the first node alone", row->id);
    row->op = bl_op_find(name);
    if (!row->op) return unknown_operation(row, name);
    if (row->op->role != BL_ROLE_LOSS) return 0;
    return bl_fail(BLANCH_EINPUT, "node '%s': %s is a loss; a description ends with the logits", row->id, name);
}

static int read_name(struct described *d, struct row *row, int at) {
    static const char *const keys[] = {"id",  "op",     "inputs", "name",          "attrs", "nd",
                                       "out", "unused", "keep",   "multiply_adds", NULL};
    if (!cJSON_IsObject(row->json)) return bl_fail(BLANCH_EINPUT, "node %s: it is no JSON object", row->place);
    int code = read_text(row, "id", &row->id);
    if (!code) code = read_text(row, "name", &row->name);
    if (code) return code;
    if (!*row->id) row->id = *row->name ? row->name : row->place;
    if (!*row->name) row->name = row->id;
    row->unused = cJSON_IsTrue(item(row->json, "unused"));
    for (int i = 0; i < at; i++)
        if (!strcmp(d->row[i].id, row->id))
            return bl_fail(BLANCH_EINPUT, "node %s: node %s has the id '%s' too", row->place, d->row[i].place, row->id);
    code = read_operation(row, at);
    if (code) return code;
    char where[LONGEST_NAME + 16];
    snprintf(where, sizeof where, "node '%s'", row->id);
    return bl_json_keys(row->json, keys, where, "key");
}

/* "ID" or "ID:OUTPUT", of a node before `end`. The nearest come first: most inputs are. */
static int find_row(const struct described *d, const char *id, int end, int *output) {
    const char *colon = strrchr(id, ':');
    *output = 0;
    for (int i = end; i-- > 0;)
        if (!strcmp(d->row[i].id, id)) return i;
    long long number;
    if (!colon || !bl_text_whole(colon + 1, &number) || number < 1 || number >= BL_MAX_OUTPUTS) return -1;
    *output = (int)number;
    for (int i = end; i-- > 0;)
        if (!strncmp(d->row[i].id, id, (size_t)(colon - id)) && !d->row[i].id[colon - id]) return i;
    return -1;
}

/* What is left out is the node before. */
static int read_inputs(const struct described *d, struct row *row, int at) {
    const cJSON *inputs = item(row->json, "inputs"), *id;
    int before = at - 1;
    while (before > 0 && d->row[before].unused) before--;
    if (inputs && !cJSON_IsArray(inputs)) return bl_fail(BLANCH_EINPUT, "node '%s': \"inputs\" is no list", row->id);
    if (!inputs && row->op) row->in[row->inputs++] = before;
    cJSON_ArrayForEach(id, inputs) {
        if (row->inputs == BL_MAX_INPUTS)
            return bl_fail(BLANCH_EINPUT, "node '%s': more than %d inputs", row->id, BL_MAX_INPUTS);
        const int k = row->inputs++;
        row->in[k] = cJSON_IsString(id) ? find_row(d, id->valuestring, at, &row->output[k]) : -1;
        if (row->in[k] < 0)
            return bl_fail(BLANCH_EINPUT, "node '%s': no node before it is called '%s'", row->id,
                           cJSON_IsString(id) ? id->valuestring : "");
    }
    return row->op || !row->inputs ? 0 : bl_fail(BLANCH_EINPUT, "node '%s': the input has no inputs", row->id);
}

/* A list that does not begin with the input gets one, called "input". */
static int read_rows(struct described *d) {
    const cJSON *nodes = item(d->description->json, "graph"), *node;
    const int count = cJSON_IsArray(nodes) ? cJSON_GetArraySize(nodes) : 0;
    if (count < 1) return bl_fail(BLANCH_EINPUT, "\"graph\", the list of nodes, is missing or empty");
    if (count > MOST_NODES) return bl_fail(BLANCH_EINPUT, "\"graph\" has %d nodes, more than %d", count, MOST_NODES);
    if (!(d->row = bl_calloc((size_t)count + 1, sizeof *d->row))) return BLANCH_ENOMEM;
    const char *first = cJSON_GetStringValue(item(nodes->child, "op"));
    int place = 0, code = 0;
    if (!first || strcmp(first, "input")) d->row[d->rows++] = (struct row){.id = "input", .name = "input"};
    cJSON_ArrayForEach(node, nodes) {
        struct row *row = &d->row[d->rows];
        row->json = node;
        snprintf(row->place, sizeof row->place, "%d", place++);
        if ((code = read_name(d, row, d->rows)) || (code = read_inputs(d, row, d->rows))) return code;
        d->rows++;
    }
    if (d->row[d->rows - 1].unused || d->rows < 2)
        return bl_fail(BLANCH_EINPUT, "node '%s': the last node gives the logits", d->row[d->rows - 1].id);
    return 0;
}

/* --- other sizes than the description's ------------------------------------------------------- */

/* An attribute that counts channels: the first of these names that the operation has. */
static int *count_field(const struct bl_op *op, void *attrs, const char *const *names) {
    for (const struct bl_field *f = op->fields; f && f->name; f++)
        for (int i = 0; names[i]; i++)
            if (f->kind == BL_FIELD_INT && !strcmp(f->name, names[i])) return (int *)((char *)attrs + f->offset);
    return NULL;
}
static int *inputs_of(const struct bl_op *op, void *attrs) {
    return count_field(op, attrs, (const char *const[]){"in_channels", "in_features", "channels", NULL});
}
static int *outputs_of(const struct bl_op *op, void *attrs) {
    return count_field(op, attrs, (const char *const[]){"out_channels", "out_features", NULL});
}

/* Back from the logits over what keeps its channels apart to the layer that makes them. */
static int find_head(const struct described *d) {
    int at = d->rows - 1;
    while (d->row[at].op && d->row[at].inputs == 1 && d->row[at].op->role != BL_ROLE_LAYER) {
        const struct bl_op *op = d->row[at].op;
        if (op->role == BL_ROLE_SHAPE && strcmp(op->name, "flatten")) break;
        at = d->row[at].in[0];
    }
    return at;
}

static int check_classes(const struct described *d, const struct blanch_tensor *logits) {
    const int wanted = d->b->classes;
    if (!wanted || logits->c * logits->h * logits->w == wanted) return 0;
    const struct row *row = &d->row[d->head < 0 ? d->rows - 1 : d->head];
    return bl_fail(BLANCH_EINPUT,
                   "node '%s': %d classes cannot become %d: the logits do not come from a linear layer or a 1x1 "
                   "convolution, one each",
                   row->id, d->description->classes, wanted);
}

/* Channels are what the input has. A layer that whitens all of them in one block goes on doing so. */
static void fit(const struct described *d, int at, const struct blanch_tensor *x, void *attrs) {
    const struct bl_op *op = d->row[at].op;
    int *in = inputs_of(op, attrs), *out = outputs_of(op, attrs), before = in ? *in : 0;
    if (in) *in = (int)x->c;
    if (in && op->nd_offset && before != *in) {
        struct bl_nd_attrs *nd = (void *)((char *)attrs + op->nd_offset);
        nd->block = nd->block == before ? *in : bl_build_block(nd->block, *in);
    }
    if (out && at == d->head) *out = d->b->classes;
}

static int check_out(const struct described *d, const struct row *row) {
    const struct blanch_tensor *t = row->value;
    int size[3];
    char where[LONGEST_NAME + 16];
    snprintf(where, sizeof where, "node '%s'", row->id);
    if (d->fits || !item(row->json, "out")) return 0;
    int code = read_sizes(item(row->json, "out"), where, "out", size);
    if (code || (size[0] == t->c && size[1] == t->h && size[2] == t->w)) return code;
    return bl_fail(BLANCH_EINPUT, "%s: its output is %lld x %lld x %lld, where \"out\" says %d x %d x %d", where,
                   (long long)t->c, (long long)t->h, (long long)t->w, size[0], size[1], size[2]);
}

/* --- the rule --------------------------------------------------------------------------------- */

static int read_count(const cJSON *nd, const char *key, int most, int *value) {
    const cJSON *number = item(nd, key);
    if (!number || (bl_json_int(number, value) && *value >= 1 && *value <= most)) return 0;
    return bl_fail(BLANCH_EINPUT, "\"nd\": \"%s\" is not a whole number from 1 to %d", key, most);
}

static int read_rule(const struct row *row, struct bl_nd_rule *rule) {
    static const char *const keys[] = {"name", "block", "n_iter", "freeze", NULL};
    const cJSON *nd = item(row->json, "nd"), *keep = item(row->json, "keep");
    const char *name = item(nd, "name") ? cJSON_GetStringValue(item(nd, "name")) : "";
    const bool layer = !strcmp(row->op->name, "conv2d") || !strcmp(row->op->name, "linear");
    *rule = (struct bl_nd_rule){.keep = cJSON_IsTrue(keep), .freeze = cJSON_IsTrue(item(nd, "freeze"))};
    if (keep && !cJSON_IsBool(keep)) return bl_fail(BLANCH_EINPUT, "\"keep\" is not true or false");
    if (keep && !layer && strcmp(row->op->name, "batchnorm2d"))
        return bl_fail(BLANCH_EINPUT, "\"keep\" is for conv2d, linear and batchnorm2d: the others stay what they are");
    if (nd && (!cJSON_IsObject(nd) || !layer))
        return bl_fail(BLANCH_EINPUT, "\"nd\" is an object with settings of a conv2d or linear");
    int code = nd ? bl_json_keys(nd, keys, "\"nd\"", "setting") : 0;
    if (!code) code = read_count(nd, "block", 4096, &rule->block);
    if (!code) code = read_count(nd, "n_iter", BL_MOST_ITERATIONS, &rule->n_iter);
    if (code) return code;
    if (item(nd, "freeze") && (!cJSON_IsBool(item(nd, "freeze")) || strcmp(row->op->name, "conv2d")))
        return bl_fail(BLANCH_EINPUT, "\"nd\": \"freeze\" is true or false, of a conv2d alone");
    if (!name || strlen(name) > LONGEST_NAME)
        return bl_fail(BLANCH_EINPUT, "\"nd\": \"name\" is not a text of up to %d characters", LONGEST_NAME);
    snprintf(rule->name, sizeof rule->name, "%s", name);
    return 0;
}

/* What a run decides of layers that are deconvolution's already; the rest they say themselves. */
static void take_settings(const struct blanch_nd_options *o, const struct bl_op *op, void *attrs) {
    struct bl_nd_attrs *nd = (void *)((char *)attrs + op->nd_offset);
    if (!op->nd_offset) return;
    if (o->refresh) nd->refresh = o->refresh;
    if (o->constant_gradient) nd->constant_grad = 1;
    if (o->freeze && nd->freeze_iter) nd->freeze = o->freeze > 0;
}

static struct blanch_tensor *build(const struct described *d, const struct row *row, void *attrs,
                                   struct blanch_tensor *const *in, const struct bl_nd_rule *rule) {
    const char *op = row->op->name;
    const bool layer = !d->description->nd && row->inputs == 1;
    if (layer && !strcmp(op, "conv2d"))
        return bl_build_conv2d(d->b, row->name, *in, *(struct bl_conv_attrs *)attrs, rule);
    if (layer && !strcmp(op, "linear"))
        return bl_build_linear(d->b, row->name, *in, *(struct bl_linear_attrs *)attrs, rule);
    if (layer && !strcmp(op, "batchnorm2d"))
        return bl_build_batchnorm2d(d->b, row->name, *in, *(struct bl_batchnorm_attrs *)attrs, rule->keep);
    if (layer && !strcmp(op, "flatten")) return bl_build_flatten(d->b, row->name, *in);
    take_settings(&d->b->nd, row->op, attrs);
    return bl_graph_add(d->b->graph, op, row->name, attrs, in, row->inputs);
}

/* --- building --------------------------------------------------------------------------------- */

static int find_inputs(const struct described *d, const struct row *row, struct blanch_tensor **in) {
    for (int i = 0; i < row->inputs; i++) {
        const struct row *from = &d->row[row->in[i]];
        const int output = row->output[i];
        in[i] = output ? NULL : from->value;
        if (output && from->node && output < from->node->outputs) in[i] = from->node->out[output];
        if (!in[i]) return bl_fail(BLANCH_EINPUT, "node '%s': node '%s' has no output %d", row->id, from->id, output);
    }
    return 0;
}

/* Two layers of one name would be one in the state dict. */
static int check_name(const struct described *d, const struct row *row) {
    if (!row->node || !(row->node->params + row->node->buffers)) return 0;
    for (const struct row *other = d->row; other < row; other++)
        if (other->node && other->node->params + other->node->buffers && !strcmp(other->node->name, row->node->name))
            return bl_fail(BLANCH_EINPUT, "node '%s': node '%s' has parameters of the same name, '%s'", row->id,
                           other->id, row->node->name);
    return 0;
}

static int add_row(struct described *d, int at) {
    struct row *row = &d->row[at];
    struct bl_graph *graph = d->b->graph;
    struct blanch_tensor *in[BL_MAX_INPUTS];
    struct bl_nd_rule rule;
    const size_t before = graph->node_count;
    void *attrs = bl_calloc(1, row->op->attrs_size + 1);
    int code = attrs ? find_inputs(d, row, in) : BLANCH_ENOMEM;
    if (!code &&
        ((code = bl_attrs_from_json(row->op, item(row->json, "attrs"), attrs)) || (code = read_rule(row, &rule))))
        bl_fail_in(code, "node '%s'", row->id);
    if (!code && d->fits && row->inputs) fit(d, at, in[0], attrs);
    if (!code && !(row->value = build(d, row, attrs, in, &rule))) code = graph->error;
    free(attrs);
    if (code) return code;
    if (graph->node_count > before) row->node = graph->nodes[graph->node_count - 1];
    if (row->node && row->unused) row->node->idle = true;
    code = check_name(d, row);
    return code ? code : check_out(d, row);
}

/* --- the order of the state dict -------------------------------------------------------------- */

/* NAME.weight is of the node NAME, or of one that is called that whole. Lists mostly go on where they are. */
static struct row *owner(const struct described *d, const char *param, int *next) {
    const char *dot = strrchr(param, '.');
    const size_t length = dot ? (size_t)(dot - param) : 0;
    for (int i = 0; i < d->rows; i++) {
        struct row *row = &d->row[(*next + i) % d->rows];
        bool of = row->op &&
                  (!strcmp(row->name, param) || (length && !strncmp(row->name, param, length) && !row->name[length]));
        if (of) return *next = (int)(row - d->row), row;
    }
    return NULL;
}

static bool is_param(const struct bl_param *param, const char *name, const cJSON *shape, bool trainable) {
    const cJSON *size = cJSON_IsArray(shape) ? shape->child : NULL;
    if (strcmp(param->name, name) || param->trainable != trainable || param->private_state) return false;
    for (int i = 0; i < param->dims; i++, size = size->next)
        if (!size || !cJSON_IsNumber(size) || size->valuedouble != (double)param->shape[i]) return false;
    return !size;
}

static bool has_param(const struct bl_node *node, const char *name, const cJSON *shape, bool trainable) {
    bool has = false;
    for (int i = 0; i < node->params; i++) has |= is_param(node->param[i], name, shape, trainable);
    for (int i = 0; i < node->buffers; i++) has |= is_param(node->buffer[i], name, shape, trainable);
    return has;
}

static int count_params(const struct bl_graph *graph, bool trainable) {
    int count = 0;
    for (int i = 0; i < bl_graph_params(graph); i++) {
        const struct bl_param *param = bl_graph_param(graph, i);
        count += param->trainable == trainable && !param->private_state;
    }
    return count;
}

/* Nodes are ranked as the list has them; a node's own parameters stand in the operation's order. */
static int read_order(const struct described *d, const char *key, bool trainable, int *rank) {
    const cJSON *list = item(d->description->json, key), *entry;
    int next = 0, count = 0;
    if (list && !cJSON_IsArray(list)) return bl_fail(BLANCH_EINPUT, "\"%s\" is no list", key);
    cJSON_ArrayForEach(entry, list) {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(entry, 0));
        const struct row *row = name ? owner(d, name, &next) : NULL;
        bool right = d->fits || d->turned ||
                     (row && row->node && has_param(row->node, name, cJSON_GetArrayItem(entry, 1), trainable));
        if (!right)
            return bl_fail(BLANCH_EINPUT, "\"%s\": no node has one of the name and shape of '%s'", key,
                           name ? name : "one without a name");
        if (row && row->node && !row->node->rank) row->node->rank = ++*rank;
        count++;
    }
    if (!list || d->fits || d->turned || count == count_params(d->b->graph, trainable)) return 0;
    return bl_fail(BLANCH_EINPUT, "\"%s\" lists %d, and the nodes have %d", key, count,
                   count_params(d->b->graph, trainable));
}

/* --- the whole -------------------------------------------------------------------------------- */

static int check_norm(const struct described *d) {
    const struct blanch_nd_options *nd = &d->b->nd;
    const struct {
        const char *name;
        bool given;
    } stated[] = {{"--block", nd->block != 0},
                  {"--nd-iter", nd->iterations != 0},
                  {"--nd-eps", nd->eps > 0},
                  {"--nd-momentum", nd->momentum > 0},
                  {"--sampling-stride", nd->sampling_stride != 0},
                  {"--whiten", nd->whiten != 0},
                  {"--cov-samples", nd->cov_samples != 0},
                  {"--block-fc", nd->block_fc != 0}};
    if (!d->description->nd) return 0;
    if (d->b->norm != BLANCH_ND)
        return bl_fail(BLANCH_EUSAGE, "its layers are network deconvolution's already: it takes --norm nd or own");
    for (int i = 0; i < BL_COUNT(stated); i++)
        if (stated[i].given)
            return bl_fail(BLANCH_EUSAGE, "%s is stated by each of its layers of network deconvolution: leave it out",
                           stated[i].name);
    return 0;
}

static int build_all(struct described *d, struct blanch_tensor *x, struct blanch_tensor **logits) {
    int code = read_rows(d), rank = 0;
    if (!code) code = check_norm(d);
    if (code) return code;
    if (d->b->classes && d->b->classes != d->description->classes) d->head = find_head(d), d->fits = true;
    d->row[0].value = x;
    code = d->row[0].json ? check_out(d, &d->row[0]) : 0;
    for (int i = 1; i < d->rows && !code; i++) code = add_row(d, i);
    if (code) return code;
    *logits = d->row[d->rows - 1].value;
    const struct bl_graph *graph = d->b->graph;
    if (!graph->node_count || graph->nodes[graph->node_count - 1]->out[0] != *logits)
        return bl_fail(BLANCH_EINPUT, "node '%s': without batch norm the last node would not give the logits",
                       d->row[d->rows - 1].id);
    if ((code = check_classes(d, *logits))) return code;
    code = read_order(d, "parameters", true, &rank);
    return code ? code : read_order(d, "buffers", false, &rank);
}

/* An operation's own error is the graph's already. */
static void stick(struct bl_graph *graph, const char *name, int code) {
    if (graph->error) code = bl_fail(graph->error, "%s", graph->message ? graph->message : "out of host memory");
    if (name) bl_fail_in(code, "%s", name);
    free(graph->message);
    graph->error = 0, graph->message = NULL;
    bl_graph_stick(graph, code);
}

struct blanch_tensor *bl_description_build(struct blanch_builder *b, struct blanch_tensor *x, const void *description) {
    const struct bl_description *of = description;
    struct described d = {.description = of, .b = b, .head = -1};
    struct blanch_tensor *logits = NULL;
    if (!x) return NULL;
    d.fits = x->c != of->channels || x->h != of->height || x->w != of->width;
    d.turned = !of->nd && b->norm != BLANCH_BN;
    int code = build_all(&d, x, &logits);
    free(d.row);
    if (code) stick(b->graph, of->name, code);
    return code ? NULL : logits;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool has_nd(const cJSON *json) {
    const cJSON *node;
    cJSON_ArrayForEach(node, item(json, "graph")) {
        const char *name = cJSON_GetStringValue(item(node, "op"));
        const struct bl_op *op = name ? bl_op_find(name) : NULL;
        if (op && op->nd_offset) return true;
    }
    return false;
}

static int check_number(const cJSON *json, const char *key, int64_t is) {
    const cJSON *number = item(json, key);
    if (!number || (cJSON_IsNumber(number) && number->valuedouble == (double)is)) return 0;
    return bl_fail(BLANCH_EINPUT, "\"%s\" is not what the nodes have, %lld", key, (long long)is);
}

/* As it says, without a device. */
static int try(struct bl_description *d) {
    struct bl_graph *graph = NULL;
    struct blanch_builder b = {.norm = d->nd ? BLANCH_ND : BLANCH_BN, .block = 64, .block_fc = d->block_fc};
    int code = bl_graph_create(&graph, NULL, 1, true);
    b.graph = graph;
    struct blanch_tensor *x = code ? NULL : bl_graph_input(graph, d->channels, d->height, d->width);
    const struct blanch_tensor *logits = bl_description_build(&b, x, d);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code && logits->h * logits->w != 1)
        code = bl_fail(BLANCH_EINPUT, "the logits are %lld x %lld x %lld; they must be N x 1 x 1", (long long)logits->c,
                       (long long)logits->h, (long long)logits->w);
    if (!code) code = check_number(d->json, "num_classes", d->classes = (int)logits->c);
    if (!code) code = check_number(d->json, "trainable", bl_graph_trainable(graph));
    bl_graph_free(graph);
    return code;
}

int bl_description_read(struct bl_description *d, const cJSON *json) {
    static const char *const keys[] = {"block_fc", NULL};
    const cJSON *nd = item(json, "nd");
    int size[3];
    *d = (struct bl_description){.json = json, .block_fc = BL_USUAL_BLOCK_FC, .nd = has_nd(json)};
    int code = read_sizes(item(json, "input"), "the description", "input", size);
    if (!code && nd && !cJSON_IsObject(nd)) code = bl_fail(BLANCH_EINPUT, "\"nd\" is not an object");
    if (!code && nd) code = bl_json_keys(nd, keys, "\"nd\"", "setting");
    if (!code) code = read_count(nd, "block_fc", 4096, &d->block_fc);
    if (code) return code;
    d->channels = size[0], d->height = size[1], d->width = size[2];
    return try(d);
}
