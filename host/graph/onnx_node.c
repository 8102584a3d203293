/* What operations ask of a node of an ONNX file: its attributes, its inputs, and to be added to the network. */
#include "graph/onnx_internal.h"
#include "base/text.h"
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_JOINED = 1 << 12 }; // inputs of a Concat

/* --- saying no -------------------------------------------------------------------------------- */

int bl_onnx_other(struct bl_onnx_reader *r) {
    r->other = true;
    return 0;
}

int bl_onnx_refuse(struct bl_onnx_reader *r, const char *why, ...) {
    char text[512];
    va_list args;
    if (r->code) return r->code;
    va_start(args, why);
    vsnprintf(text, sizeof text, why, args);
    va_end(args);
    return r->code = bl_fail(BLANCH_EINPUT, "%s", text);
}

/* --- attributes ------------------------------------------------------------------------------- */

static const struct bl_onnx_attribute *attribute(const struct bl_onnx_node *n, const char *name) {
    for (int i = 0; i < n->attributes; i++)
        if (!strcmp(n->attribute[i].name, name)) return &n->attribute[i];
    return NULL;
}

int64_t bl_onnx_int(const struct bl_onnx_node *n, const char *name, int64_t otherwise) {
    const struct bl_onnx_attribute *a = attribute(n, name);
    return a && a->kind == BL_ONNX_INT ? a->i : otherwise;
}

float bl_onnx_float(const struct bl_onnx_node *n, const char *name, float otherwise) {
    const struct bl_onnx_attribute *a = attribute(n, name);
    return a && a->kind == BL_ONNX_FLOAT ? a->f : otherwise;
}

const char *bl_onnx_text(const struct bl_onnx_node *n, const char *name, const char *otherwise) {
    const struct bl_onnx_attribute *a = attribute(n, name);
    return a && a->kind == BL_ONNX_TEXT ? a->text : otherwise;
}

void bl_onnx_ints(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const char *name, int otherwise, int *out,
                  int count) {
    const struct bl_onnx_attribute *a = attribute(n, name);
    for (int i = 0; i < count; i++) {
        int64_t value = otherwise;
        if (a && (a->kind != BL_ONNX_INTS || a->count != count))
            bl_onnx_refuse(r, "%s is not %d whole numbers", name, count);
        else if (a)
            value = a->ints[i];
        if (value < INT_MIN || value > INT_MAX) bl_onnx_refuse(r, "%s is beyond what can be", name);
        out[i] = (int)value;
    }
}

/* --- inputs ----------------------------------------------------------------------------------- */

bool bl_onnx_has(const struct bl_onnx_node *n, int input) {
    return input < n->inputs && *n->input[input];
}

const struct value *bl_onnx_input(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    static const struct value none = {.name = "", .user = -1};
    const struct value *value = bl_onnx_has(n, input) ? bl_onnx_find(r, n->input[input]) : NULL;
    return value ? value : &none;
}

bool bl_onnx_is_tensor(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    return bl_onnx_input(r, n, input)->known == TENSOR;
}

struct blanch_tensor *bl_onnx_tensor(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    const struct value *value = bl_onnx_input(r, n, input);
    if (value->known == TENSOR) return value->tensor;
    bl_onnx_refuse(r, "its input %d is not computed from the images", input);
    return NULL;
}

enum bl_onnx_view bl_onnx_view(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    return bl_onnx_input(r, n, input)->view;
}

struct blanch_tensor *bl_onnx_image(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    struct blanch_tensor *x = bl_onnx_tensor(r, n, input);
    const enum bl_onnx_view view = bl_onnx_view(r, n, input);
    const bool pixel = x && x->h * x->w == 1 && (view == BL_ONNX_FLAT || view == BL_ONNX_NHWC);
    if (x && view != BL_ONNX_NCHW && !pixel)
        bl_onnx_refuse(r, "its input %d is not of (batch, channels, height, width)", input);
    return x;
}

/* Up to BL_ONNX_WHOLE of them, of any type of whole numbers. */
bool bl_onnx_whole_of(const struct value *value, int64_t out[BL_ONNX_WHOLE], int *count) {
    const int64_t elements = value->dims ? value->shape[0] : 1;
    if (value->dims > 1 || elements < 0 || elements > BL_ONNX_WHOLE) return false;
    *count = (int)elements;
    if (value->known == VALUES) return !bl_st_int64s(value->values, out, elements);
    for (int i = 0; i < *count; i++) out[i] = value->known == WHOLE ? value->whole[i] : (int64_t)value->number;
    return value->known == WHOLE || (value->known == SPLAT && fabs(value->number) < 1e15);
}

