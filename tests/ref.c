/* Plain references: loops over the definitions, nothing clever. */
#include "ref.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t ref_count(const struct ref_tensor *t) { return (size_t)t->n * t->c * t->h * t->w; }

static double *doubles(size_t count) {
    double *v = calloc(count ? count : 1, sizeof *v);
    if (!v) abort();
    return v;
}

struct ref_tensor ref_new(int n, int c, int h, int w) {
    struct ref_tensor t = {n, c, h, w, NULL};
    t.v = doubles(ref_count(&t));
    return t;
}

static double *at(const struct ref_tensor *t, int n, int c, int y, int x) {
    return &t->v[(((size_t)n * t->c + c) * t->h + y) * t->w + x];
}

static double padded(const struct ref_tensor *t, int n, int c, int y, int x) {
    return y < 0 || x < 0 || y >= t->h || x >= t->w ? 0 : *at(t, n, c, y, x);
}

/* --- convolution and linear ------------------------------------------------------------------- */

static void conv(const struct bl_conv_attrs *a, const double *weight, const double *bias, const struct ref_tensor *x, struct ref_tensor *y) {
    int kh = a->kernel[0], kw = a->kernel[1], ci = a->in_channels / a->groups, co = a->out_channels / a->groups;
    *y = ref_new(x->n, a->out_channels, (x->h + 2 * a->padding[0] - a->dilation[0] * (kh - 1) - 1) / a->stride[0] + 1,
                 (x->w + 2 * a->padding[1] - a->dilation[1] * (kw - 1) - 1) / a->stride[1] + 1);
    for (int n = 0; n < y->n; n++)
        for (int o = 0; o < y->c; o++)
            for (int i = 0; i < y->h; i++)
                for (int j = 0; j < y->w; j++) {
                    double sum = bias ? bias[o] : 0;
                    for (int c = 0; c < ci; c++)
                        for (int p = 0; p < kh; p++)
                            for (int q = 0; q < kw; q++)
                                sum += weight[((o * ci + c) * kh + p) * kw + q] *
                                       padded(x, n, o / co * ci + c, i * a->stride[0] - a->padding[0] + p * a->dilation[0],
                                              j * a->stride[1] - a->padding[1] + q * a->dilation[1]);
                    *at(y, n, o, i, j) = sum;
                }
}

static void linear(const double *weight, const double *bias, int in, int out, const struct ref_tensor *x, struct ref_tensor *y) {
    *y = ref_new(x->n, out, 1, 1);
    for (int n = 0; n < x->n; n++)
        for (int o = 0; o < out; o++) {
            double sum = bias ? bias[o] : 0;
            for (int i = 0; i < in; i++) sum += weight[o * in + i] * x->v[n * in + i];
            y->v[n * out + o] = sum;
        }
}

/* --- network deconvolution -------------------------------------------------------------------- */

static void multiply(const double *a, const double *b, double *c, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
            c[i * n + j] = sum;
        }
}

/* The coupled iteration as the definition writes it. */
static void inverse_sqrt(const double *s, int n, int iterations, double *d) {
    double norm = 0, *y = doubles((size_t)n * n), *z = doubles((size_t)n * n), *t = doubles((size_t)n * n), *u = doubles((size_t)n * n);
    for (int i = 0; i < n * n; i++) norm += s[i] * s[i];
    norm = sqrt(norm);
    for (int i = 0; i < n * n; i++) y[i] = s[i] / norm, z[i] = i / n == i % n;
    for (int k = 0; k < iterations; k++) {
        multiply(z, y, t, n);
        for (int i = 0; i < n * n; i++) t[i] = 1.5 * (i / n == i % n) - 0.5 * t[i];
        multiply(y, t, u, n);
        memcpy(y, u, sizeof *u * (size_t)n * (size_t)n);
        multiply(t, z, u, n);
        memcpy(z, u, sizeof *u * (size_t)n * (size_t)n);
    }
    for (int i = 0; i < n * n; i++) d[i] = z[i] / sqrt(norm);
    free(y), free(z), free(t), free(u);
}

