/* A network of a JSON description. Its nodes are read first, then built one by one; the layers and batch norms through
 * the builders that apply the rule of deconvolution. */
#include "base/text.h"
#include "graph/described_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *item(const cJSON *object, const char *key) {
    return bl_described_item(object, key);
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
    if (!strcmp(op->name, "embedding") || !strcmp(op->name, "number_embedding")) return NULL; // they say what comes out
    return count_field(op, attrs, (const char *const[]){"in_channels", "in_features", "channels", NULL});
}
static int *outputs_of(const struct bl_op *op, void *attrs) {
    return count_field(op, attrs, (const char *const[]){"out_channels", "out_features", NULL});
}

/* Back from the logits, or what the loss of images compares, over what keeps its channels apart to the layer that makes
 * them. */
static int find_head(const struct described *d) {
    int at = d->rows - 1;
    if (d->description->generates) at = d->row[at].in[0].row;
    while (d->row[at].op && d->row[at].inputs == 1 && d->row[at].op->role != BL_ROLE_LAYER) {
        const struct bl_op *op = d->row[at].op;
        if (op->role == BL_ROLE_SHAPE && strcmp(op->name, "flatten")) break;
        at = d->row[at].in[0].row;
    }
    return at;
}

static int check_classes(const struct described *d, const struct blanch_tensor *logits) {
    const int wanted = d->b->classes;
    const struct blanch_tensor *x = d->row[0].value;
    const bool pixels = logits->h == x->h && logits->w == x->w; // have logits each
    if (!wanted || (pixels ? logits->c : logits->c * logits->h * logits->w) == wanted) return 0;
    const struct row *row = &d->row[d->head < 0 ? d->rows - 1 : d->head];
    if (wanted == d->description->classes)
        return bl_fail(BLANCH_EINPUT, "node '%s': the logits of images of this size are %lld x %lld x %lld, not %d",
                       row->id, (long long)logits->c, (long long)logits->h, (long long)logits->w, wanted);
    return bl_fail(BLANCH_EINPUT,
                   "node '%s': %d classes cannot become %d: the logits do not come from a linear layer or a 1x1 "
                   "convolution, one each",
                   row->id, d->description->classes, wanted);
}

/* Channels that are left out, or that may be others, are what the input has. A layer that whitens all of them in one
 * block goes on doing so. */
static void fit(const struct described *d, int at, const struct blanch_tensor *x, void *attrs) {
    const struct bl_op *op = d->row[at].op;
    int *in = inputs_of(op, attrs), *out = outputs_of(op, attrs), before = in ? *in : 0;
    if (in && (d->fits || !*in)) *in = (int)x->c;
    if (in && op->nd_offset && before && before != *in) {
        struct bl_nd_attrs *nd = (void *)((char *)attrs + op->nd_offset);
        nd->block = nd->block == before ? *in : bl_build_block(nd->block, *in);
    }
    if (out && at == d->head) *out = d->description->generates ? d->b->image[0] : d->b->classes;
    if (!strcmp(op->name, "embedding") && d->b->classes) ((struct bl_embedding_attrs *)attrs)->count = d->b->classes;
}

static int check_out(const struct described *d, const struct row *row) {
    const struct blanch_tensor *t = row->value;
    int size[3];
    char where[BL_WHERE];
    bl_described_where(row, where);
    if (d->fits || !item(row->json, "out")) return 0;
    int code = bl_described_sizes(item(row->json, "out"), where, "out", size);
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
    const bool layer = row->op->role == BL_ROLE_LAYER && !row->op->nd_offset;
    *rule = (struct bl_nd_rule){.keep = cJSON_IsTrue(keep), .freeze = cJSON_IsTrue(item(nd, "freeze"))};
    if (keep && !cJSON_IsBool(keep)) return bl_fail(BLANCH_EINPUT, "\"keep\" is not true or false");
    if (keep && !layer && strcmp(row->op->name, "batchnorm2d"))
        return bl_fail(BLANCH_EINPUT,
                       "\"keep\" is for conv2d, conv_transpose2d, linear and batchnorm2d: the others stay as "
                       "they are");
    if (nd && (!cJSON_IsObject(nd) || !layer))
        return bl_fail(BLANCH_EINPUT, "\"nd\" is an object with settings of a conv2d, conv_transpose2d or linear");
    int code = nd ? bl_json_keys(nd, keys, "\"nd\"", "setting") : 0;
    if (!code) code = read_count(nd, "block", 4096, &rule->block);
    if (!code) code = read_count(nd, "n_iter", BL_MOST_ITERATIONS, &rule->n_iter);
    if (code) return code;
    if (item(nd, "freeze") && (!cJSON_IsBool(item(nd, "freeze")) || strcmp(row->op->name, "conv2d")))
        return bl_fail(BLANCH_EINPUT, "\"nd\": \"freeze\" is true or false, of a conv2d alone");
    if (!name || strlen(name) > BL_LONGEST_NAME)
        return bl_fail(BLANCH_EINPUT, "\"nd\": \"name\" is not a text of up to %d characters", BL_LONGEST_NAME);
    if (bl_text_show(NULL, 0, name) != strlen(name))
        return bl_fail(BLANCH_EINPUT, "\"nd\": \"name\", '%s', has characters that are not to be shown", name);
    snprintf(rule->name, sizeof rule->name, "%s", name);
    return 0;
}