bool bl_onnx_number_of(const struct value *value, double *number) {
    int64_t elements = 1;
    float one;
    if (value->known == SPLAT) return *number = value->number, true;
    for (int i = 0; i < value->dims; i++) elements *= value->shape[i];
    if (elements != 1) return false;
    if (value->known == WHOLE) return *number = (double)value->whole[0], true;
    if (value->known != VALUES || bl_st_floats(value->values, &one, 1)) return false;
    return *number = (double)one, true;
}

bool bl_onnx_number(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, double *value) {
    return bl_onnx_number_of(bl_onnx_input(r, n, input), value);
}

bool bl_onnx_whole(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, int64_t out[BL_ONNX_WHOLE],
                   int *count) {
    return bl_onnx_whole_of(bl_onnx_input(r, n, input), out, count);
}

bool bl_onnx_numbers(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, float out[BL_ONNX_WHOLE],
                     int *count) {
    const struct value *value = bl_onnx_input(r, n, input);
    int64_t whole[BL_ONNX_WHOLE];
    if (bl_onnx_whole_of(value, whole, count)) {
        for (int i = 0; i < *count; i++) out[i] = (float)whole[i];
        return true;
    }
    if (value->known != VALUES || value->dims != 1 || value->shape[0] > BL_ONNX_WHOLE) return false;
    *count = (int)value->shape[0];
    return !bl_st_floats(value->values, out, value->shape[0]);
}

int bl_onnx_sizes(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, int64_t sizes[BL_ONNX_DIMS]) {
    const struct value *value = bl_onnx_input(r, n, input);
    if (value->known != VALUES && value->known != SPLAT) return 0;
    memcpy(sizes, value->shape, sizeof value->shape);
    return value->dims;
}

bool bl_onnx_all(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, float number) {
    const struct value *value = bl_onnx_input(r, n, input);
    if (value->known == SPLAT) return (float)value->number == number;
    if (value->known != VALUES) return false;
    const int64_t count = (int64_t)(value->values->bytes / bl_type_bytes(value->values->dtype));
    float *floats = bl_onnx_take(r, (size_t)count, sizeof *floats);
    if (!floats || bl_st_floats(value->values, floats, count)) return false;
    for (int64_t i = 0; i < count; i++)
        if (floats[i] != number) return false;
    return true;
}

bool bl_onnx_is_zero(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    const struct value *value = bl_onnx_input(r, n, input);
    return value->known == SPLAT && value->number == 0;
}

bool bl_onnx_mask(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, float *keep, bool *by_image) {
    const struct value *value = bl_onnx_input(r, n, input);
    if (value->known != MASK || !value->scaled) return false;
    const struct value *x = bl_onnx_input(r, n, !input);
    const size_t each = sizeof *x->shape * (size_t)(x->dims > 1 ? x->dims - 1 : 0);
    *keep = (float)value->number;
    *by_image = true;
    for (int i = 1; i < value->dims; i++) *by_image = *by_image && value->shape[i] == 1;
    if (x->known == TENSOR && value->dims == x->dims && value->shape[0] == x->shape[0] &&
        (*by_image || !memcmp(value->shape + 1, x->shape + 1, each)))
        return true;
    bl_onnx_refuse(r, "its random mask is one of channels or of the batch, not of values or of images");
    return false;
}

bool bl_onnx_is_parameter(const struct bl_onnx_reader *r, const struct value *value) {
    const uintptr_t at = (uintptr_t)value->values, first = (uintptr_t)r->model->initialiser;
    if (value->known == VALUES && value->parameter) return true;
    return value->known == VALUES && at >= first && at < (uintptr_t)(r->model->initialiser + r->model->initialisers);
}

/* --- what comes after ------------------------------------------------------------------------- */

int bl_onnx_index(const struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return (int)(n - r->model->node);
}

bool bl_onnx_is_signed(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    const struct value *value = bl_onnx_input(r, n, input);
    return value->known == VALUES && value->values->dtype != BL_U8 && value->values->dtype != BL_U16;
}

const struct bl_onnx_node *bl_onnx_maker(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input) {
    for (int i = bl_onnx_index(r, n) - 1; i >= 0; i--)
        for (int k = 0; k < r->model->node[i].outputs; k++)
            if (!strcmp(r->model->node[i].output[k], n->input[input])) return &r->model->node[i];
    return NULL;
}

