/* Plain references of network deconvolution (Ye et al., ICLR 2020): convolution, linear layer, whitening of channels.
 */
#include "ops/nd/definition.h"
#include "ops/common.h"
#include "ops/conv/conv.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_STEPS = 20 }; // at the start, whatever the interval of refreshing

enum { TOGETHER = 8 }; // rows that are added at once, so that each sum is loaded and stored once for them

/* to[j] += sum over t < rows of factor[t] from[t*n + j], for j < count. */
static void add_rows(double *to, const double factor[TOGETHER], const double *from, size_t rows, int n, int count) {
    if (rows == TOGETHER) {
        const double *a = from, *b = a + n, *c = b + n, *d = c + n, *e = d + n, *f = e + n, *g = f + n, *h = g + n;
        for (int j = 0; j < count; j++)
            to[j] += factor[0] * a[j] + factor[1] * b[j] + factor[2] * c[j] + factor[3] * d[j] + factor[4] * e[j] +
                     factor[5] * f[j] + factor[6] * g[j] + factor[7] * h[j];
        return;
    }
    for (size_t t = 0; t < rows; t++)
        for (int j = 0; j < count; j++) to[j] += factor[t] * from[t * n + j];
}

/* c = a b. */
static void multiply(const double *a, const double *b, double *c, int n) {
    memset(c, 0, sizeof *c * (size_t)n * n);
    for (int k = 0; k < n; k += TOGETHER)
        for (int i = 0; i < n; i++)
            add_rows(c + (size_t)i * n, a + (size_t)i * n + k, b + (size_t)k * n,
                     (size_t)(n - k < TOGETHER ? n - k : TOGETHER), n, n);
}

/* The coupled iteration as the definition writes it. */
static int inverse_sqrt(const double *s, int n, int iterations, double *d) {
    size_t size = (size_t)n * n;
    double norm = 0, *y = bl_ref_doubles(4 * size), *z = y + size, *t = z + size, *u = t + size;
    if (!y) return BLANCH_ENOMEM;
    for (size_t i = 0; i < size; i++) norm += s[i] * s[i];
    norm = sqrt(norm);
    for (size_t i = 0; i < size; i++) y[i] = s[i] / norm, z[i] = i / n == i % n;
    for (int k = 0; k < iterations; k++) {
        if (k)
            multiply(z, y, t, n);
        else
            memcpy(t, y, sizeof *t * size); // Z is the identity
        for (size_t i = 0; i < size; i++) t[i] = 1.5 * (i / n == i % n) - 0.5 * t[i];
        multiply(y, t, u, n);
        memcpy(y, u, sizeof *u * size);
        if (k) multiply(t, z, u, n);
        memcpy(z, k ? u : t, sizeof *u * size);
    }
    for (size_t i = 0; i < size; i++) d[i] = z[i] / sqrt(norm);
    free(y);
    return 0;
}

static int inverse_deviations(const double *s, int n, double *d) {
    for (int i = 0; i < n * n; i++) d[i] = i / n == i % n ? 1 / sqrt(s[i]) : 0;
    return 0;
}

/* s = rows^T rows / count + eps I, of count rows of f. */
static void second_moment(const double *rows, size_t count, int f, double eps, double *s) {
    memset(s, 0, sizeof *s * (size_t)f * f);
    for (size_t r = 0; r < count; r += TOGETHER)
        for (int i = 0; i < f; i++) {
            double factor[TOGETHER];
            size_t together = count - r < TOGETHER ? count - r : TOGETHER;
            for (size_t t = 0; t < together; t++) factor[t] = rows[(r + t) * f + i] / (double)count;
            add_rows(s + (size_t)i * f, factor, rows + r * f, together, f, i + 1);
        }
    for (int i = 0; i < f; i++) {
        for (int j = 0; j < i; j++) s[(size_t)j * f + i] = s[(size_t)i * f + j];
        s[(size_t)i * f + i] += eps;
    }
}

static void row_mean(const double *rows, size_t count, int f, double *m) {
    memset(m, 0, sizeof *m * (size_t)f);
    for (size_t r = 0; r < count; r++)
        for (int j = 0; j < f; j++) m[j] += rows[r * f + j] / (double)count;
}

/* --- mean and D ------------------------------------------------------------------------------- */

enum mode { RUNNING, EXACT, STALE }; // the buffers; this batch's; directions of the last exact step

