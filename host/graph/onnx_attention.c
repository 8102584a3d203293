/* The parts of attention in an ONNX file, which are one operation here. Of tokens x (N, T, 3 C), stage by stage:
 *   apart         reshaped to (N, T, 3, heads, D)
 *   by part       turned to (3, N, heads, T, D)
 *   queries, keys, values, each (N, heads, T, D); keys turned (N, heads, D, T), perhaps by way of (N heads, T, D)
 *   scores        queries times keys, all factors 1 / sqrt(D), perhaps with a mask that hides what comes after
 *   weights       their softmax
 *   heads         weights times values: the operation, (N, heads, T, D)
 *   heads turned  to (N, T, heads, D), which is reshaped to tokens again */
#include "graph/onnx_internal.h"
#include <math.h>
#include <string.h>

static const char apart[] = "apart", by_part[] = "by part", *const parts[] = {"queries", "keys", "values"},
                  *const parts_of_one[] = {"queries of 1", "keys of 1", "values of 1"}, all_parts[] = "all parts",
                  rows[] = "keys in rows", turned_rows[] = "turned keys in rows", turned_keys[] = "turned keys",
                  scores[] = "scores", weights[] = "weights", heads[] = "heads", turned_heads[] = "turned heads";

static bool is_at(const struct value *x, const char *stage) {
    return x->known == PENDING && !strcmp(x->stage, stage);
}

static int pend(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x, const char *stage,
                int dims, const int64_t *shape) {
    struct value value = *x;
    value.known = PENDING, value.stage = stage, value.dims = dims;
    memcpy(value.shape, shape, sizeof *shape * (size_t)dims);
    return bl_onnx_give(r, n, 0, &value);
}

static int64_t tokens(const struct value *x) {
    return x->tensor->h * x->tensor->w;
}

/* Of a head, while the tensor is that of queries, keys and values. */
static int64_t depth(const struct value *x) {
    return x->tensor->c / 3 / x->groups;
}

/* --- how values lie ----------------------------------------------------------------------------- */

static int reshape_keys(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x) {
    int64_t sizes[BL_ONNX_WHOLE];
    int count;
    const int64_t t = tokens(x), d = depth(x), all[] = {r->batch == FREE ? FREE : r->batch * x->groups, t, d},
                  back[] = {r->batch, x->groups, d, t};
    if (!bl_onnx_whole(r, n, 1, sizes, &count)) return bl_onnx_refuse(r, "the shape it is to have is not known");
    if (is_at(x, parts[1]) && count == 3 && sizes[1] == t && sizes[2] == d && (sizes[0] == -1 || sizes[0] == all[0]))
        return pend(r, n, x, rows, 3, all);
    if (is_at(x, turned_rows) && count == 4 && sizes[1] == x->groups && sizes[2] == d && sizes[3] == t)
        return pend(r, n, x, turned_keys, 4, back);
    return bl_onnx_refuse(r, "it lays the keys of an attention out in a way that is not read");
}

static int reshape(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *in = bl_onnx_input(r, n, 0);
    struct value x = *in;
    int64_t sizes[BL_ONNX_WHOLE];
    int count;
    if (is_at(in, parts[1]) || is_at(in, turned_rows)) return reshape_keys(r, n, in);
    if (x.known == TENSOR && (x.view == BL_ONNX_TOKENS || x.view == BL_ONNX_NHWC)) {
        if (!bl_onnx_resolve(r, n, in, sizes, &count) || count != 5 || sizes[1] != tokens(in) || sizes[2] != 3)
            return bl_onnx_refuse(r, "it is not (batch, tokens, 3, heads, channels of a head)");
        x.groups = (int)sizes[3], x.number = 1, x.scaled = false;
        sizes[0] = r->batch;
        return pend(r, n, &x, apart, 5, sizes);
    }
    if (!is_at(in, turned_heads)) return bl_onnx_other(r);
    const struct blanch_tensor *y = in->tensor;
    if (bl_onnx_resolve(r, n, in, sizes, &count)) {
        if (count == 3 && sizes[1] == tokens(in)) return bl_onnx_give_tensor(r, n, 0, in->tensor, BL_ONNX_TOKENS, 0);
        if (count == 4 && sizes[1] == y->h && sizes[2] == y->w)
            return bl_onnx_give_tensor(r, n, 0, in->tensor, BL_ONNX_NHWC, 0);
    }
    return bl_onnx_refuse(r, "it lays the heads of an attention out in a way that is not read");
}