/* --- concatenation ---------------------------------------------------------------------------- */

/* How many of the first, or last, inputs are all those of another row, in order. */
static int shared(const struct described *d, const struct row *other, struct blanch_tensor **in, int count, bool last) {
    const int whole = other->inputs;
    if (other->op != bl_op_find("cat") || whole < 2 || whole >= count) return 0;
    for (int i = 0; i < whole; i++) {
        if (other->in[i].row < 0) return 0;
        const struct row *from = &d->row[other->in[i].row];
        const struct blanch_tensor *t = other->in[i].output ? from->node->out[other->in[i].output] : from->value;
        if (t != in[last ? count - whole + i : i]) return 0;
    }
    return whole;
}

/* A long list mostly goes on from one before it, as in a densely connected block. Returns how many are left. */
static int reuse(const struct described *d, const struct row *row, struct blanch_tensor **in) {
    enum { TRIES = 64 };
    int count = row->inputs;
    for (const struct row *other = row - 1; other > d->row && row - other < TRIES; other--) {
        const int first = shared(d, other, in, count, false), last = first ? 0 : shared(d, other, in, count, true);
        if (!first && !last) continue;
        if (first) memmove(in + 1, in + first, sizeof *in * (size_t)(count - first));
        in[first ? 0 : count - last] = other->value;
        return count - first - last + 1;
    }
    return count;
}

/* Any number of inputs, one among them; more than an operation takes are joined in turn. */
static struct blanch_tensor *join(const struct described *d, const struct row *row, struct blanch_tensor **in) {
    int count = reuse(d, row, in);
    if (count == 1) return in[0];
    for (; count > BL_MAX_INPUTS; count -= BL_MAX_INPUTS - 1) {
        if (!(in[0] = bl_graph_add(d->b->graph, "cat", NULL, NULL, in, BL_MAX_INPUTS))) return NULL;
        memmove(in + 1, in + BL_MAX_INPUTS, sizeof *in * (size_t)(count - BL_MAX_INPUTS));
    }
    return bl_graph_add(d->b->graph, "cat", row->name, NULL, in, count);
}

/* --- the node itself -------------------------------------------------------------------------- */

/* What a run decides of layers that are deconvolution's already; the rest they say themselves. */
static void take_settings(const struct blanch_nd_options *o, const struct bl_op *op, void *attrs) {
    struct bl_nd_attrs *nd = (void *)((char *)attrs + op->nd_offset);
    if (!op->nd_offset) return;
    if (o->refresh) nd->refresh = o->refresh;
    if (o->constant_gradient) nd->constant_grad = o->constant_gradient > 0;
    if (o->freeze && nd->freeze_iter) nd->freeze = o->freeze > 0;
}

static struct blanch_tensor *build(const struct described *d, const struct row *row, void *attrs,
                                   struct blanch_tensor **in, const struct bl_nd_rule *rule) {
    const char *op = row->op->name;
    if (!strcmp(op, "cat") && row->inputs) return join(d, row, in);
    const bool layer = !d->description->nd && row->inputs == 1;
    if (layer && !strcmp(op, "conv2d"))
        return bl_build_conv2d(d->b, row->name, *in, *(struct bl_conv_attrs *)attrs, rule);
    if (layer && !strcmp(op, "linear"))
        return bl_build_linear(d->b, row->name, *in, *(struct bl_linear_attrs *)attrs, rule);
    if (layer && !strcmp(op, "conv_transpose2d"))
        return bl_build_conv_transpose2d(d->b, row->name, *in, *(struct bl_conv_transpose_attrs *)attrs, rule);
    if (layer && !strcmp(op, "batchnorm2d"))
        return bl_build_batchnorm2d(d->b, row->name, *in, *(struct bl_batchnorm_attrs *)attrs, rule->keep);
    if (layer && !strcmp(op, "layernorm"))
        return bl_build_layernorm(d->b, row->name, *in, *(struct bl_layernorm_attrs *)attrs);
    if (layer && !strcmp(op, "group_norm"))
        return bl_build_group_norm(d->b, row->name, *in, *(struct bl_group_norm_attrs *)attrs);
    if (layer && !strcmp(op, "flatten")) return bl_build_flatten(d->b, row->name, *in);
    take_settings(&d->b->nd, row->op, attrs);
    return bl_graph_add(d->b->graph, op, row->name, attrs, in, row->inputs);
}