/* The only one of several that takes a value, where the others ask for its type alone. */
static const struct bl_onnx_node *taker(struct bl_onnx_reader *r, const struct value *value) {
    const struct bl_onnx_node *only = NULL;
    int found = 0;
    for (int i = value->user; i >= 0 && i < r->model->nodes && found < value->uses; i++) {
        const struct bl_onnx_node *n = &r->model->node[i];
        for (int k = 0; r->live[i] && k < n->inputs; k++) {
            if (strcmp(n->input[k], value->name)) continue;
            found++;
            if (k == 1 && !strcmp(n->type, "CastLike")) continue;
            if (only) return NULL;
            only = n;
        }
    }
    return found == value->uses ? only : NULL; // else the network gives it
}

const struct bl_onnx_node *bl_onnx_user(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *out = n->outputs ? bl_onnx_find(r, n->output[0]) : NULL;
    if (out && out->uses > 1) return taker(r, out);
    return out && out->uses == 1 && out->user >= 0 ? &r->model->node[out->user] : NULL;
}

bool bl_onnx_gates(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct bl_onnx_node *user = bl_onnx_user(r, n);
    if (!user || strcmp(user->type, "Mul") || user->inputs != 2) return false;
    const int own = !strcmp(user->input[1], n->output[0]);
    return !strcmp(user->input[!own], n->input[0]);
}

void bl_onnx_absorb(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct bl_onnx_node *later) {
    r->absorbed[bl_onnx_index(r, later)] = bl_onnx_index(r, n);
}

/* --- giving ----------------------------------------------------------------------------------- */

int bl_onnx_give(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output, const struct value *value) {
    struct value *to = output < n->outputs && *n->output[output] ? bl_onnx_find(r, n->output[output]) : NULL;
    if (r->code || !to) return r->code;
    const struct value kept = *to;
    *to = *value;
    to->name = kept.name, to->uses = kept.uses, to->user = kept.user;
    return 0;
}

int bl_onnx_give_tensor(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output, struct blanch_tensor *t,
                        enum bl_onnx_view view, int groups) {
    if (r->code) return r->code;
    const int64_t b = r->batch, g = groups, c = t->c, h = t->h, w = t->w;
    struct value value = {.known = TENSOR, .tensor = t, .view = view, .groups = groups};
    const int64_t all = b == FREE ? FREE : b * c * h * w;
    const struct {
        int dims;
        int64_t shape[5];
    } views[] = {[BL_ONNX_NCHW] = {4, {b, c, h, w}},
                 [BL_ONNX_NHWC] = {4, {b, h, w, c}},
                 [BL_ONNX_FLAT] = {2, {b, c}},
                 [BL_ONNX_GROUPED] = {5, {b, g, g ? c / g : 0, h, w}},
                 [BL_ONNX_SHUFFLED] = {5, {b, g ? c / g : 0, g, h, w}},
                 [BL_ONNX_ALL] = {1, {all}},
                 [BL_ONNX_TOKENS] = {3, {b, h * w, c}},
                 [BL_ONNX_COLUMNS] = {3, {b, c, h * w}}};
    value.dims = views[view].dims;
    memcpy(value.shape, views[view].shape, sizeof views[view].shape);
    return bl_onnx_give(r, n, output, &value);
}

int bl_onnx_pend(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, const char *stage) {
    struct value value = *bl_onnx_input(r, n, input);
    if (value.known != TENSOR && value.known != PENDING)
        return bl_onnx_refuse(r, "its input %d is not computed from the images", input);
    value.known = PENDING, value.stage = stage;
    return bl_onnx_give(r, n, 0, &value);
}

