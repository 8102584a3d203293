/* Samples of a layer's input, their mean and covariance S, and what the gradients of both make of the input. */
#ifndef BL_ND_STATISTICS_H
#define BL_ND_STATISTICS_H

#include "ops/nd/gram.h"
#include "ops/nd/packed_product.h"

/* How samples are taken of node->in[0]. A patch gives `interleave` samples of block*kernel[0]*kernel[1] features. */
struct bl_samples {
    int kernel[2], step[2], padding[2], dilation[2];
    int flat;        // 0: patches; n: every n-th pixel of the batch (kernel 1x1)
    int most;        // samples of a matrix; 0: all; -k: k times the features
    int block;       // channels of a sample
    int interleave;  // blocks of the channels that share one matrix
    bool contiguous; // block g is channels g*block ...; else channels g, g + interleave, ...
    int matrices;    // groups of channels whitened apart, then interleave is 1
};

enum { BL_STATISTICS_KERNELS = 14, BL_SQUARE_CHUNKS = 16 };
struct bl_statistics {
    struct bl_node *node;
    struct bl_samples samples;
    int down, across; // patches of an image, unless flat
    int skip;         // every skip-th patch is taken, in their order; of the last batch
    int first;        // from this one on; likewise
    int64_t before,
        whole; // images of other ranks before this one's first, and of all; likewise, 0: there are no others
    int taps, splits;
    int64_t features, size; // F, matrices*F*F
    bool depthwise;         // every channel is whitened alone, at every step: no rows are kept
    bool panels;            // few features of patches that have no pixel in common, on CPUs: no rows are kept either
    int narrow;             // 0, or the block where it is too small for vectors
    int vec_block, vec_channels;
    struct bl_kernel *kernel[BL_STATISTICS_KERNELS];
    double samples_of_all;                      // of a matrix in this step, on all ranks
    struct blanch_tensor *geometry;             // what the kernels know of all this
    struct blanch_tensor *mean;                 // (matrices, F), in the order of the weights
    struct blanch_tensor *row_high, *row_low;   // its parts, in that of the rows
    struct blanch_tensor *pilot;                // (taps, C): what the sums of samples leave out
    struct blanch_tensor *rows;                 // centred samples
    struct blanch_tensor *partial, *parts;      // sums of which mean and S are made
    struct blanch_tensor *squares;              // of the rows of S
    struct blanch_tensor *sbar, *drows, *dmean; // gradients of S, of the rows, of the mean in the rows' order
    struct bl_packed_product by_covariance;     // rows by sbar, where it serves
    struct bl_gram gram;                        // of the rows, where it serves
    struct blanch_tensor *panel, *back_panels;  // where there are panels
};

/* In setup. alone: layers that can do without rows may, as every step is exact. BLANCH_EINPUT: the kernel is larger
 * than the input. */
int bl_statistics_setup(struct bl_statistics *s, struct bl_node *node, const struct bl_samples *samples, bool alone);
int bl_statistics_prepare(struct bl_statistics *s, bool reuses);        // also what steps between refreshes launch
bool bl_statistics_strided(const struct bl_statistics *s);              // blocks interleave in the input's channels
int64_t bl_statistics_count(const struct bl_statistics *s, int images); // samples of a matrix
bool bl_statistics_capped(const struct bl_statistics *s, int images);   // there would be more without samples.most

/* The mean, of all ranks; running += momentum (mean - running). */
int bl_statistics_mean(struct bl_statistics *s, const struct bl_run *run, float momentum, struct bl_mem *running);
/* After the mean: S = covariance + eps I. gather: the rows alone, as the gradient reads them. */
int bl_statistics_covariance(struct bl_statistics *s, const struct bl_run *run, float eps, struct bl_mem *covariance);
int bl_statistics_gather(struct bl_statistics *s, int images);
/* On CPUs: the mean's gradient in the rows' order, shared by the samples, to `dmean`. */
int bl_statistics_back_mean(const struct bl_statistics *s, struct bl_mem *gradient);
/* Adds to the input's gradient what comes through the mean, with its gradient in `dmean` as above, and through S, with
 * that of S in `sbar`. */
int bl_statistics_backward(struct bl_statistics *s, int images);

/* Sums of squares of (x - mean) over samples, by channel: (*chunks of at most BL_SQUARE_CHUNKS, C). mean: (taps, C). */
int bl_statistics_squares(struct bl_statistics *s, const struct bl_run *run, struct bl_mem *mean, struct bl_mem *sums,
                          int64_t *chunks);
/* Adds slope + factor x to the input's gradient for every tap that sees it: slopes (taps + 1, C), the factors last. */
int bl_statistics_scatter(struct bl_statistics *s, int images, struct bl_mem *slopes);

#endif
