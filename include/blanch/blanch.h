/* Blanch: training convolutional networks on any OpenCL device.
 *
 * Conventions. A function that can fail returns 0 or a negative enum blanch_error; blanch_error_message() then holds
 * one line that names what failed (per thread, valid until the next failing call there). Objects are created through an
 * out parameter and released by the matching _close or _free, which accept NULL. Everything of one device belongs to
 * one thread at a time. Host tensors are float32, NCHW, weights OIHW, as in PyTorch. The library never prints or exits.
 */
#ifndef BLANCH_H
#define BLANCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined __GNUC__
#define BLANCH_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define BLANCH_PRINTF(text, first)
#endif

/* --- errors --------------------------------------------------------------------------------- */

#define BLANCH_ERRORS(X)                                                                                               \
    X(NOMEM, -1, "out of host memory")                                                                                 \
    X(USAGE, -2, "wrong usage, unknown name or option value")                                                          \
    X(INPUT, -3, "unreadable or malformed input")                                                                      \
    X(IO, -4, "a file could not be written")                                                                           \
    X(DEVICE, -5, "the OpenCL device or runtime failed")                                                               \
    X(LIMIT, -6, "does not fit the device's memory or limits")                                                         \
    X(DIVERGED, -7, "a value is not finite")                                                                           \
    X(MISMATCH, -8, "a check found a difference")                                                                      \
    X(INTERRUPTED, -9, "interrupted")

enum blanch_error {
#define BLANCH_X(name, code, text) BLANCH_E##name = code,
    BLANCH_ERRORS(BLANCH_X)
#undef BLANCH_X
};

const char *blanch_error_text(int code); // the code's general text
const char *blanch_error_message(void);  // this thread's last failure, one line; "" before any

/* --- devices -------------------------------------------------------------------------------- */

enum blanch_device_kind { BLANCH_CPU, BLANCH_GPU, BLANCH_ACCELERATOR };

struct blanch_device_info {
    int platform, device; // position, as in the spec P:D
    enum blanch_device_kind kind;
    char name[256], platform_name[128], vendor[128], version[128], driver[128], c_version[64];
    int compute_units;
    int clock_mhz;
    size_t max_work_group;
    size_t max_work_item[3];
    uint64_t max_alloc, global_memory, local_memory, constant_memory; // bytes
    uint32_t base_align;  // bytes; origins of sub-buffers are multiples of it
    uint32_t float_width; // native vector width for float, in elements
    bool local_is_real;   // dedicated local memory rather than plain RAM
    bool fp16, fp64, subgroups, out_of_order, partition;
    bool is_default; // the choice when none is asked for
};

/* Lists every device of every platform. *infos is malloc'd, the caller frees it. BLANCH_EDEVICE: there is no platform
 * or no device (*infos is NULL), or one does not answer: the message names it, *infos holds the others. */
int blanch_devices_list(struct blanch_device_info **infos, int *count);

struct blanch_device;

/* Opens the device that spec names: "cpu", "gpu", "P:D", "P:D/CORES" (a sub-device), or part of a name (case is
 * ignored); NULL or "": BLANCH_DEVICE from the environment, else the fastest GPU, else the CPU. Never another device
 * than the one asked for. max_alloc, bytes, lowers the device's limits on one buffer and on all memory (0: as
 * reported). */
int blanch_device_open(struct blanch_device **device, const char *spec, uint64_t max_alloc);
void blanch_device_close(struct blanch_device *device);
const struct blanch_device_info *blanch_device_info(const struct blanch_device *device);

/* Engines by measurement. From now on every convolution and matrix product of the networks created on this device is
 * computed by the fastest engine whose results are right: the tuning cache ($XDG_CACHE_HOME/blanch/tune) says which,
 * and blanch_network_create measures what it does not know, for at most `seconds` for all networks of the device (a
 * shape that has begun is finished; 0: nothing is measured), and keeps it there. What is left goes by rule, as
 * everything does without this call. A further call allows `seconds` anew. Results differ within rounding from one
 * engine to another. BLANCH_EUSAGE: seconds are negative or not a number. A cache that cannot be read or written is no
 * error. */