static int transpose(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    static const struct {
        const char *from, *to;
        int dims, order[5];
    } turns[] = {{apart, by_part, 5, {2, 0, 3, 1, 4}},
                 {"keys", turned_keys, 4, {0, 1, 3, 2}},
                 {rows, turned_rows, 3, {0, 2, 1}},
                 {heads, turned_heads, 4, {0, 2, 1, 3}}};
    const struct value *x = bl_onnx_input(r, n, 0);
    for (int i = 0; i < BL_COUNT(turns); i++) {
        int order[5];
        int64_t shape[5];
        if (!is_at(x, turns[i].from)) continue;
        bl_onnx_ints(r, n, "perm", -1, order, turns[i].dims);
        if (r->code || memcmp(order, turns[i].order, sizeof *order * (size_t)turns[i].dims))
            return bl_onnx_refuse(r, "it turns the axes of an attention in a way that is not read");
        for (int k = 0; k < turns[i].dims; k++) shape[k] = x->shape[order[k]];
        return pend(r, n, x, turns[i].to, turns[i].dims, shape);
    }
    return bl_onnx_other(r);
}

/* --- queries, keys and values ------------------------------------------------------------------- */

static int gather(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0), *at = bl_onnx_input(r, n, 1);
    double index;
    if (!is_at(x, by_part)) return bl_onnx_other(r);
    if (bl_onnx_int(n, "axis", 0) || at->dims || !bl_onnx_number(r, n, 1, &index) || !(index >= -3 && index < 3))
        return bl_onnx_refuse(r, "it takes other parts than queries, keys or values");
    return pend(r, n, x, parts[(int)index + (index < 0 ? 3 : 0)], 4, x->shape + 1);
}

static int split(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0);
    int64_t sizes[BL_ONNX_WHOLE];
    int count = 3;
    if (!is_at(&x, by_part)) return bl_onnx_other(r);
    const bool ones = !bl_onnx_has(n, 1) || (bl_onnx_whole(r, n, 1, sizes, &count) && sizes[0] == 1 && count == 3);
    if (bl_onnx_int(n, "axis", 0) || n->outputs != 3 || !ones)
        return bl_onnx_refuse(r, "it splits otherwise than queries, keys and values");
    for (int i = 0; i < 3; i++) {
        struct value part = x;
        part.stage = parts_of_one[i], part.shape[0] = 1;
        bl_onnx_give(r, n, i, &part);
    }
    return r->code;
}

static int slice(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value x = *bl_onnx_input(r, n, 0);
    double begin, end, axis = 0, step = 1;
    if (!is_at(&x, by_part)) return bl_onnx_other(r);
    if (!bl_onnx_number(r, n, 1, &begin) || !bl_onnx_number(r, n, 2, &end) ||
        (bl_onnx_has(n, 3) && !bl_onnx_number(r, n, 3, &axis)) ||
        (bl_onnx_has(n, 4) && !bl_onnx_number(r, n, 4, &step)) || axis != 0 || step != 1 ||
        !(begin >= 0 && begin < 3) || (end != begin + 1 && !(begin == 2 && end > 2)))
        return bl_onnx_refuse(r, "it takes other parts than queries, keys or values");
    x.stage = parts_of_one[(int)begin], x.shape[0] = 1;
    return bl_onnx_give(r, n, 0, &x);
}

static int squeeze(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    int64_t axes[BL_ONNX_WHOLE];
    int count;
    for (int i = 0; i < 3; i++) {
        if (!is_at(x, parts_of_one[i])) continue;
        if (!bl_onnx_whole(r, n, 1, axes, &count) || count != 1 || (axes[0] != 0 && axes[0] != -5))
            return bl_onnx_refuse(r, "it takes away another size than the first");
        return pend(r, n, x, parts[i], 4, x->shape + 1);
    }
    return bl_onnx_other(r);
}

static int split_to_sequence(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    double part = 1;
    if (!is_at(x, by_part)) return bl_onnx_other(r);
    if (bl_onnx_int(n, "axis", 0) || bl_onnx_int(n, "keepdims", 1) ||
        (bl_onnx_has(n, 1) && (!bl_onnx_number(r, n, 1, &part) || part != 1)))
        return bl_onnx_refuse(r, "it splits otherwise than queries, keys and values");
    return pend(r, n, x, all_parts, 4, x->shape + 1);
}

static int sequence_at(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    double index;
    if (!is_at(x, all_parts)) return bl_onnx_other(r);
    if (!bl_onnx_number(r, n, 1, &index) || !(index >= -3 && index < 3))
        return bl_onnx_refuse(r, "it takes other parts than queries, keys or values");
    return pend(r, n, x, parts[(int)index + (index < 0 ? 3 : 0)], 4, x->shape);
}

/* --- arithmetic --------------------------------------------------------------------------------- */

