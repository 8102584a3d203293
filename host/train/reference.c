/* Plain references: loops over the definitions, in an order that the caches like. */
#include "train/reference.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t bl_ref_count(const struct bl_ref_tensor *t) {
    return (size_t)t->n * t->c * t->h * t->w;
}

double *bl_ref_doubles(size_t count) {
    return bl_calloc(count ? count : 1, sizeof(double));
}

int bl_ref_new(struct bl_ref_tensor *t, int n, int c, int h, int w) {
    *t = (struct bl_ref_tensor){n, c, h, w, NULL};
    t->v = bl_ref_doubles(bl_ref_count(t));
    return t->v ? 0 : BLANCH_ENOMEM;
}

double *bl_ref_at(const struct bl_ref_tensor *t, int n, int c, int y, int x) {
    return &t->v[(((size_t)n * t->c + c) * t->h + y) * t->w + x];
}

double bl_ref_padded(const struct bl_ref_tensor *t, int n, int c, int y, int x) {
    return y < 0 || x < 0 || y >= t->h || x >= t->w ? 0 : *bl_ref_at(t, n, c, y, x);
}

/* --- convolution and linear ------------------------------------------------------------------- */

/* Adds what one tap of one input channel gives to an output plane. */
static void conv_tap(const struct bl_conv_attrs *a, int p, int q, double weight, const double *in,
                     const struct bl_ref_tensor *x, double *out, const struct bl_ref_tensor *y) {
    int first = 0, end = y->w;
    while (first < end && first * a->stride[1] - a->padding[1] + q * a->dilation[1] < 0) first++;
    while (end > first && (end - 1) * a->stride[1] - a->padding[1] + q * a->dilation[1] >= x->w) end--;
    for (int i = 0; i < y->h; i++) {
        int row = i * a->stride[0] - a->padding[0] + p * a->dilation[0];
        if (row < 0 || row >= x->h) continue;
        const double *from = in + (ptrdiff_t)row * x->w - a->padding[1] + q * a->dilation[1];
        double *to = out + (size_t)i * y->w;
        if (a->stride[1] == 1)
            for (int j = first; j < end; j++) to[j] += weight * from[j];
        else
            for (int j = first; j < end; j++) to[j] += weight * from[(ptrdiff_t)j * a->stride[1]];
    }
}

int bl_ref_conv(const struct bl_conv_attrs *a, const double *weight, const double *bias, const struct bl_ref_tensor *x,
                struct bl_ref_tensor *y) {
    int kh = a->kernel[0], kw = a->kernel[1], ci = a->in_channels / a->groups, co = a->out_channels / a->groups;
    int code = bl_ref_new(y, x->n, a->out_channels,
                          (x->h + 2 * a->padding[0] - a->dilation[0] * (kh - 1) - 1) / a->stride[0] + 1,
                          (x->w + 2 * a->padding[1] - a->dilation[1] * (kw - 1) - 1) / a->stride[1] + 1);
    if (code) return code;
    for (int n = 0; n < y->n; n++)
        for (int o = 0; o < y->c; o++) {
            double *plane = bl_ref_at(y, n, o, 0, 0);
            for (int i = 0; bias && i < y->h * y->w; i++) plane[i] = bias[o];
            for (int c = 0; c < ci; c++)
                for (int t = 0; t < kh * kw; t++)
                    conv_tap(a, t / kw, t % kw, weight[((size_t)o * ci + c) * kh * kw + t],
                             bl_ref_at(x, n, o / co * ci + c, 0, 0), x, plane, y);
        }
    return 0;
}

int bl_ref_linear(const double *weight, const double *bias, int in, int out, const struct bl_ref_tensor *x,
                  struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, out, 1, 1);
    if (code) return code;
    for (int o = 0; o < out; o++)
        for (int n = 0; n < x->n; n++) {
            const double *row = weight + (size_t)o * in, *image = x->v + (size_t)n * in;
            double sum = bias ? bias[o] : 0;
            for (int i = 0; i < in; i++) sum += row[i] * image[i];
            y->v[(size_t)n * out + o] = sum;
        }
    return 0;
}

/* --- normalisation and pooling ---------------------------------------------------------------- */