int blanch_device_tune(struct blanch_device *device, double seconds);

/* --- networks ------------------------------------------------------------------------------- */

enum blanch_norm { BLANCH_BN, BLANCH_ND, BLANCH_NONE };

/* What a convolution whitens: patches of block * kh * kw features, as published (0 as well), or channels alone, block
 * features whatever the tap. */
enum blanch_whiten { BLANCH_WHITEN_PATCHES = 1, BLANCH_WHITEN_CHANNELS };

/* What a convolution has of its own, by its name in the state dict ("layer1.0.conv1"). A network's own exceptions keep
 * their block. */
struct blanch_nd_layer {
    char name[128];
    int block, cov_samples; // as below; 0: the network's own block, all samples
};

/* Network deconvolution (Ye et al., ICLR 2020). Zero, or NAN for eps and momentum, keeps the network's own value. */
struct blanch_nd_options {
    size_t size;           // of this struct, as the program knows it
    int block;             // channels whitened together, 64
    int iterations;        // of the inverse square root, 5
    int sampling_stride;   // of the covariance's samples, 3
    int whiten;            // one of enum blanch_whiten
    int cov_samples;       // most samples of a convolution's covariance; -4: four times its features; 0: all
    int block_fc;          // features whitened together in linear layers, 512 (CIFAR) or 64 (ImageNet)
    int freeze;            // 1: freeze every layer after 100 steps; -1: none; 0: the network's own choice
    int refresh;           // the whitening is computed in the first 20 steps and every refresh-th; in between
                           // its directions are kept, mean and scale are current (0, 1: at every step)
    float overhead_budget; // per cent, up to 10000: what a step may cost more than the same network's with BN, on
                           // average; 0: no bound. After 15 steps it decides how often each layer refreshes. A BN
                           // network beside this one, which takes its memory, is stepped now and then to compare
    int constant_gradient; // 1: the gradient stops at the whitening (for ablation; learns worse)
    int channel_deconv;    // of a BN network: block of a ChannelDeconv layer before the classifier; 0: none
    float eps;             // added to the covariance's diagonal, 1e-5
    float momentum;        // of the running buffers, 0.1
    int layers;            // how many of
    const struct blanch_nd_layer *layer; // convolutions that have their own; copied. Files of weights name them in
                                         // their metadata, "blocks"
};

enum { BLANCH_RECOMPUTE_AUTO = -1 };

/* How activations and their gradients are stored on the device. Parameters, statistics, sums, logits that are handed
 * out and the loss are float32 always, and so is the arithmetic. The gradients of 16 bits are not scaled: BLANCH_FP16
 * loses those under 6e-8, so it is for inference and for timing steps. */
enum blanch_precision { BLANCH_FP32, BLANCH_FP16, BLANCH_BF16 };

struct blanch_model; // a network's definition

struct blanch_network_options {
    size_t size;       // of this struct, as the program knows it
    const char *model; // "vgg16"; blanch_models_list() has the names
    enum blanch_norm norm;
    const struct blanch_nd_options *nd; // NULL: as published
    int classes;                        // 0: the network's own count
    int channels, height, width;        // of the input images; 0: the network's own
    int batch;                          // the largest batch that will be given
    bool inference;                     // no gradients are planned: less memory, no training
    uint64_t seed;                      // of the initial weights and of dropout
    int recompute; // segments in which activations are computed again in the backward pass: less memory, the same
                   // bits; 0: none; BLANCH_RECOMPUTE_AUTO: as few as fit the device
    enum blanch_precision precision; // network deconvolution has BLANCH_FP32 alone (BLANCH_EUSAGE names the layer)
    const char *optimiser;           // "sgd" (NULL) or "adamw": its state lies beside the parameters
};

