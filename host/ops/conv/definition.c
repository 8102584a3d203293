/* The convolution in plain double precision, in an order that the caches like. */
#include "graph/reference.h"
#include "ops/conv/conv.h"

/* Adds what one tap of an input plane gives to an output plane. */
static void add_tap(const struct bl_conv_attrs *a, int tap, double weight, struct bl_ref_tensor x,
                    struct bl_ref_tensor y) {
    const int top = tap / a->kernel[1] * a->dilation[0] - a->padding[0];
    const int left = tap % a->kernel[1] * a->dilation[1] - a->padding[1];
    int first = 0, end = y.w;
    while (first < end && first * a->stride[1] + left < 0) first++;
    while (end > first && (end - 1) * a->stride[1] + left >= x.w) end--;
    for (int i = 0; i < y.h; i++) {
        int row = i * a->stride[0] + top;
        if (row < 0 || row >= x.h) continue;
        const double *from = x.v + (ptrdiff_t)row * x.w + left;
        double *to = y.v + (size_t)i * y.w;
        if (a->stride[1] == 1)
            for (int j = first; j < end; j++) to[j] += weight * from[j];
        else
            for (int j = first; j < end; j++) to[j] += weight * from[(ptrdiff_t)j * a->stride[1]];
    }
}

int bl_conv_definition(const struct bl_conv_attrs *a, const double *weight, const double *bias,
                       const struct bl_ref_tensor *x, struct bl_ref_tensor *y) {
    int taps = a->kernel[0] * a->kernel[1], ci = a->in_channels / a->groups, co = a->out_channels / a->groups;
    int code = bl_ref_new(y, x->n, a->out_channels,
                          (x->h + 2 * a->padding[0] - a->dilation[0] * (a->kernel[0] - 1) - 1) / a->stride[0] + 1,
                          (x->w + 2 * a->padding[1] - a->dilation[1] * (a->kernel[1] - 1) - 1) / a->stride[1] + 1);
    if (code) return code;
    for (int n = 0; n < y->n; n++)
        for (int o = 0; o < y->c; o++) {
            struct bl_ref_tensor plane = bl_ref_plane(y, n, o);
            for (int i = 0; bias && i < y->h * y->w; i++) plane.v[i] = bias[o];
            for (int c = 0; c < ci; c++)
                for (int t = 0; t < taps; t++)
                    add_tap(a, t, weight[((size_t)o * ci + c) * taps + t], bl_ref_plane(x, n, o / co * ci + c), plane);
        }
    return 0;
}
