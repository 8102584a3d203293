/* One axis of a pass as a sum over taps: outputs at grid*out_step + out_first, inputs at grid*in_step + in_first +
 * tap*tap_step, the taps' weights at weight_first + tap*weight_step. */
#ifndef BL_CONV_AXIS_H
#define BL_CONV_AXIS_H

#include "graph/op.h"

/* As struct axis of kernels/conv/sizes.h. */
struct bl_conv_axis {
    int32_t grid, in_step, in_first, tap_step, taps, weight_first, weight_step, out_step, out_first;
};

/* i: 0 the vertical axis, 1 the horizontal one. */
static inline struct bl_conv_axis bl_conv_forward_axis(const struct bl_conv_attrs *a, int i, int64_t out,
                                                       int weight_step) {
    return (struct bl_conv_axis){.grid = (int)out,
                                 .in_step = a->stride[i],
                                 .in_first = -a->padding[i],
                                 .tap_step = a->dilation[i],
                                 .taps = a->kernel[i],
                                 .weight_step = weight_step,
                                 .out_step = 1};
}

struct bl_conv_axes {
    struct bl_conv_axis down, across;
};
static inline struct bl_conv_axes bl_conv_forward_axes(const struct bl_conv_attrs *a, int64_t out_h, int64_t out_w) {
    return (struct bl_conv_axes){bl_conv_forward_axis(a, 0, out_h, a->kernel[1]), bl_conv_forward_axis(a, 1, out_w, 1)};
}

static inline int bl_conv_gcd(int a, int b) {
    while (b) {
        int rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* Of the data gradient: the input positions i with (i + padding) mod stride == residue. The taps k with
 * k*dilation mod stride == residue reach them, every (stride/gcd)-th from the first, and find their output at
 * (i + padding - k*dilation) / stride. */
static inline struct bl_conv_axis bl_conv_residue_axis(const struct bl_conv_attrs *a, int i, int64_t in, int residue,
                                                       int weight_step) {
    const int stride = a->stride[i], dilation = a->dilation[i], common = bl_conv_gcd(dilation, stride);
    const int first = ((residue - a->padding[i]) % stride + stride) % stride; // the first such position
    struct bl_conv_axis axis = {.in_step = 1,
                                .out_step = stride,
                                .out_first = first,
                                .tap_step = -dilation / common,
                                .weight_step = stride / common * weight_step};
    axis.grid = first < in ? (int)((in - first - 1) / stride + 1) : 0;
    int k = 0;
    while (k < a->kernel[i] && (int64_t)k * dilation % stride != residue) k++;
    if (k == a->kernel[i]) return axis;
    axis.taps = (a->kernel[i] - 1 - k) / (stride / common) + 1;
    axis.weight_first = k * weight_step;
    axis.in_first = (int)((first + a->padding[i] - (int64_t)k * dilation) / stride); // exact
    return axis;
}

#endif