/* Buffers and counters in the order in which the layers declare them. */
static int refresh_counter(const struct bl_nd_attrs *nd) {
    return nd->freeze ? 3 : 2;
}

/* Where every step is exact, a layer has no counter and keeps nothing. */
static bool keeps(const struct bl_ref_layer *l, const struct bl_nd_attrs *nd) {
    return nd->refresh > 1 || (nd->refresh == BL_REFRESH_SCHEDULED && l->buffer[refresh_counter(nd) + 1]);
}

/* How this pass whitens; moves the counters on. */
static enum mode next_mode(struct bl_ref_layer *l, const struct bl_nd_attrs *nd) {
    if (!l->training) return RUNNING;
    if (nd->freeze) {
        int64_t iterations = nd->freeze_iter ? nd->freeze_iter : 100, value = l->counter[2];
        l->counter[2] = (value + 1) % (10 * iterations);
        if (value > iterations) return RUNNING;
    }
    if (!keeps(l, nd)) return EXACT;
    int64_t *counter = &l->counter[refresh_counter(nd)], step = *counter;
    bool scheduled = nd->refresh == BL_REFRESH_SCHEDULED;
    bool stale = scheduled ? l->reuse : step >= EXACT_STEPS && step % nd->refresh;
    *counter = (scheduled && (!stale || step < 0) ? 0 : step) + 1;
    return stale ? STALE : EXACT;
}

struct sampled {  // of a group of channels
    double *rows; // (count, f)
    size_t count;
    int f, group;
};

static int exact_deconv(struct bl_ref_layer *l, const struct bl_nd_attrs *nd, const struct sampled *x, double *d) {
    const int f = x->f;
    size_t size = (size_t)f * f;
    double *s = bl_ref_doubles(size), trace = 0;
    if (!s) return BLANCH_ENOMEM;
    second_moment(x->rows, x->count, f, (double)nd->eps, s);
    int code = nd->variances ? inverse_deviations(s, f, d) : inverse_sqrt(s, f, nd->n_iter, d);
    for (int i = 0; i < f; i++) trace += s[(size_t)i * f + i];
    if (keeps(l, nd)) {
        int at = refresh_counter(nd);
        memcpy(l->buffer[at + 1] + x->group * size, d, sizeof *d * size);
        l->buffer[at + 2][x->group] = trace / f;
    }
    free(s);
    return code;
}

static void stale_deconv(const struct bl_ref_layer *l, const struct bl_nd_attrs *nd, const struct sampled *x,
                         double *d) {
    int at = refresh_counter(nd);
    size_t size = (size_t)x->f * x->f, values = x->count * x->f;
    double v = 0;
    for (size_t i = 0; i < values; i++) v += x->rows[i] * x->rows[i] / (double)values;
    double scale = sqrt(l->buffer[at + 2][x->group] / (v + (double)nd->eps));
    for (size_t i = 0; i < size; i++) d[i] = scale * l->buffer[at + 1][x->group * size + i];
}

/* Mean m and D of samples, which are centred in place; running buffers move unless they are what is used. */
static int whiten(struct bl_ref_layer *l, const struct bl_nd_attrs *nd, enum mode mode, const struct sampled *x,
                  double *m, double *d) {
    const int f = x->f;
    size_t size = (size_t)f * f;
    double *mean_buffer = l->buffer[0] + (size_t)x->group * f, *d_buffer = l->buffer[1] + x->group * size;
    int code = 0;
    if (mode == RUNNING) {
        memcpy(m, mean_buffer, sizeof *m * (size_t)f);
        memcpy(d, d_buffer, sizeof *d * size);
        return 0;
    }
    row_mean(x->rows, x->count, f, m);
    for (size_t r = 0; r < x->count; r++)
        for (int j = 0; j < f; j++) x->rows[r * f + j] -= m[j];
    if (mode == STALE)
        stale_deconv(l, nd, x, d);
    else
        code = exact_deconv(l, nd, x, d);
    for (int i = 0; i < f; i++) mean_buffer[i] += nd->momentum * (m[i] - mean_buffer[i]);
    for (size_t i = 0; i < size; i++) d_buffer[i] += nd->momentum * (d[i] - d_buffer[i]);
    return code;
}

/* --- layers ----------------------------------------------------------------------------------- */

/* Patches of an image, or pixels of the batch for 1x1 kernels; where patch r begins. */
struct sampling {
    int down, across, step;
    size_t count, skip; // every skip-th of them
};