/* --- building --------------------------------------------------------------------------------- */

static struct blanch_tensor *labels_of(struct bl_graph *graph) {
    struct blanch_tensor *labels = bl_graph_labels(graph);
    return labels ? labels : bl_graph_input_labels(graph);
}

static int find_inputs(const struct described *d, const struct row *row, struct blanch_tensor **in) {
    for (int i = 0; i < row->inputs; i++) {
        if (row->in[i].row < 0) {
            if (!(in[i] = labels_of(d->b->graph))) return d->b->graph->error;
            continue;
        }
        const struct row *from = &d->row[row->in[i].row];
        const int output = row->in[i].output;
        in[i] = output ? NULL : from->value;
        if (output == 2) in[i] = from->given;
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
    struct blanch_tensor **in = bl_calloc((size_t)row->inputs + 1, sizeof *in);
    struct bl_nd_rule rule;
    const size_t before = graph->node_count;
    void *attrs = bl_calloc(1, row->op->attrs_size + 1);
    int code = attrs && in ? find_inputs(d, row, in) : BLANCH_ENOMEM;
    if (!code &&
        ((code = bl_attrs_from_json(row->op, item(row->json, "attrs"), attrs)) || (code = read_rule(row, &rule))))
        bl_fail_in(code, "node '%s'", row->id);
    if (!code && row->inputs) fit(d, at, in[0], attrs);
    if (!code && !(row->value = build(d, row, attrs, in, &rule))) code = graph->error;
    free(attrs), free(in);
    if (code) return code;
    if (graph->node_count > before) row->node = graph->nodes[graph->node_count - 1];
    for (size_t i = before; i < graph->node_count; i++) { // a layer may be more than one
        if (graph->nodes[i]->params) row->node = graph->nodes[i];
        graph->nodes[i]->idle |= row->unused || (d->result && !row->needed);
    }
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

/* What is never run comes first: the last node gives what is wanted. */
static int build_part(struct described *d, struct blanch_tensor *x) {
    int code = bl_described_give(d, x);
    for (int needed = 0; needed <= 1; needed++)
        for (int i = 1; i < d->rows && !code; i++)
            if (i != d->source && d->row[i].needed == needed && !d->row[i].left_out) code = add_row(d, i);
    return code;
}

static int build_whole(struct described *d, struct blanch_tensor *x) {
    d->row[0].value = x;
    int code = d->row[0].json ? check_out(d, &d->row[0]) : 0;
    for (int i = 1; i < d->rows && !code; i++) code = add_row(d, i);
    return !code && d->source ? bl_described_parts(d) : code;
}

static int read_orders(struct described *d) {
    int rank = 0, code = read_order(d, "parameters", true, &rank);
    if (!code) code = read_order(d, "buffers", false, &rank);
    for (int i = 1; i < d->rows && d->source; i++) // a part's nodes stand in another order than the whole's
        if (d->row[i].node && !d->row[i].node->rank) d->row[i].node->rank = ++rank;
    return code;
}

static int build_all(struct described *d, struct blanch_tensor *x, struct blanch_tensor **logits) {
    int code = bl_described_rows(d);
    if (!code) code = check_norm(d);
    if (!code && d->description->generates) code = bl_described_part(d);
    if (code) return code;
    if (d->description->generates ? d->fits : d->b->classes && d->b->classes != d->description->classes)
        d->head = find_head(d), d->fits = true;
    code = d->result ? build_part(d, x) : build_whole(d, x);
    if (code) return code;
    const struct row *last = &d->row[d->result ? d->result : d->rows - 1];
    *logits = last->value;
    const struct bl_graph *graph = d->b->graph;
    if (!graph->node_count || graph->nodes[graph->node_count - 1]->out[0] != *logits)
        return bl_fail(BLANCH_EINPUT, "node '%s': without batch norm the last node would not give the logits",
                       last->id);
    if (!d->source && (code = check_classes(d, *logits))) return code;
    return read_orders(d);
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
    d.fits = of->generates ? b->image[0] != of->channels || b->image[1] != of->height || b->image[2] != of->width ||
                                 b->classes != of->classes
                           : x->c != of->channels || x->h != of->height || x->w != of->width;
    d.turned = !of->nd && b->norm != BLANCH_BN;
    int code = build_all(&d, x, &logits);
    bl_described_free(&d);
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

static int check_logits(struct bl_description *d, const struct blanch_tensor *logits) {
    if (logits->h * logits->w != 1 && (logits->h != d->height || logits->w != d->width))
        return bl_fail(BLANCH_EINPUT, "the logits are %lld x %lld x %lld; they must be N x 1 x 1, or N x %d x %d",
                       (long long)logits->c, (long long)logits->h, (long long)logits->w, d->height, d->width);
    return check_number(d->json, "num_classes", d->classes = (int)logits->c);
}

/* Of a network that generates: it may be told of classes, and if not, there may be any number. */
static int check_noise(struct bl_description *d, const struct bl_graph *graph) {
    bl_described_noise(graph, d);
    if (d->classes) return check_number(d->json, "num_classes", d->classes);
    return d->classes = 1, read_count(d->json, "num_classes", 1 << 20, &d->classes);
}

/* As it says, without a device: all of it, or a part. */
static int try(struct bl_description *d, bool part, bool encodes) {
    struct bl_graph *graph = NULL;
    struct blanch_builder b = {.norm = d->nd ? BLANCH_ND : BLANCH_BN,
                               .block = 64,
                               .block_fc = d->block_fc,
                               .classes = part ? d->classes : 0,
                               .image = {d->channels, d->height, d->width},
                               .samples = part,
                               .encodes = encodes};
    int code = bl_graph_create(&graph, NULL, 1, true);
    b.graph = graph;
    const bool latent = part && !encodes && d->latent[0];
    struct blanch_tensor *x = code     ? NULL
                              : latent ? bl_graph_input(graph, d->latent[0], d->latent[1], d->latent[2])
                                       : bl_graph_input(graph, d->channels, d->height, d->width);
    const struct blanch_tensor *logits = bl_description_build(&b, x, d);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code && !part) code = d->generates ? check_noise(d, graph) : check_logits(d, logits);
    if (!code && !part) code = check_number(d->json, "trainable", bl_graph_trainable(graph));
    bl_graph_free(graph);
    return code;
}

static int read_number(const cJSON *json, const char *key, double least, double most, float *value) {
    const cJSON *number = item(json, key);
    if (number && !(cJSON_IsNumber(number) && number->valuedouble >= least && number->valuedouble <= most))
        return bl_fail(BLANCH_EINPUT, "\"%s\" is not a number from %g to %g", key, least, most);
    if (number) *value = (float)number->valuedouble;
    return 0;
}

/* It ends in a loss of images. */
static int read_task(struct bl_description *d) {
    const cJSON *nodes = item(d->json, "graph");
    const cJSON *last = cJSON_IsArray(nodes) ? cJSON_GetArrayItem(nodes, cJSON_GetArraySize(nodes) - 1) : NULL;
    const char *name = cJSON_GetStringValue(item(last, "op")), *said = cJSON_GetStringValue(item(d->json, "task"));
    const struct bl_op *op = name ? bl_op_find(name) : NULL;
    d->generates = op && op->role == BL_ROLE_LOSS && op != bl_op_find("softmax_cross_entropy");
    if (said && !strcmp(said, "generate") && !d->generates)
        return bl_fail(BLANCH_EINPUT, "\"task\" is to generate, and the last node is no loss of images");
    d->deviation = 1;
    int code = d->generates ? read_number(d->json, "mean", -1000, 1000, &d->mean) : 0;
    return !code && d->generates ? read_number(d->json, "deviation", 1e-3, 1000, &d->deviation) : code;
}

int bl_description_read(struct bl_description *d, const cJSON *json) {
    static const char *const keys[] = {"block_fc", NULL};
    const cJSON *nd = item(json, "nd");
    int size[3];
    *d = (struct bl_description){.json = json, .block_fc = BL_USUAL_BLOCK_FC, .nd = has_nd(json)};
    int code = bl_described_sizes(item(json, "input"), "the description", "input", size);
    if (!code) code = read_task(d);
    if (!code && nd && !cJSON_IsObject(nd)) code = bl_fail(BLANCH_EINPUT, "\"nd\" is not an object");
    if (!code && nd) code = bl_json_keys(nd, keys, "\"nd\"", "setting");
    if (!code) code = read_count(nd, "block_fc", 4096, &d->block_fc);
    if (code) return code;
    d->channels = size[0], d->height = size[1], d->width = size[2];
    code = try(d, false, false);
    if (!code && d->generates) code = try(d, true, false);
    return !code && d->latent[0] ? try(d, true, true) : code;
}