struct blanch_network;

const char *const *blanch_models_list(void); // NULL-terminated, sorted as documented
/* BLANCH_EUSAGE: the options contradict each other or are out of range (an overhead budget with another norm than
 * BLANCH_ND, or beside refresh); BLANCH_ELIMIT: the device's memory does not hold it, the message names the largest
 * batch that it holds. */
int blanch_network_create(struct blanch_network **network, struct blanch_device *device,
                          const struct blanch_network_options *options);
void blanch_network_free(struct blanch_network *network);

/* Reads or writes the state dict as safetensors with PyTorch's names. A load changes nothing unless the whole file
 * fits. */
int blanch_network_load(struct blanch_network *network, const char *path);
int blanch_network_save(struct blanch_network *network, const char *path);

/* What an update is told: the learning rate of its step, and the optimiser's settings (blanch_update_defaults). */
struct blanch_update {
    float lr, momentum, weight_decay; // weight decay: of adamw decoupled (Loshchilov and Hutter, ICLR 2019)
    bool nesterov;                    // of sgd
    float beta1, beta2, eps;          // of adamw
};
/* The defaults of an optimiser ("sgd", "adamw"; NULL: "sgd"). BLANCH_EUSAGE: there is no such optimiser. */
int blanch_update_defaults(const char *optimiser, struct blanch_update *update);
struct blanch_metrics {
    double loss;
    int count, top1, top5;
}; // mean loss; images, and how many were right

/* One training step: forward, backward, update as torch.optim.SGD or AdamW. images (count, C, H, W) normalised; labels
 * (count). A loss that is not finite updates nothing. BLANCH_EUSAGE, and nothing is done: too many images, or a setting
 * of the update that is out of range or of another optimiser than the network's. */
int blanch_network_step(struct blanch_network *network, const float *images, const int32_t *labels, int count,
                        const struct blanch_update *update, struct blanch_metrics *metrics);
/* What a network with an overhead budget costs over batch norm since its first step, per cent, by its own measurements,
 * and the least that it could cost (with 1 per cent of a BN step for refreshes). NAN before the first decision and
 * without a budget. A network that is loaded from a file begins to measure anew. Either pointer may be NULL. */
void blanch_network_overhead(const struct blanch_network *network, double *held, double *least);
/* Evaluation mode: logits (count, classes) are written. */
int blanch_network_predict(struct blanch_network *network, const float *images, int count, float *logits);

/* --- definitions of networks ------------------------------------------------------------------ */

/* What the definitions in models/ are written with: each call adds an operation behind x and gives its output, NULL
 * after the first failure, so that a definition needs no checks: the network's creation returns it. Tensors and names
 * belong to the builder. Layers with parameters are named as in PyTorch's state dict ("layer1.0.conv1", less the
 * prefix of blanch_scope). Shapes are those of PyTorch: x is (N, C, H, W). */
struct blanch_builder;
struct blanch_tensor;

int blanch_channels(const struct blanch_tensor *x); // C; 0 of NULL
int blanch_height(const struct blanch_tensor *x);
int blanch_width(const struct blanch_tensor *x);
int blanch_classes(const struct blanch_builder *b);              // wanted of the classifier
enum blanch_norm blanch_norm_of(const struct blanch_builder *b); // which normalisation the network is built with