static struct sampling sampling_of(const struct bl_nd_conv_attrs *a, const struct bl_ref_tensor *x) {
    const struct bl_conv_attrs *c = &a->conv;
    int sh = a->nd.cov_sampling_stride[0], sw = a->nd.cov_sampling_stride[1];
    struct sampling s = {.step = sh * sw, .skip = 1};
    if (a->nd.whiten_channels || c->kernel[0] * c->kernel[1] == 1) {
        s.count = ((size_t)x->n * x->h * x->w + (size_t)s.step - 1) / (size_t)s.step;
        return s;
    }
    s.down = (x->h + 2 * c->padding[0] - c->dilation[0] * (c->kernel[0] - 1) - 1) / sh + 1;
    s.across = (x->w + 2 * c->padding[1] - c->dilation[1] * (c->kernel[1] - 1) - 1) / sw + 1;
    s.count = (size_t)x->n * s.down * s.across;
    return s;
}

/* The smallest step that leaves at most so many samples of blocks, if any are left. */
static void limit_samples(struct sampling *s, int most, int f, int blocks) {
    size_t limit = (size_t)(most < 0 ? -most * f : most), all = s->count;
    while (most && s->count > 1 && s->count * (size_t)blocks > limit) {
        s->skip++;
        s->count = (all + s->skip - 1) / s->skip;
    }
}

/* Feature `tap` of channel k of patch r. */
static double sample(const struct bl_nd_conv_attrs *a, const struct sampling *s, const struct bl_ref_tensor *x,
                     size_t r, int k, int tap) {
    const struct bl_conv_attrs *c = &a->conv;
    r *= s->skip;
    if (!s->down) {
        size_t p = r * (size_t)s->step, plane = (size_t)x->h * x->w;
        return bl_ref_at(x, (int)(p / plane), k, 0, 0)[p % plane];
    }
    int image = (int)(r / ((size_t)s->down * s->across)), i = (int)(r / s->across % s->down), j = (int)(r % s->across);
    return bl_ref_padded(x, image, k,
                         i * a->nd.cov_sampling_stride[0] - c->padding[0] + tap / c->kernel[1] * c->dilation[0],
                         j * a->nd.cov_sampling_stride[1] - c->padding[1] + tap % c->kernel[1] * c->dilation[1]);
}

/* The samples of channels first.. in blocks that interleave: row (r, b) holds the flat features j*blocks + b of patch
 * r. */
static double *samples(const struct bl_nd_conv_attrs *a, const struct sampling *s, const struct bl_ref_tensor *x,
                       int first, int f, int blocks) {
    int taps = a->nd.whiten_channels ? 1 : a->conv.kernel[0] * a->conv.kernel[1];
    double *rows = bl_ref_doubles(s->count * (size_t)f * blocks), *out = rows;
    for (size_t r = 0; r < s->count && rows; r++)
        for (int b = 0; b < blocks; b++)
            for (int j = 0; j < f; j++)
                *out++ = sample(a, s, x, r, first + (j * blocks + b) / taps, (j * blocks + b) % taps);
    return rows;
}

int bl_nd_fold_definition(const struct bl_nd_folding *w, const double *m, const double *d) {
    const int f = w->f, blocks = w->blocks;
    double *row = bl_ref_doubles((size_t)f);
    if (!row) return BLANCH_ENOMEM;
    for (int o = 0; o < w->out; o++) {
        const double *from = w->weight + (size_t)o * f * blocks;
        double *to = w->folded + (size_t)o * f * blocks;
        w->folded_bias[o] = w->bias[o];
        for (int g = 0; g < blocks; g++) {
            memset(row, 0, sizeof *row * (size_t)f);
            for (int i = 0; i < f; i++) {
                double factor = from[w->interleaved ? i * blocks + g : g * f + i];
                for (int j = 0; j < f; j++) row[j] += factor * d[(size_t)i * f + j];
            }
            for (int j = 0; j < f; j++) {
                to[w->interleaved ? j * blocks + g : g * f + j] = row[j];
                w->folded_bias[o] -= row[j] * m[j];
            }
        }
    }
    free(row);
    return 0;
}

static struct bl_ref_tensor first_images(const struct bl_ref_layer *l, const struct bl_ref_tensor *x) {
    struct bl_ref_tensor first = *x;
    if (l->images && l->images < x->n) first.n = l->images;
    return first;
}