/* Mean m and D of samples (count x f), or the buffers; buffers updated in training. */
static void whiten(const struct ref_layer *l, const struct bl_nd_attrs *nd, double *rows, int count, int f, int group, double *m, double *d) {
    double *mean_buffer = l->buffer[0] + (size_t)group * f, *d_buffer = l->buffer[1] + (size_t)group * f * f;
    if (!l->training) {
        memcpy(m, mean_buffer, sizeof *m * (size_t)f);
        memcpy(d, d_buffer, sizeof *d * (size_t)f * (size_t)f);
        return;
    }
    double *s = doubles((size_t)f * f);
    for (int j = 0; j < f; j++) {
        m[j] = 0;
        for (int r = 0; r < count; r++) m[j] += rows[(size_t)r * f + j] / count;
        for (int r = 0; r < count; r++) rows[(size_t)r * f + j] -= m[j];
    }
    for (int i = 0; i < f; i++)
        for (int j = 0; j < f; j++) {
            for (int r = 0; r < count; r++) s[i * f + j] += rows[(size_t)r * f + i] * rows[(size_t)r * f + j] / count;
            s[i * f + j] += i == j ? (double)nd->eps : 0;
        }
    inverse_sqrt(s, f, nd->n_iter, d);
    for (int i = 0; i < f; i++) mean_buffer[i] += nd->momentum * (m[i] - mean_buffer[i]);
    for (int i = 0; i < f * f; i++) d_buffer[i] += nd->momentum * (d[i] - d_buffer[i]);
    free(s);
}

/* All sample rows of the channels first..first+channels-1: (patches, channels*kh*kw), flat feature c*kh*kw + tap. */
static double *patches(const struct bl_nd_conv_attrs *a, const struct ref_tensor *x, int first, int channels, int *count) {
    const struct bl_conv_attrs *c = &a->conv;
    int kh = c->kernel[0], kw = c->kernel[1], taps = kh * kw, width = channels * taps;
    int sh = a->nd.cov_sampling_stride[0], sw = a->nd.cov_sampling_stride[1];
    if (taps == 1) {
        int all = x->n * x->h * x->w, step = sh * sw;
        *count = (all + step - 1) / step;
        double *rows = doubles((size_t)*count * width);
        for (int r = 0; r < *count; r++) {
            int p = r * step;
            for (int k = 0; k < channels; k++) rows[(size_t)r * width + k] = *at(x, p / (x->h * x->w), first + k, p / x->w % x->h, p % x->w);
        }
        return rows;
    }
    int oh = (x->h + 2 * c->padding[0] - c->dilation[0] * (kh - 1) - 1) / sh + 1, ow = (x->w + 2 * c->padding[1] - c->dilation[1] * (kw - 1) - 1) / sw + 1;
    *count = x->n * oh * ow;
    double *rows = doubles((size_t)*count * width), *out = rows;
    for (int r = 0; r < *count; r++)
        for (int k = 0; k < channels; k++)
            for (int t = 0; t < taps; t++)
                *out++ = padded(x, r / (oh * ow), first + k, r / ow % oh * sh - c->padding[0] + t / kw * c->dilation[0],
                                r % ow * sw - c->padding[1] + t % kw * c->dilation[1]);
    return rows;
}

static void fold(const double *weight, const double *bias, const double *m, const double *d, int out, int f, int blocks, bool interleaved,
                 double *weight2, double *bias2) {
    for (int o = 0; o < out; o++) {
        bias2[o] = bias[o];
        for (int g = 0; g < blocks; g++)
            for (int j = 0; j < f; j++) {
                double sum = 0;
                for (int i = 0; i < f; i++) sum += weight[o * f * blocks + (interleaved ? i * blocks + g : g * f + i)] * d[i * f + j];
                weight2[o * f * blocks + (interleaved ? j * blocks + g : g * f + j)] = sum;
                bias2[o] -= sum * m[j];
            }
    }
}

