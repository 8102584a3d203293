/* Convolutions, linear layers and windows as ONNX. */
#include "ops/onnx.h"
#include "ops/common.h"
#include <limits.h>
#include <string.h>

/* As much on both sides as leaves the size as it is. */
static void read_same(struct bl_onnx_reader *r, const int kernel[2], const int stride[2], const int dilation[2],
                      int padding[2]) {
    for (int i = 0; i < 2; i++) {
        const int64_t reach = (int64_t)dilation[i] * (kernel[i] - 1);
        if (stride[i] != 1 || reach % 2 || reach < 0 || reach > INT_MAX)
            bl_onnx_refuse(r, "its padding is what keeps the size, of a stride or an even kernel");
        padding[i] = (int)(reach / 2);
    }
}

/* Two sizes, of four that agree. */
static void read_padding(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const int kernel[2],
                         const int stride[2], const int dilation[2], int padding[2]) {
    const char *automatic = bl_onnx_text(n, "auto_pad", "NOTSET");
    int pads[4];
    if (!strcmp(automatic, "SAME_UPPER") || !strcmp(automatic, "SAME_LOWER")) {
        read_same(r, kernel, stride, dilation, padding);
        return;
    }
    bl_onnx_ints(r, n, "pads", 0, pads, 4);
    if (strcmp(automatic, "NOTSET") && strcmp(automatic, "VALID")) bl_onnx_refuse(r, "its padding is %s", automatic);
    if (pads[0] != pads[2] || pads[1] != pads[3]) bl_onnx_refuse(r, "its padding is not the same on both sides");
    padding[0] = pads[0], padding[1] = pads[1];
}

void bl_conv_read(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct blanch_tensor *x,
                  struct bl_conv_attrs *a) {
    int64_t sizes[BL_ONNX_DIMS] = {1, 1, 1, 1};
    int kernel[2];
    *a = (struct bl_conv_attrs){.in_channels = x ? (int)x->c : 0,
                                .bias = bl_onnx_has(n, 2) && !bl_onnx_is_zero(r, n, 2)};
    if (bl_onnx_sizes(r, n, 1, sizes) != 4) {
        bl_onnx_refuse(r, "its weights are no values of the file, of four sizes");
        return;
    }
    const int64_t groups = bl_onnx_int(n, "group", 1);
    for (int i = 0; i < 4; i++)
        if (sizes[i] > INT_MAX) bl_onnx_refuse(r, "its weights are too large");
    if (groups < 1 || groups > INT_MAX) {
        bl_onnx_refuse(r, "it has %lld groups", (long long)groups);
        return;
    }
    for (int i = 0; i < 2; i++) {
        bl_onnx_ints(r, n, "kernel_shape", (int)sizes[2 + i], kernel, 2);
        if (kernel[i] != sizes[2 + i]) bl_onnx_refuse(r, "its kernel_shape is not that of its weights");
    }
    if (x && (sizes[1] > INT_MAX / groups || sizes[1] * groups != x->c))
        bl_onnx_refuse(r, "its weights are for %lld channels in each of %lld groups, its input has %lld",
                       (long long)sizes[1], (long long)groups, (long long)x->c);
    a->out_channels = (int)sizes[0];
    a->groups = (int)groups;
    a->kernel[0] = (int)sizes[2], a->kernel[1] = (int)sizes[3];
    bl_onnx_ints(r, n, "strides", 1, a->stride, 2);
    bl_onnx_ints(r, n, "dilations", 1, a->dilation, 2);
    read_padding(r, n, a->kernel, a->stride, a->dilation, a->padding);
}

void bl_conv_write(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_conv_attrs *a,
                   const struct bl_onnx_layer *layer) {
    const int64_t kernel[] = {a->kernel[0], a->kernel[1]}, strides[] = {a->stride[0], a->stride[1]},
                  dilations[] = {a->dilation[0], a->dilation[1]},
                  pads[] = {a->padding[0], a->padding[1], a->padding[0], a->padding[1]},
                  sizes[] = {a->out_channels, a->in_channels / a->groups, kernel[0], kernel[1]};
    const struct bl_onnx_attribute attributes[] = {{"kernel_shape", BL_ONNX_INTS, .count = 2, .ints = kernel},
                                                   {"strides", BL_ONNX_INTS, .count = 2, .ints = strides},
                                                   {"pads", BL_ONNX_INTS, .count = 4, .ints = pads},
                                                   {"dilations", BL_ONNX_INTS, .count = 2, .ints = dilations},
                                                   {"group", BL_ONNX_INT, .i = a->groups},
                                                   {NULL}};
    const char *in[4] = {NULL};
    bl_onnx_operands(w, node, bl_onnx_in(w, node, 0, BL_ONNX_NCHW), layer, 4, sizes, in);
    bl_onnx_emit(w, "Conv", in, bl_onnx_out(w, node, BL_ONNX_NCHW), attributes);
}