int bl_nd_conv_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_nd_conv_attrs *a = l->attrs;
    const struct bl_conv_attrs *c = &a->conv;
    int groups = c->groups, channels = c->in_channels / groups, taps = c->kernel[0] * c->kernel[1],
        out = c->out_channels / groups;
    int block = groups > 1 ? channels : a->nd.block, blocks = channels / block, code = 0;
    int alike = a->nd.whiten_channels ? taps : 1, f = block * taps / alike; // D is the same for so many taps
    size_t weights = (size_t)out * channels * taps;
    enum mode mode = next_mode(l, &a->nd);
    struct sampling s = sampling_of(a, x);
    limit_samples(&s, a->nd.cov_samples, f, blocks);
    if (mode == RUNNING) s.count = 0;
    double *m = bl_ref_doubles((size_t)f), *d = bl_ref_doubles((size_t)f * f),
           *weight = bl_ref_doubles(weights * groups);
    double *bias = bl_ref_doubles((size_t)c->out_channels);
    if (!m || !d || !weight || !bias) code = BLANCH_ENOMEM;
    for (int g = 0; g < groups && !code; g++) {
        double *rows = samples(a, &s, x, g * channels, f, blocks);
        const struct sampled sampled = {rows, s.count * blocks, f, g};
        const struct bl_nd_folding w = {.weight = l->param[0] + g * weights,
                                        .bias = l->param[1] + (size_t)g * out,
                                        .out = out,
                                        .f = f,
                                        .blocks = blocks * alike,
                                        .interleaved = true,
                                        .folded = weight + g * weights,
                                        .folded_bias = bias + (size_t)g * out};
        code = rows ? whiten(l, &a->nd, mode, &sampled, m, d) : BLANCH_ENOMEM;
        free(rows);
        if (!code) code = bl_nd_fold_definition(&w, m, d);
    }
    struct bl_ref_tensor first = first_images(l, x);
    if (!code) code = bl_conv_definition(c, weight, bias, &first, y);
    free(m), free(d), free(weight), free(bias);
    return code;
}

int bl_nd_linear_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs,
                            struct bl_ref_tensor *y) {
    const struct bl_nd_linear_attrs *a = l->attrs;
    int in = a->linear.in_features, out = a->linear.out_features, f = a->nd.block, blocks = in / f,
        code = BLANCH_ENOMEM;
    double *m = bl_ref_doubles((size_t)f), *d = bl_ref_doubles((size_t)f * f),
           *weight = bl_ref_doubles((size_t)in * out);
    double *bias = bl_ref_doubles((size_t)out), *rows = bl_ref_doubles(bl_ref_count(x));
    struct bl_ref_tensor first = first_images(l, x);
    if (!m || !d || !weight || !bias || !rows) goto done;
    const size_t stride = a->nd.cov_sampling_stride[0] ? (size_t)a->nd.cov_sampling_stride[0] : 1,
                 step = stride * stride, plane = (size_t)x->h * x->w, count = ((size_t)x->n * plane + step - 1) / step;
    for (size_t r = 0; r < count; r++)
        for (int i = 0; i < in; i++)
            rows[r * in + i] = bl_ref_at(x, (int)(r * step / plane), i, 0, 0)[r * step % plane];
    const struct sampled sampled = {rows, count * blocks, f, 0};
    const struct bl_nd_folding w = {.weight = l->param[0],
                                    .bias = l->param[1],
                                    .out = out,
                                    .f = f,
                                    .blocks = blocks,
                                    .folded = weight,
                                    .folded_bias = bias};
    code = whiten(l, &a->nd, next_mode(l, &a->nd), &sampled, m, d);
    if (!code) code = bl_nd_fold_definition(&w, m, d);
    if (!code) code = bl_linear_definition(weight, bias, in, out, &first, y);
done:
    free(m), free(d), free(weight), free(bias), free(rows);
    return code;
}

/* --- whitening of channels -------------------------------------------------------------------- */

/* The first batch is copied, later ones are averaged in. */
static void track(const struct bl_ref_layer *l, int buffer, const double *value, size_t count) {
    const struct bl_channel_deconv_attrs *a = l->attrs;
    double rate = l->counter[4] ? (double)a->momentum : 1;
    for (size_t i = 0; i < count; i++) l->buffer[buffer][i] += rate * (value[i] - l->buffer[buffer][i]);
}

