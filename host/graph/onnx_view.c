/* How values of an ONNX file lie over the network's tensors: reshaped, transposed, squeezed, in parts. Only a
 * flattening and a shuffle of channels are work. */
#include "graph/onnx_internal.h"
#include <limits.h>
#include <string.h>

static int64_t pixels(const struct blanch_tensor *t) {
    return t->h * t->w;
}

static bool is_plain(const struct value *x) { // as NCHW has it, or of one pixel, which all have alike
    return x->view == BL_ONNX_NCHW || (pixels(x->tensor) == 1 && (x->view == BL_ONNX_NHWC || x->view == BL_ONNX_FLAT));
}

static int give(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x, enum bl_onnx_view view,
                int groups) {
    return bl_onnx_give_tensor(r, n, 0, x->tensor, view, groups);
}

static int add(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x, const char *op_name,
               const void *attrs, enum bl_onnx_view view) {
    if (!(r->op = bl_op_find(op_name))) return bl_onnx_refuse(r, "there is no operation %s", op_name);
    return bl_onnx_add(r, n, attrs, (struct blanch_tensor *[]){x->tensor}, 1, NULL, view);
}

static bool same(const int64_t *sizes, int count, int wanted, int64_t a, int64_t b, int64_t c, int64_t d) {
    const int64_t all[] = {a, b, c, d};
    return count == wanted && !memcmp(sizes, all, sizeof *all * (size_t)wanted);
}

/* To these sizes, the batch aside. */
static int reshape_to(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x,
                      const int64_t *sizes, int count) {
    const struct blanch_tensor *t = x->tensor;
    const int64_t c = t->c, h = t->h, w = t->w, g = sizes[0];
    if (count == x->dims - 1 && !memcmp(sizes, x->shape + 1, sizeof *sizes * (size_t)count))
        return bl_onnx_give(r, n, 0, x);
    if (x->view == BL_ONNX_SHUFFLED && same(sizes, count, 3, c, h, w, 0))
        return add(r, n, x, "channel_shuffle", &x->groups, BL_ONNX_NCHW);
    if (is_plain(x) || x->view == BL_ONNX_ALL) {
        if (same(sizes, count, 3, c, h, w, 0)) return give(r, n, x, BL_ONNX_NCHW, 0);
        if (same(sizes, count, 1, c * h * w, 0, 0, 0)) return add(r, n, x, "flatten", NULL, BL_ONNX_FLAT);
        if (pixels(t) == 1 && same(sizes, count, 3, 1, 1, c, 0)) return give(r, n, x, BL_ONNX_NHWC, 0);
        if (pixels(t) == 1 && same(sizes, count, 2, 1, c, 0, 0)) return give(r, n, x, BL_ONNX_TOKENS, 0);
        if (same(sizes, count, 2, c, h * w, 0, 0)) return give(r, n, x, BL_ONNX_COLUMNS, 0);
        if (g > 0 && c % g == 0 && same(sizes, count, 4, g, c / g, h, w)) return give(r, n, x, BL_ONNX_GROUPED, (int)g);
    }
    if (x->view == BL_ONNX_NHWC && same(sizes, count, 2, h * w, c, 0, 0)) return give(r, n, x, BL_ONNX_TOKENS, 0);
    if (x->view == BL_ONNX_TOKENS && same(sizes, count, 3, h, w, c, 0)) return give(r, n, x, BL_ONNX_NHWC, 0);
    if (x->view == BL_ONNX_COLUMNS && same(sizes, count, 3, c, h, w, 0)) return give(r, n, x, BL_ONNX_NCHW, 0);
    if (x->view == BL_ONNX_TOKENS && pixels(t) == 1 && same(sizes, count, 1, c, 0, 0, 0))
        return give(r, n, x, BL_ONNX_FLAT, 0);
    if ((x->view == BL_ONNX_TOKENS || x->view == BL_ONNX_NHWC) && count == 4) return bl_onnx_other(r); // attention's
    if (is_plain(x) && count == 2 && g > 0 && c % g == 0) return bl_onnx_other(r);                     // group norm's
    return bl_onnx_refuse(r, "it lays (%lld, %lld, %lld) of an image out in a way that is not read", (long long)c,
                          (long long)h, (long long)w);
}

/* Zeros copy sizes, one -1 is what is left. */
static bool resolve(const struct value *x, int64_t *sizes, int count, bool zeros) {
    const int64_t image = x->tensor->c * pixels(x->tensor);
    int64_t product = 1;
    int open = -1;
    for (int i = 0; i < count; i++) {
        if (!sizes[i] && zeros && i < x->dims) sizes[i] = x->shape[i];
        if (!i) continue;
        if (sizes[i] == -1) {
            if (open >= 0) return false;
            open = i;
        } else if (sizes[i] < 1 || __builtin_mul_overflow(product, sizes[i], &product))
            return false;
    }
    if (open > 0) {
        if (image % product) return false;
        sizes[open] = image / product;
        product = image;
    }
    return product == image;
}

