/* The convolution in plain double precision, in an order that the caches like. */
#include "graph/reference.h"
#include "ops/conv/conv.h"

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

int bl_conv_definition(const struct bl_conv_attrs *a, const double *weight, const double *bias,
                       const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
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
