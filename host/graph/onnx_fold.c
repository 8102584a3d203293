/* What exporters leave to be computed of constants: shapes and the arithmetic on them, values that are spread, turned
 * or called otherwise, and the random masks of dropout. */
#include "graph/onnx_internal.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static bool is_known(const struct value *value) {
    return value->known == VALUES || value->known == WHOLE || value->known == SPLAT;
}

static int give_whole(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const int64_t *whole, int count,
                      int dims) {
    struct value value = {.known = WHOLE, .dims = dims, .shape = {count}};
    if (count) memcpy(value.whole, whole, sizeof *whole * (size_t)count);
    return bl_onnx_give(r, n, 0, &value);
}

static int give_values(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct bl_st_tensor *tensor) {
    struct value value = {.known = VALUES, .dims = tensor->dims, .values = tensor, .called = n->output[0]};
    memcpy(value.shape, tensor->shape, sizeof value.shape);
    return bl_onnx_give(r, n, 0, &value);
}

static const struct bl_onnx_attribute *attribute(const struct bl_onnx_node *n, const char *name, enum bl_onnx_kind k) {
    for (int i = 0; i < n->attributes; i++)
        if (!strcmp(n->attribute[i].name, name) && n->attribute[i].kind == k) return &n->attribute[i];
    return NULL;
}

static int constant(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct bl_onnx_attribute *tensor = attribute(n, "value", BL_ONNX_TENSOR),
                                   *ints = attribute(n, "value_ints", BL_ONNX_INTS),
                                   *number = attribute(n, "value_float", BL_ONNX_FLOAT),
                                   *whole = attribute(n, "value_int", BL_ONNX_INT);
    if (tensor) return give_values(r, n, tensor->tensor);
    if (ints && ints->count <= BL_ONNX_WHOLE) return give_whole(r, n, ints->ints, ints->count, 1);
    if (whole) return give_whole(r, n, &whole->i, 1, 0);
    if (number) return bl_onnx_give(r, n, 0, &(struct value){.known = SPLAT, .number = (double)number->f});
    return bl_onnx_refuse(r, "its value is of no kind that is read");
}

/* Its output may be what PyTorch called a parameter that has the values of another. */
static int identity(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value value = *bl_onnx_input(r, n, 0);
    if (value.known == VALUES && n->outputs) value.called = n->output[0];
    return bl_onnx_give(r, n, 0, &value);
}

static int shape(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    int64_t start = bl_onnx_int(n, "start", 0), end = bl_onnx_int(n, "end", x->dims);
    if (x->known == UNKNOWN || x->known == SEQUENCE) return bl_onnx_other(r);
    if (start < 0) start += x->dims;
    if (end < 0) end += x->dims;
    if (end > x->dims) end = x->dims;
    if (start < 0 || start > end) return bl_onnx_refuse(r, "its start and end are no part of a shape");
    return give_whole(r, n, x->shape + start, (int)(end - start), 1);
}

/* An index into the first size; negative ones count from its end. */
static int gather(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0), *at = bl_onnx_input(r, n, 1);
    int64_t from[BL_ONNX_WHOLE], index[BL_ONNX_WHOLE], to[BL_ONNX_WHOLE];
    int count, indices;
    if (!is_known(x) || !bl_onnx_whole_of(x, from, &count) || x->dims != 1) return bl_onnx_other(r);
    if (!bl_onnx_whole_of(at, index, &indices)) return bl_onnx_refuse(r, "its indices are not known");
    for (int i = 0; i < indices; i++) {
        if (index[i] < 0) index[i] += count;
        if (index[i] < 0 || index[i] >= count) return bl_onnx_refuse(r, "an index is out of range");
        to[i] = from[index[i]];
    }
    return give_whole(r, n, to, indices, at->dims);
}

/* Lists and numbers of one size or none. */
static int between_list_and_number(struct bl_onnx_reader *r, const struct bl_onnx_node *n, int dims) {
    const struct value *x = bl_onnx_input(r, n, 0);
    int64_t whole[BL_ONNX_WHOLE];
    double number;
    int count;
    if (!is_known(x)) return bl_onnx_other(r);
    if (bl_onnx_whole_of(x, whole, &count) && (dims || count == 1)) return give_whole(r, n, whole, count, dims);
    if (!bl_onnx_number_of(x, &number)) return bl_onnx_refuse(r, "it is of more values than are computed here");
    return bl_onnx_give(r, n, 0, &(struct value){.known = SPLAT, .number = number, .dims = dims, .shape = {1}});
}