/* On each pixel: the channels last, and a product. */
static void write_pixels(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer) {
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0) == BL_ONNX_TOKENS ? BL_ONNX_TOKENS : BL_ONNX_NHWC;
    const int64_t sizes[] = {layer->out, layer->each}, order[] = {1, 0};
    const char *weight = bl_onnx_put(w, node, "weight", layer->weight, 2, sizes),
               *bias = bl_onnx_put(w, node, "bias", layer->bias, 1, &layer->out),
               *turned = bl_onnx_between(w, node, "weight"), *product = bl_onnx_between(w, node, "product");
    bl_onnx_emit(w, "Transpose", (const char *[4]){weight}, turned,
                 (const struct bl_onnx_attribute[]){{"perm", BL_ONNX_INTS, .count = 2, .ints = order}, {NULL}});
    bl_onnx_emit(w, "MatMul", (const char *[4]){bl_onnx_in(w, node, 0, view), turned}, product, NULL);
    bl_onnx_emit(w, "Add", (const char *[4]){product, bias}, bl_onnx_out(w, node, view), NULL);
}

void bl_linear_write(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer) {
    const int64_t sizes[] = {layer->out, layer->each};
    if (node->in[0]->h * node->in[0]->w > 1) {
        write_pixels(w, node, layer);
        return;
    }
    const char *in[4] = {NULL};
    bl_onnx_operands(w, node, bl_onnx_in(w, node, 0, BL_ONNX_FLAT), layer, 2, sizes, in);
    bl_onnx_emit(w, "Gemm", in, bl_onnx_out(w, node, BL_ONNX_FLAT),
                 (const struct bl_onnx_attribute[]){{"transB", BL_ONNX_INT, .i = 1}, {NULL}});
}

void bl_pool_read(struct bl_onnx_reader *r, const struct bl_onnx_node *n, struct bl_pool_attrs *a) {
    int dilation[2];
    *a = (struct bl_pool_attrs){.ceil_mode = bl_onnx_int(n, "ceil_mode", 0) != 0};
    bl_onnx_ints(r, n, "kernel_shape", 0, a->kernel, 2);
    bl_onnx_ints(r, n, "strides", 1, a->stride, 2);
    bl_onnx_ints(r, n, "dilations", 1, dilation, 2);
    read_padding(r, n, a->kernel, a->stride, dilation, a->padding);
    if (dilation[0] != 1 || dilation[1] != 1) bl_onnx_refuse(r, "its windows are dilated");
}

/* Whether sizes are to be rounded up for as many windows as there are; where rounding down gives them, they are not. */
static bool rounds_up(const struct bl_node *node, const struct bl_pool_attrs *a) {
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    return (y->h - 1) * a->stride[0] + a->kernel[0] > x->h + 2 * a->padding[0] ||
           (y->w - 1) * a->stride[1] + a->kernel[1] > x->w + 2 * a->padding[1];
}

void bl_pool_write(struct bl_onnx_writer *w, const struct bl_node *node, const char *type) {
    const struct bl_pool_attrs *a = node->attrs;
    const int64_t kernel[] = {a->kernel[0], a->kernel[1]}, strides[] = {a->stride[0], a->stride[1]},
                  pads[] = {a->padding[0], a->padding[1], a->padding[0], a->padding[1]};
    struct bl_onnx_attribute attributes[] = {{"kernel_shape", BL_ONNX_INTS, .count = 2, .ints = kernel},
                                             {"strides", BL_ONNX_INTS, .count = 2, .ints = strides},
                                             {"pads", BL_ONNX_INTS, .count = 4, .ints = pads},
                                             {"ceil_mode", BL_ONNX_INT, .i = rounds_up(node, a)},
                                             {"count_include_pad", BL_ONNX_INT, .i = a->count_include_pad},
                                             {NULL}};
    if (strcmp(type, "AveragePool")) attributes[4].name = NULL; // the mean alone has it
    bl_onnx_emit(w, type, (const char *[4]){bl_onnx_in(w, node, 0, BL_ONNX_NCHW)}, bl_onnx_out(w, node, BL_ONNX_NCHW),
                 attributes);
}
