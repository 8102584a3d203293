/* What a pass of the engines tiled, matrix and winograd in one launch is made of, and where its pixels lie; for kernels
 * that include it after conv/sizes.h. */

/* A part of a pass whose results are sums over the same taps: tap (jy, jx) of both axes is the kernel's tap
 * weight_first + j*weight_step of both. The forward pass is one, the data gradient one for each residue of the stride.
 * first: where its weights start among the packed ones, as [group][block of `outs` results][depth/chunk][outs][chunk].
 * transposed: the sum runs over the outputs and the inputs come out, as in the data gradient. elements: 1, or of
 * Winograd's transform 16: then the depth is of channels, and [group][block][depth/8][element][8][outs] are packed. As
 * struct tap_class of host/ops/conv/tiled.c. */
struct tap_class {
    long first;
    struct axis down, across;
    int depth, blocks, outs, transposed, chunk, elements;
};

/* Pixel p of a grid of images. */
struct place {
    int n, y, x;
};

struct place place_of(int p, int h, int w) {
    struct place at;
    const int row = p / w;
    at.x = p - row * w;
    at.n = row / h;
    at.y = row - at.n * h;
    return at;
}

/* What becomes of a result before it is written: it is added to what `out` holds, and to a sum's other half; a
 * convolution's is activated (1 relu, 2 relu6), a gradient is cut where a ReLU cut. Both are `beside`, laid out as out.
 */
struct finish {
    int has_bias, accumulate, has_addend, activation, cut, moments;
};
