/* What kernels know of how a layer's input is sampled; the host writes it once (host/ops/nd/statistics.c). */
/* Of a layer, kept on the device. */
struct geometry {
    int channels, height, width; // of the input
    int down, across;            // patches of an image
    int pad_y, pad_x, dilation_y, dilation_x;
    int block, interleave, matrices;
    int depthwise; // channels are whitened alone, and lie last: statistics.cl
    int taps;
    int strided; // blocks interleave in the input's channels
    int skip;    // every skip-th patch, or FLAT-th pixel, is taken,
    int first;   // from this one on: of several ranks the batch of all is counted
};