struct blanch_tensor *bl_onnx_pending(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input,
                                      const char *stage) {
    const struct value *value = bl_onnx_input(r, n, input);
    return value->known == PENDING && !strcmp(value->stage, stage) ? value->tensor : NULL;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* What an initialiser's name says of its node: "layer1.0.conv1" of "layer1.0.conv1.weight"; false: nothing. */
static bool prefix_of(const char *called, const char *param, char *name, size_t size) {
    const size_t whole = strlen(called), end = strlen(param);
    if (whole <= end + (*param != 0) || strcmp(called + whole - end, param)) return false;
    const size_t length = whole - end - (*param != 0);
    if ((*param && called[length] != '.') || length >= size) return false;
    memcpy(name, called, length);
    name[length] = 0;
    return true;
}

static const char *name_of(struct bl_onnx_reader *r, const struct bl_onnx_param *params, char *name, size_t size) {
    for (; params && params->name; params++) {
        const struct value *value = bl_onnx_input(r, params->node, params->input);
        if (value->known == VALUES && prefix_of(value->called, params->name, name, size)) return name;
    }
    return NULL;
}

static bool is_taken(const struct bl_graph *graph, const char *name) {
    for (int i = 0; name && i < bl_graph_nodes(graph); i++)
        if (!strcmp(bl_graph_node(graph, i)->name, name)) return true;
    return false;
}

static struct bl_param *param_of(const struct bl_node *node, const char *name) {
    const size_t prefix = strlen(node->name) + (*name != 0);
    for (int i = 0; i < node->params; i++)
        if (!strcmp(node->param[i]->name + prefix, name)) return node->param[i];
    for (int i = 0; i < node->buffers; i++)
        if (!strcmp(node->buffer[i]->name + prefix, name)) return node->buffer[i];
    return NULL;
}

/* Its sizes, less those of 1 at the ends, are the parameter's. */
static bool fits(const struct bl_param *param, const struct value *value, bool transposed) {
    int64_t product = 1;
    for (int i = 0; i < value->dims; i++) product *= value->shape[i];
    if (param->data.count != product) return false;
    if (param->dims == 1 || param->dims == 3) return true;
    for (int i = 0; i < param->dims; i++)
        if (value->dims != param->dims || value->shape[transposed ? 1 - i : i] != param->shape[i]) return false;
    return true;
}

/* (columns, rows) as (rows, columns). */
static int turn(struct bl_onnx_reader *r, float *values, int64_t rows, int64_t columns) {
    float *from = bl_onnx_take(r, (size_t)(rows * columns), sizeof *from);
    if (!from) return r->code = BLANCH_ENOMEM;
    memcpy(from, values, (size_t)(rows * columns) * sizeof *from);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < columns; k++) values[i * columns + k] = from[k * rows + i];
    return 0;
}

static bool is_floating(const struct bl_st_tensor *tensor) {
    return tensor->dtype == BL_F32 || tensor->dtype == BL_F64 || tensor->dtype == BL_F16 || tensor->dtype == BL_BF16;
}

static int keep_value(struct bl_onnx_reader *r, const struct bl_param *param, const struct bl_onnx_param *from) {
    const struct value *value = bl_onnx_input(r, from->node, from->input);
    struct bl_onnx_network *out = r->out;
    if (value->known == SPLAT || (value->known == VALUES && !bl_onnx_is_parameter(r, value)))
        return bl_onnx_refuse(r, "its %s is a constant, not a parameter", from->name);
    if (value->known != VALUES || !fits(param, value, from->transposed))
        return bl_onnx_refuse(r, "its %s is not among the file's values, or of other sizes", from->name);
    if (!is_floating(value->values)) return bl_onnx_refuse(r, "its %s is not of floating-point numbers", from->name);
    int code = bl_grow((void **)&out->values, &r->value_capacity, (size_t)out->value_count + 1, sizeof *out->values);
    if (code) return r->code = code;
    const size_t bytes = (size_t)param->data.count * sizeof(float);
    float *data = bl_malloc(bytes);
    struct bl_st_tensor *to = &out->values[out->value_count++];
    *to = (struct bl_st_tensor){.name = bl_strdup(param->name), .dims = param->dims, .data = data, .bytes = bytes};
    memcpy(to->shape, param->shape, sizeof param->shape);
    if (!to->name || !data) return r->code = BLANCH_ENOMEM;
    if ((r->code = bl_st_floats(value->values, data, param->data.count))) return r->code;
    return from->transposed != value->transposed && param->dims == 2 ? turn(r, data, param->shape[0], param->shape[1])
                                                                     : 0;
}

int bl_onnx_add(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const void *attrs,
                struct blanch_tensor *const *in, int count, const struct bl_onnx_param *params,
                enum bl_onnx_view view) {
    char buffer[sizeof((struct bl_node *)0)->name];
    if (r->code) return r->code;
    const char *name = name_of(r, params, buffer, sizeof buffer);
    if (is_taken(r->graph, name)) return bl_onnx_refuse(r, "it shares its weights with %s", name);
    struct bl_node *node = bl_graph_add_node(r->graph, r->op, name, attrs, in, count);
    if (!node) return r->code = BLANCH_EINPUT;
    for (; params && params->name; params++) {
        const struct bl_param *param = param_of(node, params->name);
        if (param && keep_value(r, param, params)) return r->code;
    }
    for (int i = 0; i < node->outputs; i++) bl_onnx_give_tensor(r, n, i, node->out[i], view, 0);
    return r->code;
}