/* The fields left zero mean: stride 1, padding 0, dilation 1, groups 1. */
struct blanch_conv_spec {
    int out, kernel, stride, padding, dilation, groups;
    int kernel_w, padding_w; // where they differ from the height's
    bool no_bias;            // of the plain convolution; an ND convolution always has one
    int n_iter;              // ND's, 0: 5
    int block;               // ND's, 0: the default (or --block)
    bool freeze;             // ND's
    bool plain;              // stays a plain convolution under ND too
};
/* (N, C, H, W) to (N, out, H', W'); weights (out, C / groups, kernel, kernel_w). Under ND an ND convolution. */
struct blanch_tensor *blanch_conv2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                    struct blanch_conv_spec spec);
/* eps 1e-5, momentum 0.1. Under ND and without normalisation it is left out: x is returned. */
struct blanch_tensor *blanch_batchnorm2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* Stays under ND too. */
struct blanch_tensor *blanch_batchnorm2d_always(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* Parameters of a state dict that the network never uses. */
void blanch_batchnorm2d_unused(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* Over the channels of each pixel; eps 0: 1e-5. Whatever the normalisation, it stays. */
struct blanch_tensor *blanch_layernorm(struct blanch_builder *b, const char *name, struct blanch_tensor *x, float eps);
/* x times a parameter (C, 1, 1), in the state dict under `name` itself; it begins at 1. */
struct blanch_tensor *blanch_scale(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* (N, C, H, W) to (N, out, H, W), of the channels of each pixel; weights (out, C) and a bias. Under ND an ND linear
 * layer, whose samples over more than one pixel are as far apart as those of a 1x1 convolution. */
struct blanch_tensor *blanch_linear(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out);
struct blanch_tensor *blanch_linear_plain(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                          int out); // under ND too
struct blanch_tensor *blanch_relu(struct blanch_builder *b, struct blanch_tensor *x);
/* By the operation's name: "relu6", "sigmoid", "tanh", "silu", "gelu", "hardsigmoid", "hardswish". */
struct blanch_tensor *blanch_unary(struct blanch_builder *b, const char *op, struct blanch_tensor *x);
struct blanch_tensor *blanch_leaky_relu(struct blanch_builder *b, struct blanch_tensor *x, float slope);
struct blanch_tensor *blanch_elu(struct blanch_builder *b, struct blanch_tensor *x, float alpha);
struct blanch_tensor *blanch_maxpool2d(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                       int padding);
/* Sizes rounded up: a last window that overruns counts, if it starts within the image or the padding before it. */
struct blanch_tensor *blanch_maxpool2d_ceil(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                            int padding);
struct blanch_tensor *blanch_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                       int padding);
/* To (N, C, height, width), over windows that share the image out evenly. */
struct blanch_tensor *blanch_adaptive_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x, int height,
                                                int width);
struct blanch_tensor *blanch_global_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x); // to (N, C, 1, 1)
struct blanch_tensor *blanch_add(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y);
/* y: of x's shape, or (N, C, 1, 1). */
struct blanch_tensor *blanch_mul(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y);
struct blanch_tensor *blanch_cat(struct blanch_builder *b, struct blanch_tensor *const *x, int count); // of channels
struct blanch_tensor *blanch_slice(struct blanch_builder *b, struct blanch_tensor *x, int begin,
                                   int end); // channels from begin to before end; 0: the last
/* C channels in `groups` groups: channel i of group g becomes channel i groups + g. */
struct blanch_tensor *blanch_channel_shuffle(struct blanch_builder *b, struct blanch_tensor *x, int groups);
struct blanch_tensor *blanch_flatten(struct blanch_builder *b, struct blanch_tensor *x); // to (N, C H W, 1, 1)
struct blanch_tensor *blanch_dropout(struct blanch_builder *b, struct blanch_tensor *x, float p);
/* Whole images, of a residual branch. */
struct blanch_tensor *blanch_stochastic_depth(struct blanch_builder *b, struct blanch_tensor *x, float p);
/* Sets the prefix to the formatted text ("layer1.0."); "" for none. */
void blanch_scope(struct blanch_builder *b, const char *format, ...) BLANCH_PRINTF(2, 3);
/* Fixes the state dict's order: layers named PREFIX.NAME come in the order of these calls, names separated by blanks;
 * layers never declared follow in execution order. */
void blanch_order(struct blanch_builder *b, const char *names);
const char *blanch_name(struct blanch_builder *b, const char *format, ...)
    BLANCH_PRINTF(2, 3); // kept until the next call

#ifdef __cplusplus
}
#endif
#endif