static void channel_moments(const struct bl_ref_tensor *x, int c, double *mean, double *var) {
    int plane = x->h * x->w;
    double count = (double)x->n * plane;
    *mean = *var = 0;
    for (int n = 0; n < x->n; n++)
        for (int i = 0; i < plane; i++) *mean += bl_ref_at(x, n, c, 0, 0)[i] / count;
    for (int n = 0; n < x->n; n++)
        for (int i = 0; i < plane; i++) {
            double d = bl_ref_at(x, n, c, 0, 0)[i] - *mean;
            *var += d * d / count;
        }
}

static int batchnorm(struct bl_ref_layer *l, const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
    const struct bl_batchnorm_attrs *a = l->attrs;
    int plane = x->h * x->w, code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    double count = (double)x->n * plane;
    for (int c = 0; c < x->c && !code; c++) {
        double mean = l->buffer[0][c], var = l->buffer[1][c];
        if (l->training) {
            channel_moments(x, c, &mean, &var);
            l->buffer[0][c] += a->momentum * (mean - l->buffer[0][c]);
            l->buffer[1][c] += a->momentum * (var * count / (count - 1) - l->buffer[1][c]);
        }
        for (int n = 0; n < x->n; n++)
            for (int i = 0; i < plane; i++)
                bl_ref_at(y, n, c, 0, 0)[i] =
                    (bl_ref_at(x, n, c, 0, 0)[i] - mean) / sqrt(var + a->eps) * l->param[0][c] + l->param[1][c];
    }
    l->counter[2] += l->training;
    return code;
}

static double pooled(const struct bl_pool_attrs *a, const struct bl_ref_tensor *x, int n, int c, int i, int j,
                     bool max) {
    double value = max ? -INFINITY : 0;
    for (int t = 0; t < a->kernel[0] * a->kernel[1]; t++) {
        int p = i * a->stride[0] - a->padding[0] + t / a->kernel[1],
            q = j * a->stride[1] - a->padding[1] + t % a->kernel[1];
        bool inside = p >= 0 && q >= 0 && p < x->h && q < x->w;
        if (max && inside) value = fmax(value, *bl_ref_at(x, n, c, p, q));
        if (!max) value += bl_ref_padded(x, n, c, p, q) / (a->kernel[0] * a->kernel[1]);
    }
    return value;
}

static int pool(const struct bl_pool_attrs *a, const struct bl_ref_tensor *x, struct bl_ref_tensor *y, bool max) {
    int code = bl_ref_new(y, x->n, x->c, (x->h + 2 * a->padding[0] - a->kernel[0]) / a->stride[0] + 1,
                          (x->w + 2 * a->padding[1] - a->kernel[1]) / a->stride[1] + 1);
    for (int n = 0; n < y->n && !code; n++)
        for (int c = 0; c < y->c; c++)
            for (int i = 0; i < y->h; i++)
                for (int j = 0; j < y->w; j++) *bl_ref_at(y, n, c, i, j) = pooled(a, x, n, c, i, j, max);
    return code;
}

static int global_pool(const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, 1, 1);
    size_t plane = (size_t)x->h * x->w;
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i / plane] += x->v[i] / (double)plane;
    return code;
}

/* --- the rest --------------------------------------------------------------------------------- */

static int cat(const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int channels = 0, first = 0;
    for (int k = 0; k < inputs; k++) channels += x[k].c;
    int code = bl_ref_new(y, x->n, channels, x->h, x->w);
    for (int k = 0; k < inputs && !code; first += x[k++].c)
        for (int n = 0; n < x->n; n++)
            memcpy(bl_ref_at(y, n, first, 0, 0), bl_ref_at(&x[k], n, 0, 0, 0),
                   sizeof(double) * (size_t)x[k].c * x->h * x->w);
    return code;
}

static int slice(const struct bl_slice_attrs *a, const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
    int end = a->end ? a->end : x->c, code = bl_ref_new(y, x->n, end - a->begin, x->h, x->w);
    for (int n = 0; n < x->n && !code; n++)
        memcpy(bl_ref_at(y, n, 0, 0, 0), bl_ref_at(x, n, a->begin, 0, 0), sizeof(double) * (size_t)y->c * x->h * x->w);
    return code;
}