/* A cat that joins the first inputs, the more the better; how many those are. */
static int find_cat(const struct bl_onnx_reader *r, struct blanch_tensor *const *in, int count,
                    struct blanch_tensor **out) {
    int best = 0;
    for (size_t i = 0; i < r->cat_count; i++) {
        const struct cat *cat = &r->cats[i];
        if (cat->count <= best || cat->count > count || memcmp(cat->in, in, sizeof *in * (size_t)cat->count)) continue;
        best = cat->count;
        *out = cat->out;
    }
    return best;
}

static int keep_cat(struct bl_onnx_reader *r, struct blanch_tensor *const *in, int count, struct blanch_tensor *out) {
    int code = bl_grow((void **)&r->cats, &r->cat_capacity, r->cat_count + 1, sizeof *r->cats);
    struct blanch_tensor **copy = code ? NULL : bl_onnx_take(r, (size_t)count, sizeof *copy);
    if (!copy) return r->code = BLANCH_ENOMEM;
    memcpy(copy, in, sizeof *in * (size_t)count);
    r->cats[r->cat_count++] = (struct cat){copy, out, count};
    return 0;
}

/* What an exporter joins of many is mostly what was joined before, and one more: densenet. So the longest beginning
 * that is there already is taken as it is, and the rest is joined as many at a time as can be. */
int bl_onnx_add_joined(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor **in = bl_onnx_take(r, (size_t)n->inputs, sizeof *in), *out = NULL;
    if (!in) return r->code = BLANCH_ENOMEM;
    if (n->inputs > MOST_JOINED) return bl_onnx_refuse(r, "it joins more than %d", MOST_JOINED);
    for (int i = 0; i < n->inputs; i++) in[i] = bl_onnx_tensor(r, n, i);
    if (r->code) return r->code;
    int done = n->inputs > 1 ? find_cat(r, in, n->inputs, &out) : 0;
    if (!done) out = in[0], done = 1;
    while (done < n->inputs && !r->code) {
        struct blanch_tensor *some[BL_MAX_INPUTS] = {out};
        int count = 1;
        while (count < BL_MAX_INPUTS && done < n->inputs) some[count++] = in[done++];
        struct bl_node *node = bl_graph_add_node(r->graph, r->op, NULL, NULL, some, count);
        if (!node) return r->code = BLANCH_EINPUT;
        out = node->out[0];
        keep_cat(r, in, done, out);
    }
    return bl_onnx_give_tensor(r, n, 0, out, bl_onnx_view(r, n, 0), 0);
}

int bl_onnx_add_part(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int output, const void *attrs,
                     struct blanch_tensor *x) {
    const enum bl_onnx_view view = bl_onnx_view(r, n, 0);
    struct bl_node *node = r->code ? NULL : bl_graph_add_node(r->graph, r->op, NULL, attrs, &x, 1);
    if (!node) return r->code ? r->code : (r->code = BLANCH_EINPUT);
    return bl_onnx_give_tensor(r, n, output, node->out[0], view, 0);
}

int bl_onnx_add_binary(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    if (!bl_onnx_is_tensor(r, n, 0) || !bl_onnx_is_tensor(r, n, 1)) return bl_onnx_other(r);
    const struct value a = *bl_onnx_input(r, n, 0), b = *bl_onnx_input(r, n, 1);
    struct blanch_tensor *in[] = {a.tensor, b.tensor};
    if (a.view != b.view || a.groups != b.groups) bl_onnx_image(r, n, 0), bl_onnx_image(r, n, 1);
    if (a.dims != b.dims) return bl_onnx_refuse(r, "its inputs have %d and %d sizes", a.dims, b.dims);
    struct bl_node *node = r->code ? NULL : bl_graph_add_node(r->graph, r->op, NULL, NULL, in, 2);
    if (!node) return r->code ? r->code : (r->code = BLANCH_EINPUT);
    return bl_onnx_give_tensor(r, n, 0, node->out[0], a.view, a.groups);
}

int bl_onnx_add_unary(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int input, const void *attrs) {
    const struct value in = *bl_onnx_input(r, n, input);
    struct blanch_tensor *x = in.known == PENDING ? in.tensor : bl_onnx_tensor(r, n, input);
    struct bl_node *node = r->code ? NULL : bl_graph_add_node(r->graph, r->op, NULL, attrs, &x, 1);
    if (!node) return r->code ? r->code : (r->code = BLANCH_EINPUT);
    return bl_onnx_give_tensor(r, n, 0, node->out[0], in.view, in.groups);
}