bool bl_onnx_resolve(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct value *x,
                     int64_t sizes[BL_ONNX_WHOLE], int *count) {
    const bool zeros = !bl_onnx_int(n, "allowzero", 0);
    if (!bl_onnx_whole(r, n, 1, sizes, count) || !*count) return false;
    if (sizes[0] == 0 && zeros) sizes[0] = r->batch;
    return (sizes[0] == r->batch || sizes[0] == -1) && resolve(x, sizes, *count, zeros);
}

static int reshape(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0);
    int64_t sizes[BL_ONNX_WHOLE];
    int count;
    if (x.known != TENSOR) return bl_onnx_other(r);
    if (!bl_onnx_whole(r, n, 1, sizes, &count) || !count)
        return bl_onnx_refuse(r, "the shape it is to have is not known");
    if (count == 1 && is_plain(&x) && (sizes[0] == -1 || sizes[0] == r->batch * x.tensor->c * pixels(x.tensor)))
        return give(r, n, &x, BL_ONNX_ALL, 0);
    if (!bl_onnx_resolve(r, n, &x, sizes, &count)) return bl_onnx_refuse(r, "it changes how many values an image has");
    return reshape_to(r, n, &x, sizes + 1, count - 1);
}

static int flatten(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0);
    const int64_t axis = bl_onnx_int(n, "axis", 1);
    if (x.known != TENSOR) return bl_onnx_other(r);
    if (axis != 1 && axis != 1 - x.dims) return bl_onnx_refuse(r, "it flattens from axis %lld on", (long long)axis);
    return reshape_to(r, n, &x, (const int64_t[]){x.tensor->c * pixels(x.tensor)}, 1);
}

static bool is_order(const int *order, int dims, const int *wanted) {
    return !memcmp(order, wanted, sizeof *order * (size_t)dims);
}

static int transpose(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    static const struct {
        enum bl_onnx_view from, to;
        int order[5];
    } turns[] = {{BL_ONNX_NCHW, BL_ONNX_NHWC, {0, 2, 3, 1}},
                 {BL_ONNX_NHWC, BL_ONNX_NCHW, {0, 3, 1, 2}},
                 {BL_ONNX_GROUPED, BL_ONNX_SHUFFLED, {0, 2, 1, 3, 4}},
                 {BL_ONNX_TOKENS, BL_ONNX_COLUMNS, {0, 2, 1}},
                 {BL_ONNX_COLUMNS, BL_ONNX_TOKENS, {0, 2, 1}}};
    const struct value x = *bl_onnx_input(r, n, 0);
    int order[BL_ONNX_DIMS];
    if (x.known != TENSOR) return bl_onnx_other(r);
    bl_onnx_ints(r, n, "perm", -1, order, x.dims);
    for (int i = 0; i < BL_COUNT(turns) && !r->code; i++)
        if (turns[i].from == x.view && is_order(order, x.dims, turns[i].order))
            return give(r, n, &x, turns[i].to, x.groups);
    return bl_onnx_refuse(r, "it turns axes in a way that is not read");
}

/* To and from (batch, channels), of one pixel. */
static int squeeze(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0);
    int64_t axes[BL_ONNX_WHOLE];
    int count;
    if (x.known != TENSOR) return bl_onnx_other(r);
    if (pixels(x.tensor) == 1 && x.view == BL_ONNX_TOKENS && bl_onnx_whole(r, n, 1, axes, &count) && count == 1 &&
        (axes[0] == 1 || axes[0] == -2))
        return give(r, n, &x, BL_ONNX_FLAT, 0);
    if (pixels(x.tensor) != 1 || x.view != BL_ONNX_NCHW || !bl_onnx_whole(r, n, 1, axes, &count) || count != 2)
        return bl_onnx_refuse(r, "it takes away other sizes than height and width of 1");
    for (int i = 0; i < 2; i++)
        if (axes[i] != 2 + i && axes[i] != i - 2)
            return bl_onnx_refuse(r, "it takes away other sizes than the last two");
    return give(r, n, &x, BL_ONNX_FLAT, 0);
}

static int unsqueeze(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0);
    int64_t axes[BL_ONNX_WHOLE];
    int count;
    if (x.known != TENSOR) return bl_onnx_other(r);
    if (x.view != BL_ONNX_FLAT || !bl_onnx_whole(r, n, 1, axes, &count) || count != 2)
        return bl_onnx_refuse(r, "it adds other sizes than height and width of 1");
    for (int i = 0; i < 2; i++)
        if (axes[i] != 2 + i && axes[i] != i - 2) return bl_onnx_refuse(r, "it adds other sizes than two at the end");
    return give(r, n, &x, BL_ONNX_NCHW, 0);
}