/* A parameter with sizes of 1 more; false: it is none, or its axes are not known. */
static bool widened(struct bl_onnx_reader *r, const struct bl_onnx_node *n, struct value *value) {
    const struct value *x = bl_onnx_input(r, n, 0);
    int64_t axes[BL_ONNX_WHOLE];
    bool added[BL_ONNX_DIMS] = {false};
    int count, from = 0;
    if (!bl_onnx_is_parameter(r, x) || x->dims < 1 || x->transposed || !bl_onnx_whole(r, n, 1, axes, &count) ||
        x->dims + count > BL_ONNX_DIMS || (x->values->dtype != BL_F32 && x->values->dtype != BL_F16))
        return false;
    *value = *x, value->dims = x->dims + count;
    for (int i = 0; i < count; i++) {
        if (axes[i] < 0) axes[i] += value->dims;
        if (axes[i] < 0 || axes[i] >= value->dims || added[axes[i]]) return false;
        added[axes[i]] = true;
    }
    for (int i = 0; i < value->dims; i++) value->shape[i] = added[i] ? 1 : x->shape[from++];
    return true;
}

static int unsqueeze(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value value;
    return widened(r, n, &value) ? bl_onnx_give(r, n, 0, &value) : between_list_and_number(r, n, 1);
}
static int squeeze(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return between_list_and_number(r, n, 0);
}

static int concat(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t all[BL_ONNX_WHOLE];
    int used = 0;
    for (int i = 0; i < n->inputs; i++)
        if (!is_known(bl_onnx_input(r, n, i))) return bl_onnx_other(r);
    for (int i = 0; i < n->inputs; i++) {
        int64_t part[BL_ONNX_WHOLE];
        int count;
        if (!bl_onnx_whole(r, n, i, part, &count) || used + count > BL_ONNX_WHOLE)
            return bl_onnx_refuse(r, "it is of more values than are computed here");
        memcpy(all + used, part, sizeof *part * (size_t)count);
        used += count;
    }
    return give_whole(r, n, all, used, 1);
}

/* Of a list: from start to end. */
static int slice(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t from[BL_ONNX_WHOLE], start, end;
    double first, last;
    int count;
    if (!is_known(bl_onnx_input(r, n, 0))) return bl_onnx_other(r);
    if (!bl_onnx_whole(r, n, 0, from, &count) || !bl_onnx_number(r, n, 1, &first) || !bl_onnx_number(r, n, 2, &last))
        return bl_onnx_refuse(r, "it is of more values than are computed here");
    start = first < -count ? -count : first > count ? count : (int64_t)first;
    end = last < -count ? -count : last > count ? count : (int64_t)last;
    if (start < 0) start += count;
    if (end < 0) end += count;
    return give_whole(r, n, from + start, end > start ? (int)(end - start) : 0, 1);
}

/* To another type; of a mask, too. What is computed from the images is float32 here whatever a file stores. */
static int cast(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    if (!is_known(x) && x->known != MASK && x->known != TENSOR) return bl_onnx_other(r);
    return bl_onnx_give(r, n, 0, x);
}

static int splat(struct bl_onnx_reader *r, const struct bl_onnx_node *n, double number, int shape_input) {
    int64_t sizes[BL_ONNX_WHOLE];
    struct value value = {.known = SPLAT, .number = number};
    if (!bl_onnx_whole(r, n, shape_input, sizes, &value.dims) || value.dims > BL_ONNX_DIMS)
        return bl_onnx_refuse(r, "the shape it is to have is not known");
    for (int i = 0; i < value.dims; i++)
        if (sizes[i] < FREE || sizes[i] > INT_MAX) return bl_onnx_refuse(r, "a size is out of range");
    memcpy(value.shape, sizes, sizeof *sizes * (size_t)value.dims);
    return bl_onnx_give(r, n, 0, &value);
}

/* Values of one image, for each of a batch: they stay what they are. */
static bool spreads_over_batch(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0);
    int64_t sizes[BL_ONNX_WHOLE];
    int count;
    if (x->known != VALUES || x->dims < 2 || x->shape[0] != 1 || !bl_onnx_whole(r, n, 1, sizes, &count) ||
        count != x->dims || (sizes[0] != r->batch && sizes[0] != 1))
        return false;
    for (int i = 1; i < count; i++)
        if (sizes[i] != x->shape[i] && sizes[i] != 1) return false;
    return true;
}