static void nd_conv(const struct ref_layer *l, const struct ref_tensor *x, struct ref_tensor *y) {
    const struct bl_nd_conv_attrs *a = l->attrs;
    const struct bl_conv_attrs *c = &a->conv;
    int groups = c->groups, channels = c->in_channels / groups, taps = c->kernel[0] * c->kernel[1], out = c->out_channels / groups;
    int block = groups > 1 ? channels : a->nd.block, blocks = channels / block, f = block * taps, count;
    size_t weights = (size_t)c->out_channels * channels * taps;
    double *m = doubles(f), *d = doubles((size_t)f * f), *weight = doubles(weights), *bias = doubles(c->out_channels);
    for (int g = 0; g < groups; g++) {
        double *rows = patches(a, x, g * channels, channels, &count), *split = doubles((size_t)count * channels * taps);
        for (int r = 0; r < count; r++)
            for (int b = 0; b < blocks; b++)
                for (int j = 0; j < f; j++) split[((size_t)r * blocks + b) * f + j] = rows[(size_t)r * channels * taps + j * blocks + b];
        whiten(l, &a->nd, split, count * blocks, f, g, m, d);
        size_t skip = (size_t)g * out * channels * taps;
        fold(l->param[0] + skip, l->param[1] + g * out, m, d, out, f, blocks, true, weight + skip, bias + g * out);
        free(rows), free(split);
    }
    conv(c, weight, bias, x, y);
    free(m), free(d), free(weight), free(bias);
}