static int loss(const int32_t *labels, const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, 1, 1, 1);
    for (int n = 0; n < x->n && !code; n++) {
        const double *row = x->v + (size_t)n * x->c;
        double top = row[0], sum = 0;
        for (int c = 0; c < x->c; c++) top = fmax(top, row[c]);
        for (int c = 0; c < x->c; c++) sum += exp(row[c] - top);
        y->v[n] = top + log(sum) - row[labels[n]];
    }
    return code;
}

/* The mask is Philox's, counted by the element's position on the device, which holds channels last. */
static int dropout(const struct bl_ref_layer *l, const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
    const struct bl_dropout_attrs *a = l->attrs;
    size_t plane = (size_t)x->h * x->w, channels = (size_t)x->c;
    uint32_t threshold = (uint32_t)ceil((double)a->p * 0x1p24), word[4];
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) {
        size_t image = i / (plane * channels), channel = i / plane % channels,
               at = (image * plane + i % plane) * channels + channel;
        bl_philox(l->seed, BL_RANDOM_DROPOUT, at / 4, l->step << 16 | (uint64_t)l->index, word);
        bool kept = !l->training || word[at % 4] >> 8 >= threshold;
        y->v[i] = kept ? x->v[i] / (l->training ? 1 - (double)a->p : 1) : 0;
    }
    return code;
}

enum { NOT_POINTWISE, RELU, RELU6, SIGMOID, ADD, MUL, SAME };

static int pointwise_kind(const char *op) {
    static const char *const names[] = {"relu", "relu6", "sigmoid", "add", "mul", "flatten"};
    for (int i = 0; i < BL_COUNT(names); i++)
        if (!strcmp(op, names[i])) return i + 1;
    return NOT_POINTWISE;
}

static double pointwise_value(int kind, double x, double y) {
    switch (kind) {
    case RELU:
        return x > 0 ? x : 0;
    case RELU6:
        return x < 0 ? 0 : x > 6 ? 6 : x;
    case SIGMOID:
        return 1 / (1 + exp(-x));
    case ADD:
        return x + y;
    case MUL:
        return x * y;
    default:
        return x;
    }
}

static int pointwise(int kind, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    size_t plane = (size_t)x->h * x->w;
    bool broadcast = inputs > 1 && x[1].h * x[1].w == 1 && plane > 1;
    int code = kind == SAME ? bl_ref_new(y, x->n, x->c * x->h * x->w, 1, 1) : bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++)
        y->v[i] = pointwise_value(kind, x->v[i], inputs > 1 ? x[1].v[broadcast ? i / plane : i] : 0);
    return code;
}

int bl_ref_forward(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const char *op = l->op;
    const struct bl_linear_attrs *a = l->attrs;
    int kind = pointwise_kind(op);
    struct bl_ref_tensor first = *x;
    if (l->images && l->images < x->n) first.n = l->images;
    y->v = NULL;
    if (kind) return pointwise(kind, x, inputs, y);
    if (!strcmp(op, "conv2d")) return bl_ref_conv(l->attrs, l->param[0], l->param[1], &first, y);
    if (!strcmp(op, "linear"))
        return bl_ref_linear(l->param[0], l->param[1], a->in_features, a->out_features, &first, y);
    if (!strcmp(op, "nd_conv2d")) return bl_ref_nd_conv(l, x, y);
    if (!strcmp(op, "nd_linear")) return bl_ref_nd_linear(l, x, y);
    if (!strcmp(op, "channel_deconv")) return bl_ref_channel_deconv(l, x, y);
    if (!strcmp(op, "batchnorm2d")) return batchnorm(l, x, y);
    if (!strcmp(op, "maxpool2d")) return pool(l->attrs, x, y, true);
    if (!strcmp(op, "avgpool2d")) return pool(l->attrs, x, y, false);
    if (!strcmp(op, "global_avgpool2d")) return global_pool(x, y);
    if (!strcmp(op, "cat")) return cat(x, inputs, y);
    if (!strcmp(op, "slice_channels")) return slice(l->attrs, x, y);
    if (!strcmp(op, "dropout")) return dropout(l, x, y);
    if (!strcmp(op, "softmax_cross_entropy")) return loss(l->labels, x, y);
    return bl_fail(BLANCH_EUSAGE, "the operation %s has no plain reference in host/train/reference.c", op);
}