static int expand(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t sizes[BL_ONNX_WHOLE], ones[BL_ONNX_WHOLE];
    int count, known;
    double number;
    if (!is_known(bl_onnx_input(r, n, 0))) return bl_onnx_other(r);
    if (bl_onnx_whole(r, n, 0, sizes, &known) && bl_onnx_input(r, n, 0)->known != SPLAT && known > 1 &&
        bl_onnx_whole(r, n, 1, ones, &count) && count == 1 && ones[0] == 1)
        return give_whole(r, n, sizes, known, 1);
    if (spreads_over_batch(r, n)) return bl_onnx_give(r, n, 0, bl_onnx_input(r, n, 0));
    if (!bl_onnx_number(r, n, 0, &number)) return bl_onnx_refuse(r, "it spreads several values");
    if (bl_onnx_input(r, n, 0)->known == WHOLE && bl_onnx_whole(r, n, 1, ones, &count) && count == 1 && ones[0] == 1)
        return give_whole(r, n, bl_onnx_input(r, n, 0)->whole, 1, 1);
    return splat(r, n, number, 1);
}

static int constant_of_shape(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct bl_onnx_attribute *tensor = attribute(n, "value", BL_ONNX_TENSOR);
    struct value value = {.known = VALUES, .dims = 1, .shape = {1}, .values = tensor ? tensor->tensor : NULL};
    double number = 0;
    if (tensor && !bl_onnx_number_of(&value, &number)) return bl_onnx_refuse(r, "its value is not one number");
    return splat(r, n, number, 0);
}

/* A list stays one; a matrix may be turned. */
static int reshape(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t whole[BL_ONNX_WHOLE], sizes[BL_ONNX_WHOLE];
    int count, dims;
    if (!is_known(bl_onnx_input(r, n, 0))) return bl_onnx_other(r);
    if (!bl_onnx_whole(r, n, 0, whole, &count) || !bl_onnx_whole(r, n, 1, sizes, &dims) || dims > 1)
        return bl_onnx_refuse(r, "it is of more values than are computed here");
    return give_whole(r, n, whole, count, dims);
}

static int transpose(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value value = *bl_onnx_input(r, n, 0);
    int order[2];
    if (!is_known(&value)) return bl_onnx_other(r);
    if (value.known != VALUES || value.dims != 2) return bl_onnx_refuse(r, "what it turns is no matrix");
    bl_onnx_ints(r, n, "perm", 0, order, 2);
    if (order[0] == 0 && order[1] == 1) return bl_onnx_give(r, n, 0, &value);
    const int64_t rows = value.shape[0];
    value.shape[0] = value.shape[1], value.shape[1] = rows;
    value.transposed = !value.transposed;
    return bl_onnx_give(r, n, 0, &value);
}

/* --- arithmetic on shapes --------------------------------------------------------------------- */

/* free: the batch is open, and passed on as it is, not computed with. */
static bool compute(char operator, bool free, int64_t a, int64_t b, int64_t *result) {
    if (free && (a == FREE || b == FREE)) return false;
    switch (operator) {
    case '+':
        return !__builtin_add_overflow(a, b, result);
    case '-':
        return !__builtin_sub_overflow(a, b, result);
    case '=':
        return *result = a == b, true;
    case '*':
        return !__builtin_mul_overflow(a, b, result);
    default:
        if (b <= 0 || a < 0) return false;
        *result = a / b;
        return true;
    }
}

/* One number that is not of a size: a fraction, or what came of one (`scaled`). */
static bool is_real(const struct value *x) {
    if (x->known == SPLAT) return x->scaled || x->number != floor(x->number);
    return x->known == VALUES && (x->values->dtype == BL_F32 || x->values->dtype == BL_F64);
}

static int give_real(struct bl_onnx_reader *r, const struct bl_onnx_node *n, double number) {
    if (!isfinite(number)) return bl_onnx_refuse(r, "a constant is not finite");
    return bl_onnx_give(r, n, 0, &(struct value){.known = SPLAT, .number = number, .scaled = true});
}