/* Column p, in the order (block, image, pixel), of the matrix that the whitened channels make: its feature i is channel
 * i*blocks + block. */
static double *column(const struct bl_ref_tensor *x, int blocks, size_t p, int i) {
    size_t plane = (size_t)x->h * x->w;
    return bl_ref_at(x, (int)(p / plane % (size_t)x->n), i * blocks + (int)(p / (plane * x->n)), 0, 0) + p % plane;
}

static int head_statistics(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int blocks, size_t step, double *m,
                           double *d) {
    const struct bl_channel_deconv_attrs *a = l->attrs;
    int b = a->block, code = BLANCH_ENOMEM;
    size_t columns = (size_t)blocks * x->n * x->h * x->w, count = (columns + step - 1) / step, size = (size_t)b * b;
    double *rows = bl_ref_doubles(count * b), *s = bl_ref_doubles(size);
    if (!rows || !s) goto done;
    for (size_t r = 0; r < count; r++)
        for (int i = 0; i < b; i++) rows[r * b + i] = *column(x, blocks, r * step, i);
    row_mean(rows, count, b, m);
    second_moment(rows, count, b, (double)a->eps, s); // of samples that are not centred, as published
    if ((code = inverse_sqrt(s, b, a->n_iter, d))) goto done;
    track(l, 0, m, (size_t)b);
    track(l, 1, d, size);
done:
    free(rows), free(s);
    return code;
}

static int whiten_head(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int blocks, size_t step,
                       struct bl_ref_tensor *y) {
    const struct bl_channel_deconv_attrs *a = l->attrs;
    int b = a->block, code = 0;
    double *m = bl_ref_doubles((size_t)b), *d = bl_ref_doubles((size_t)b * b);
    if (!m || !d)
        code = BLANCH_ENOMEM;
    else if (l->training)
        code = head_statistics(l, x, blocks, step, m, d);
    else
        memcpy(m, l->buffer[0], sizeof *m * (size_t)b), memcpy(d, l->buffer[1], sizeof *d * (size_t)b * b);
    for (size_t p = 0; p < (size_t)blocks * x->n * x->h * x->w && !code; p++)
        for (int i = 0; i < b; i++) {
            double sum = 0;
            for (int j = 0; j < b; j++) sum += d[(size_t)i * b + j] * (*column(x, blocks, p, j) - m[j]);
            *column(y, blocks, p, i) = sum;
        }
    free(m), free(d);
    return code;
}

/* Mean and unbiased variance of every step-th value of each image's channels from head on. */
static void tail_moments(const struct bl_ref_tensor *x, int head, size_t step, double *mean, double *var) {
    size_t values = (size_t)(x->c - head) * x->h * x->w;
    double count = (double)x->n * (double)((values + step - 1) / step);
    *mean = *var = 0;
    for (int n = 0; n < x->n; n++)
        for (size_t i = 0; i < values; i += step) *mean += bl_ref_at(x, n, head, 0, 0)[i] / count;
    for (int n = 0; n < x->n; n++)
        for (size_t i = 0; i < values; i += step) *var += pow(bl_ref_at(x, n, head, 0, 0)[i] - *mean, 2) / (count - 1);
}

static void normalise_tail(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int head, size_t step,
                           struct bl_ref_tensor *y) {
    const struct bl_channel_deconv_attrs *a = l->attrs;
    double mean = l->buffer[2][0], var = l->buffer[3][0];
    if (l->training) {
        tail_moments(x, head, step, &mean, &var);
        track(l, 2, &mean, 1);
        track(l, 3, &var, 1);
    }
    for (int n = 0; n < x->n; n++)
        for (size_t i = 0; i < (size_t)(x->c - head) * x->h * x->w; i++)
            bl_ref_at(y, n, head, 0, 0)[i] = (bl_ref_at(x, n, head, 0, 0)[i] - mean) / sqrt(var + (double)a->eps);
}

int bl_channel_deconv_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs,
                                 struct bl_ref_tensor *y) {
    const struct bl_channel_deconv_attrs *a = l->attrs;
    int blocks = x->c / a->block, head = blocks * a->block, stride = a->cov_sampling_stride;
    size_t step = x->h >= stride && x->w >= stride ? (size_t)stride * stride : 1;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    if (!code && head) code = whiten_head(l, x, blocks, step, y);
    if (!code && head < x->c) normalise_tail(l, x, head, step, y);
    l->counter[4] += l->training;
    return code;
}