static int scale(struct bl_onnx_reader *r, const struct bl_onnx_node *n, bool divides) {
    for (int i = 0; i < (divides ? 1 : 2); i++) {
        const struct value *x = bl_onnx_input(r, n, i);
        double factor;
        if (!is_at(x, parts[0]) && !is_at(x, parts[1]) && !is_at(x, turned_keys) && !is_at(x, scores)) continue;
        if (!bl_onnx_number(r, n, !i, &factor)) return bl_onnx_refuse(r, "it scales an attention by what is not known");
        struct value value = *x;
        value.number *= divides ? 1 / factor : factor;
        return bl_onnx_give(r, n, 0, &value);
    }
    return bl_onnx_other(r);
}

static int multiply(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return scale(r, n, false);
}
static int divide(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return scale(r, n, true);
}

/* A mask that hides what comes after a token is what causal attention has. */
static int mask(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0), *m = bl_onnx_input(r, n, 1);
    if (!is_at(x, scores)) return bl_onnx_other(r);
    const int64_t t = tokens(x), count = t * t;
    struct value value = *x;
    bool causal = m->known == VALUES && m->dims >= 2 && m->shape[m->dims - 1] == t && m->shape[m->dims - 2] == t;
    for (int i = 0; i < m->dims - 2; i++) causal = causal && m->shape[i] == 1;
    float *values = causal ? bl_onnx_take(r, (size_t)count, sizeof *values) : NULL;
    if (causal && !values) return r->code = BLANCH_ENOMEM;
    causal = causal && !bl_st_floats(m->values, values, count);
    for (int64_t i = 0; causal && i < count; i++) causal = i % t <= i / t ? values[i] == 0 : values[i] < -1e4f;
    if (!causal) return bl_onnx_refuse(r, "it masks otherwise than what comes after a token");
    value.scaled = true; // causal
    return bl_onnx_give(r, n, 0, &value);
}

static int softmax(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    const int64_t axis = bl_onnx_int(n, "axis", -1);
    if (!is_at(x, scores)) return bl_onnx_other(r);
    if (axis != -1 && axis != 3) return bl_onnx_refuse(r, "it is not over the keys");
    if (fabs(x->number * sqrt((double)depth(x)) - 1) > 1e-4)
        return bl_onnx_refuse(r, "the scores are scaled by %g, not by 1 / sqrt(%lld)", x->number, (long long)depth(x));
    return pend(r, n, x, weights, 4, x->shape);
}

/* Of weights: what an exporter leaves where nothing is dropped. */
static int drop(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    double ratio = 0.5;
    if (!is_at(x, weights)) return bl_onnx_other(r);
    if (bl_onnx_has(n, 1) && !bl_onnx_number(r, n, 1, &ratio)) return bl_onnx_refuse(r, "its ratio is not known");
    return ratio == 0 ? bl_onnx_give(r, n, 0, x) : bl_onnx_refuse(r, "it drops weights of an attention");
}

static int add_attention(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x) {
    const struct bl_attention_attrs attrs = {x->groups, x->scaled};
    struct blanch_tensor *in = x->tensor;
    struct value value = *x;
    const int64_t shape[] = {r->batch, x->groups, tokens(x), depth(x)};
    if (!(r->op = bl_op_find("attention"))) return bl_onnx_refuse(r, "there is no operation attention");
    struct bl_node *node = bl_graph_add_node(r->graph, r->op, NULL, &attrs, &in, 1);
    if (!node) return r->code = BLANCH_EINPUT;
    value.tensor = node->out[0];
    return pend(r, n, &value, heads, 4, shape);
}

static int product(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *a = bl_onnx_input(r, n, 0), *b = bl_onnx_input(r, n, 1);
    const bool alike = a->known == PENDING && b->known == PENDING && a->tensor == b->tensor && a->groups == b->groups;
    if (alike && is_at(a, weights) && is_at(b, parts[2]) && b->number == 1) return add_attention(r, n, a);
    if (!alike || !is_at(a, parts[0]) || !is_at(b, turned_keys)) return bl_onnx_other(r);
    struct value value = *a;
    const int64_t t = tokens(a), shape[] = {r->batch, a->groups, t, t};
    value.number *= b->number;
    return pend(r, n, &value, scores, 4, shape);
}

const struct bl_onnx_form bl_onnx_attention_forms[] = {
    {"Add", mask},
    {"Div", divide},
    {"Dropout", drop},
    {"Gather", gather},
    {"MatMul", product},
    {"Mul", multiply},
    {"Reshape", reshape},
    {"SequenceAt", sequence_at},
    {"Slice", slice},
    {"Softmax", softmax},
    {"Split", split},
    {"SplitToSequence", split_to_sequence},
    {"Squeeze", squeeze},
    {"Transpose", transpose},
    {NULL},
};