/* Of all values in their order, to the shape of the indices: what as_strided becomes. */
static int gather(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0), *at = bl_onnx_input(r, n, 1);
    if (x.known != TENSOR || x.view == BL_ONNX_TOKENS) return bl_onnx_other(r);
    if (x.view != BL_ONNX_ALL || at->known != VALUES || at->dims < 2 || r->batch == FREE)
        return bl_onnx_refuse(r, "it picks single values");
    const int64_t count = r->batch * x.tensor->c * pixels(x.tensor);
    if (count < 1 || at->values->bytes / bl_type_bytes(at->values->dtype) != (size_t)count)
        return bl_onnx_refuse(r, "it picks a part of the values");
    int64_t *index = bl_onnx_take(r, (size_t)count, sizeof *index);
    if (!index) return r->code = BLANCH_ENOMEM;
    if (bl_st_int64s(at->values, index, count)) return bl_onnx_refuse(r, "its indices are no whole numbers");
    for (int64_t i = 0; i < count; i++)
        if (index[i] != i) return bl_onnx_refuse(r, "it picks values in another order");
    int64_t sizes[BL_ONNX_DIMS];
    memcpy(sizes, at->shape, sizeof sizes);
    if (sizes[0] != r->batch) return bl_onnx_refuse(r, "it mixes the images of a batch");
    return reshape_to(r, n, &x, sizes + 1, at->dims - 1);
}

/* What exporters write beside an activation whose factors are one. */
static int multiply_by_one(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    for (int i = 0; i < 2; i++) {
        const struct value x = *bl_onnx_input(r, n, i), by = *bl_onnx_input(r, n, !i);
        double factor;
        if (x.known == TENSOR && by.dims <= x.dims && !bl_onnx_is_parameter(r, &by) &&
            bl_onnx_number_of(&by, &factor) && factor == 1)
            return bl_onnx_give(r, n, 0, &x);
    }
    return bl_onnx_other(r);
}

/* Into parts of the channels: equal ones but for the last, or of given sizes. */
static int split_to_sequence(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value x = *bl_onnx_input(r, n, 0);
    double part = 1;
    if (x.known != TENSOR) return bl_onnx_other(r);
    const int64_t axis = bl_onnx_int(n, "axis", 0);
    const bool equal = !bl_onnx_has(n, 1) || bl_onnx_number(r, n, 1, &part);
    if (!is_plain(&x) || (axis != 1 && axis != 1 - x.dims) || !bl_onnx_int(n, "keepdims", 1) ||
        !(part >= 1 && part <= (double)x.tensor->c) || (!equal && !bl_onnx_whole(r, n, 1, x.whole, &x.parts)))
        return bl_onnx_refuse(r, "it splits otherwise than the channels, or into too many parts");
    x.known = SEQUENCE;
    x.part = equal ? (int64_t)part : 0;
    if (equal) x.parts = (int)((x.tensor->c + x.part - 1) / x.part);
    int64_t left = x.tensor->c;
    for (int i = 0; i < x.parts && !equal; left -= x.whole[i++])
        if (x.whole[i] < 1 || x.whole[i] > left) return bl_onnx_refuse(r, "its parts are not all of the channels");
    if (!equal && left) return bl_onnx_refuse(r, "its parts are not all of the channels");
    return bl_onnx_give(r, n, 0, &x);
}

static int sequence_at(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value x = *bl_onnx_input(r, n, 0);
    double at;
    if (x.known != SEQUENCE || !bl_onnx_number(r, n, 1, &at))
        return bl_onnx_refuse(r, "it is of no split, or of no known place in it");
    if (at < 0) at += x.parts;
    if (!(at >= 0 && at < x.parts)) return bl_onnx_refuse(r, "there is no such part");
    int64_t begin = (int64_t)at * x.part, end = begin + (x.part ? x.part : x.whole[(int)at]);
    for (int i = 0; i < (int)at && !x.part; i++) begin += x.whole[i], end += x.whole[i];
    if (end > x.tensor->c) end = x.tensor->c;
    const struct bl_slice_attrs attrs = {(int)begin, (int)end};
    return add(r, n, &x, "slice_channels", &attrs, x.view);
}

const struct bl_onnx_form bl_onnx_view_forms[] = {
    {"Flatten", flatten},        {"Gather", gather},
    {"Mul", multiply_by_one},    {"Reshape", reshape},
    {"SequenceAt", sequence_at}, {"SplitToSequence", split_to_sequence},
    {"Squeeze", squeeze},        {"Transpose", transpose},
    {"Unsqueeze", unsqueeze},    {0},
};
