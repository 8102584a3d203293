/* What the kernels of several engines are told of a pass. The host's are struct bl_conv_sizes (host/ops/conv/engine.h)
 * and struct bl_conv_axis (host/ops/conv/axis.h), member by member. */

/* in_c, out_c: channels of a pixel; group_in, group_out: of a group. Of the layer's input and output; in a kernel that
 * computes the data gradient as another forward pass, of what it reads and what it writes. */
struct sizes {
    int images, in_h, in_w, in_c, group_in, out_h, out_w, out_c, group_out;
};

/* One axis as a sum over taps: outputs at grid*out_step + out_first, inputs at grid*in_step + in_first + tap*tap_step,
 * the taps' weights at weight_first + tap*weight_step. */
struct axis {
    int grid, in_step, in_first, tap_step, taps, weight_first, weight_step, out_step, out_first;
};