static int square_root(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    double number;
    if (!is_known(bl_onnx_input(r, n, 0))) return bl_onnx_other(r);
    if (!bl_onnx_number(r, n, 0, &number)) return bl_onnx_refuse(r, "it is of more values than are computed here");
    return give_real(r, n, sqrt(number));
}

static int arithmetic(struct bl_onnx_reader *r, const struct bl_onnx_node *n, char operator) {
    double one, other;
    int64_t a[BL_ONNX_WHOLE], b[BL_ONNX_WHOLE], result[BL_ONNX_WHOLE];
    const struct value *x = bl_onnx_input(r, n, 0), *y = bl_onnx_input(r, n, 1);
    int counts[2];
    if (!is_known(x) || !is_known(y)) return bl_onnx_other(r);
    if ((is_real(x) || is_real(y)) && bl_onnx_number_of(x, &one) && bl_onnx_number_of(y, &other))
        return give_real(r, n,
                            operator== '+' ? one + other :
                            operator== '-' ? one - other
                            :
                            operator== '*' ? one * other
                                           : one / other);
    if (!bl_onnx_whole_of(x, a, &counts[0]) || !bl_onnx_whole_of(y, b, &counts[1]))
        return bl_onnx_refuse(r, "it computes with more values than are computed here");
    const int count = counts[0] == 1 ? counts[1] : counts[0];
    if (counts[1] != count && counts[1] != 1) return bl_onnx_refuse(r, "its inputs are of different sizes");
    for (int i = 0; i < count; i++)
        if (!compute(operator, r->batch == FREE, a[counts[0] == 1 ? 0 : i], b[counts[1] == 1 ? 0 : i], &result[i]))
            return bl_onnx_refuse(r, "it computes with a size that the file leaves open, or beyond what can be");
    return give_whole(r, n, result, count, x->dims || y->dims);
}

static int add(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return arithmetic(r, n, '+');
}
static int subtract(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return arithmetic(r, n, '-');
}
static int equal(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return arithmetic(r, n, '=');
}
static int multiply(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return arithmetic(r, n, '*');
}

/* A few whole numbers from the first to before the second, by the third. */
static int range(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t part[3], list[BL_ONNX_WHOLE], whole[BL_ONNX_WHOLE];
    int count = 0;
    for (int i = 0; i < 3; i++) {
        if (!bl_onnx_whole(r, n, i, list, &count) || count != 1 || list[0] < -BL_ONNX_WHOLE || list[0] > BL_ONNX_WHOLE)
            return bl_onnx_refuse(r, "it is of more values than are computed here");
        part[i] = list[0];
    }
    if (!part[2]) return bl_onnx_refuse(r, "its step is 0");
    count = 0;
    for (int64_t at = part[0]; part[2] > 0 ? at < part[1] : at > part[1]; at += part[2]) {
        if (count == BL_ONNX_WHOLE) return bl_onnx_refuse(r, "it is of more values than are computed here");
        whole[count++] = at;
    }
    return give_whole(r, n, whole, count, 1);
}

/* Of two lists, by a third. */
static int where(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t lists[3][BL_ONNX_WHOLE];
    int count[3];
    for (int i = 0; i < 3; i++) {
        if (!is_known(bl_onnx_input(r, n, i))) return bl_onnx_other(r);
        if (!bl_onnx_whole(r, n, i, lists[i], &count[i]) || count[i] != count[0])
            return bl_onnx_refuse(r, "it chooses among more values than are computed here");
    }
    for (int i = 0; i < count[0]; i++)
        if (lists[0][i]) lists[2][i] = lists[1][i];
    return give_whole(r, n, lists[2], count[0], 1);
}

/* --- masks ------------------------------------------------------------------------------------ */

static int random_like(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value value = *bl_onnx_input(r, n, 0);
    if (!is_known(&value) || bl_onnx_float(n, "low", 0) != 0 || bl_onnx_float(n, "high", 1) != 1)
        return bl_onnx_refuse(r, "it is random in a way that is not read");
    value.known = RANDOM;
    return bl_onnx_give(r, n, 0, &value);
}

static int less(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value value = *bl_onnx_input(r, n, 0);
    if (value.known != RANDOM || !bl_onnx_number(r, n, 1, &value.number))
        return bl_onnx_refuse(r, "it compares what is not random with a number");
    value.known = MASK;
    return bl_onnx_give(r, n, 0, &value);
}