static void nd_linear(const struct ref_layer *l, const struct ref_tensor *x, struct ref_tensor *y) {
    const struct bl_nd_linear_attrs *a = l->attrs;
    int in = a->linear.in_features, out = a->linear.out_features, f = a->nd.block, blocks = in / f;
    double *m = doubles(f), *d = doubles((size_t)f * f), *weight = doubles((size_t)in * out), *bias = doubles(out), *rows = doubles(ref_count(x));
    memcpy(rows, x->v, sizeof *rows * ref_count(x));
    whiten(l, &a->nd, rows, x->n * blocks, f, 0, m, d);
    fold(l->param[0], l->param[1], m, d, out, f, blocks, false, weight, bias);
    linear(weight, bias, in, out, x, y);
    free(m), free(d), free(weight), free(bias), free(rows);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void batchnorm(const struct ref_layer *l, const struct ref_tensor *x, struct ref_tensor *y) {
    const struct bl_batchnorm_attrs *a = l->attrs;
    int plane = x->h * x->w, count = x->n * plane;
    *y = ref_new(x->n, x->c, x->h, x->w);
    for (int c = 0; c < x->c; c++) {
        double mean = l->buffer[0][c], var = l->buffer[1][c];
        if (l->training) {
            mean = var = 0;
            for (int i = 0; i < count; i++) mean += at(x, i / plane, c, 0, 0)[i % plane] / count;
            for (int i = 0; i < count; i++) var += pow(at(x, i / plane, c, 0, 0)[i % plane] - mean, 2) / count;
            l->buffer[0][c] += a->momentum * (mean - l->buffer[0][c]);
            l->buffer[1][c] += a->momentum * (var * count / (count - 1) - l->buffer[1][c]);
        }
        for (int i = 0; i < count; i++)
            at(y, i / plane, c, 0, 0)[i % plane] =
                (at(x, i / plane, c, 0, 0)[i % plane] - mean) / sqrt(var + a->eps) * l->param[0][c] + l->param[1][c];
    }
}

static void pool(const struct bl_pool_attrs *a, const struct ref_tensor *x, struct ref_tensor *y, bool max) {
    *y = ref_new(x->n, x->c, (x->h + 2 * a->padding[0] - a->kernel[0]) / a->stride[0] + 1, (x->w + 2 * a->padding[1] - a->kernel[1]) / a->stride[1] + 1);
    for (int n = 0; n < y->n; n++)
        for (int c = 0; c < y->c; c++)
            for (int i = 0; i < y->h; i++)
                for (int j = 0; j < y->w; j++) {
                    double value = max ? -INFINITY : 0;
                    for (int t = 0; t < a->kernel[0] * a->kernel[1]; t++) {
                        int p = i * a->stride[0] - a->padding[0] + t / a->kernel[1], q = j * a->stride[1] - a->padding[1] + t % a->kernel[1];
                        bool inside = p >= 0 && q >= 0 && p < x->h && q < x->w;
                        if (max && inside) value = fmax(value, *at(x, n, c, p, q));
                        if (!max) value += padded(x, n, c, p, q) / (a->kernel[0] * a->kernel[1]);
                    }
                    *at(y, n, c, i, j) = value;
                }
}

static void global_pool(const struct ref_tensor *x, struct ref_tensor *y) {
    *y = ref_new(x->n, x->c, 1, 1);
    for (size_t i = 0; i < ref_count(x); i++) y->v[i / ((size_t)x->h * x->w)] += x->v[i] / (x->h * x->w);
}

static void cat(const struct ref_tensor *x, int inputs, struct ref_tensor *y) {
    int channels = 0, first = 0;
    for (int k = 0; k < inputs; k++) channels += x[k].c;
    *y = ref_new(x->n, channels, x->h, x->w);
    for (int k = 0; k < inputs; first += x[k++].c)
        for (int n = 0; n < x->n; n++) memcpy(at(y, n, first, 0, 0), at(&x[k], n, 0, 0, 0), sizeof(double) * (size_t)x[k].c * x->h * x->w);
}

static void slice(const struct bl_slice_attrs *a, const struct ref_tensor *x, struct ref_tensor *y) {
    int end = a->end ? a->end : x->c;
    *y = ref_new(x->n, end - a->begin, x->h, x->w);
    for (int n = 0; n < x->n; n++) memcpy(at(y, n, 0, 0, 0), at(x, n, a->begin, 0, 0), sizeof(double) * (size_t)y->c * x->h * x->w);
}

static void loss(const int32_t *labels, const struct ref_tensor *x, struct ref_tensor *y) {
    *y = ref_new(x->n, 1, 1, 1);
    for (int n = 0; n < x->n; n++) {
        const double *row = x->v + (size_t)n * x->c;
        double top = row[0], sum = 0;
        for (int c = 0; c < x->c; c++) top = fmax(top, row[c]);
        for (int c = 0; c < x->c; c++) sum += exp(row[c] - top);
        y->v[n] = top + log(sum) - row[labels[n]];
    }
}

static double pointwise(const char *op, double x, double y) {
    if (!strcmp(op, "relu")) return x > 0 ? x : 0;
    if (!strcmp(op, "relu6")) return x < 0 ? 0 : x > 6 ? 6 : x;
    if (!strcmp(op, "sigmoid")) return 1 / (1 + exp(-x));
    if (!strcmp(op, "add")) return x + y;
    if (!strcmp(op, "mul")) return x * y;
    return x;                               // flatten; dropout in evaluation
}

void ref_forward(const struct ref_layer *l, const struct ref_tensor *x, int inputs, struct ref_tensor *y) {
    const char *op = l->op;
    const struct bl_linear_attrs *a = l->attrs;
    if (!strcmp(op, "conv2d")) conv(l->attrs, l->param[0], l->param[1], x, y);
    else if (!strcmp(op, "linear")) linear(l->param[0], l->param[1], a->in_features, a->out_features, x, y);
    else if (!strcmp(op, "nd_conv2d")) nd_conv(l, x, y);
    else if (!strcmp(op, "nd_linear")) nd_linear(l, x, y);
    else if (!strcmp(op, "batchnorm2d")) batchnorm(l, x, y);
    else if (!strcmp(op, "maxpool2d")) pool(l->attrs, x, y, true);
    else if (!strcmp(op, "avgpool2d")) pool(l->attrs, x, y, false);
    else if (!strcmp(op, "global_avgpool2d")) global_pool(x, y);
    else if (!strcmp(op, "cat")) cat(x, inputs, y);
    else if (!strcmp(op, "slice_channels")) slice(l->attrs, x, y);
    else if (!strcmp(op, "softmax_cross_entropy")) loss(l->labels, x, y);
    else {
        *y = !strcmp(op, "flatten") ? ref_new(x->n, x->c * x->h * x->w, 1, 1) : ref_new(x->n, x->c, x->h, x->w);
        size_t plane = (size_t)x->h * x->w;
        for (size_t i = 0; i < ref_count(x); i++) {
            bool broadcast = inputs > 1 && x[1].h * x[1].w == 1 && plane > 1;
            y->v[i] = pointwise(op, x->v[i], inputs > 1 ? x[1].v[broadcast ? i / plane : i] : 0);
        }
    }
}
