/* Layers of 8 bits in ONNX: values between QuantizeLinear and DequantizeLinear, which runtimes join to layers that
 * compute with whole numbers. Weights are symmetric, -127 to 127, by a scale of each output; biases have 32 bits, in
 * units of the input's scale times the weights'. */
#include "graph/onnx_writer.h"
#include <math.h>

const char *bl_onnx_quantized(struct bl_onnx_writer *w, const struct bl_node *node, const char *x,
                              const struct bl_fake_quantize_attrs *range) {
    const bool below = range->quant_min < 0;
    const double scale = (double)range->scale;
    uint8_t *zero = bl_onnx_room(w, 1, sizeof *zero);
    if (!zero) return "";
    *zero = (uint8_t)range->zero_point;
    const char *in[4] = {x, bl_onnx_put(w, node, "input_scale", &scale, 0, NULL),
                         bl_onnx_put_raw(w, node, "input_zero_point", below ? BL_I8 : BL_U8, zero, 0, NULL)};
    const char *whole = bl_onnx_between(w, node, "quantized"), *to = bl_onnx_between(w, node, "dequantized");
    bl_onnx_emit(w, "QuantizeLinear", in, whole, NULL);
    in[0] = whole;
    bl_onnx_emit(w, "DequantizeLinear", in, to, NULL);
    return to;
}

static const char *dequantized(struct bl_onnx_writer *w, const struct bl_node *node, const char *what,
                               const char *values, const char *scales) {
    const char *to = bl_onnx_between(w, node, what);
    bl_onnx_emit(w, "DequantizeLinear", (const char *[4]){values, scales}, to,
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 0}, {NULL}});
    return to;
}

static double largest(const double *values, int64_t count) {
    double most = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(values[i]));
    return most;
}

static double within(double value, double most) {
    return fmin(fmax(nearbyint(value), -most), most);
}

static void put_layer(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer,
                      double input_scale, int dims, const int64_t *sizes, const char *in[4]) {
    const int64_t out = layer->out, each = layer->each;
    int8_t *weight = bl_onnx_room(w, (size_t)(out * each), sizeof *weight);
    int32_t *bias = bl_onnx_room(w, (size_t)out, sizeof *bias);
    double *scale = bl_onnx_room(w, (size_t)out, sizeof *scale), *unit = bl_onnx_room(w, (size_t)out, sizeof *unit);
    if (!weight || !bias || !scale || !unit) return;
    for (int64_t o = 0; o < out; o++) {
        const double most = largest(layer->weight + o * each, each);
        scale[o] = (double)(float)(most > 0 ? most / 127 : 1);
        unit[o] = input_scale * scale[o];
        for (int64_t i = 0; i < each; i++)
            weight[o * each + i] = (int8_t)within(layer->weight[o * each + i] / scale[o], 127);
        bias[o] = (int32_t)within(layer->bias[o] / unit[o], 2147483520.0);
    }
    in[1] = dequantized(w, node, "weight", bl_onnx_put_raw(w, node, "weight", BL_I8, weight, dims, sizes),
                        bl_onnx_put(w, node, "weight_scale", scale, 1, &out));
    in[2] = dequantized(w, node, "bias", bl_onnx_put_raw(w, node, "bias", BL_I32, bias, 1, &out),
                        bl_onnx_put(w, node, "bias_scale", unit, 1, &out));
}

void bl_onnx_operands(struct bl_onnx_writer *w, const struct bl_node *node, const char *x,
                      const struct bl_onnx_layer *layer, int dims, const int64_t *sizes, const char *in[4]) {
    const struct bl_onnx_options *o = w->options;
    struct bl_fake_quantize_attrs range;
    if (o->input_range && o->input_range(o->range_context, node, &range)) {
        in[0] = bl_onnx_quantized(w, node, x, &range);
        put_layer(w, node, layer, (double)range.scale, dims, sizes, in);
        return;
    }
    in[0] = x;
    in[1] = bl_onnx_put(w, node, "weight", layer->weight, dims, sizes);
    in[2] = bl_onnx_put(w, node, "bias", layer->bias, 1, &layer->out);
}