/* A mask by the probability that it keeps. */
static int divide(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct value value = *bl_onnx_input(r, n, 0);
    double by;
    if (value.known != MASK) return arithmetic(r, n, '/');
    if (!bl_onnx_number(r, n, 1, &by) || (float)by != (float)value.number || value.scaled)
        return bl_onnx_refuse(r, "it divides a random mask by another number than its probability");
    value.scaled = true;
    return bl_onnx_give(r, n, 0, &value);
}

/* What one of the scales, or of the zero points, is of each element: they are one, or lie along an axis. */
struct spread {
    int64_t count, inner; // of them; elements of the sizes behind the axis
};

static bool spread_of(const struct value *x, const struct value *scale, int64_t axis, struct spread *spread) {
    *spread = (struct spread){1, 1};
    for (int i = 0; i < scale->dims; i++) spread->count *= scale->shape[i];
    if (axis < 0) axis += x->dims;
    if (spread->count == 1) return true;
    for (int i = (int)axis + 1; i < x->dims; i++) spread->inner *= x->shape[i];
    return axis >= 0 && axis < x->dims && spread->count == x->shape[axis];
}

static float *dequantized(struct bl_onnx_reader *r, const struct value *x, const struct value *scale,
                          const struct value *zero, const struct spread *spread) {
    const int64_t count = (int64_t)(x->values->bytes / bl_type_bytes(x->values->dtype));
    int64_t *whole = bl_onnx_take(r, (size_t)count, sizeof *whole),
            *zeros = bl_onnx_take(r, (size_t)spread->count, sizeof *zeros);
    float *floats = bl_onnx_take(r, (size_t)count, sizeof *floats),
          *scales = bl_onnx_take(r, (size_t)spread->count, sizeof *scales);
    if (!whole || !zeros || !floats || !scales) return r->code = BLANCH_ENOMEM, NULL;
    if (bl_st_int64s(x->values, whole, count) || bl_st_floats(scale->values, scales, spread->count)) return NULL;
    if (zero->known == VALUES && bl_st_int64s(zero->values, zeros, spread->count)) return NULL;
    for (int64_t i = 0; i < count; i++) {
        const int64_t k = i / spread->inner % spread->count;
        floats[i] = (float)(whole[i] - zeros[k]) * scales[k];
    }
    return floats;
}

/* Weights of 8 bits and biases of 32 are those of the file, as floats. */
static int dequantize(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const struct value *x = bl_onnx_input(r, n, 0), *scale = bl_onnx_input(r, n, 1), *zero = bl_onnx_input(r, n, 2);
    struct spread spread;
    if (x->known != VALUES) return bl_onnx_other(r);
    if (scale->known != VALUES || !spread_of(x, scale, bl_onnx_int(n, "axis", 1), &spread))
        return bl_onnx_refuse(r, "its scales are not one, or one for each size of its axis");
    float *floats = dequantized(r, x, scale, zero, &spread);
    struct bl_st_tensor *tensor = bl_onnx_take(r, 1, sizeof *tensor);
    if (r->code || !tensor) return r->code = BLANCH_ENOMEM;
    if (!floats) return bl_onnx_refuse(r, "its values are no whole numbers, or its scales no floats");
    *tensor = *x->values;
    tensor->dtype = BL_F32, tensor->data = floats;
    tensor->bytes = x->values->bytes / bl_type_bytes(x->values->dtype) * sizeof(float);
    struct value value = *x;
    value.values = tensor, value.parameter = bl_onnx_is_parameter(r, x);
    return bl_onnx_give(r, n, 0, &value);
}

const struct bl_onnx_form bl_onnx_fold_forms[] = {
    {"Add", add},
    {"Cast", cast},
    {"CastLike", cast},
    {"Concat", concat},
    {"Constant", constant},
    {"ConstantOfShape", constant_of_shape},
    {"DequantizeLinear", dequantize},
    {"Div", divide},
    {"Equal", equal},
    {"Expand", expand},
    {"Gather", gather},
    {"Identity", identity},
    {"Less", less},
    {"Mul", multiply},
    {"RandomUniformLike", random_like},
    {"Range", range},
    {"Reshape", reshape},
    {"Shape", shape},
    {"Slice", slice},
    {"Sqrt", square_root},
    {"Squeeze", squeeze},
    {"Sub", subtract},
    {"Transpose", transpose},
    {"Unsqueeze", unsqueeze},
    {"Where", where},
    {0},
};
