/* Blanch: training convolutional networks on any OpenCL device.
 *
 * Conventions. A function that can fail returns 0 or a negative enum blanch_error; blanch_error_message() then holds
 * one line that names what failed (per thread, valid until the next failing call there). Objects are created through an
 * out parameter, NULL after a failure, and released by the matching _close or _free, which accept NULL, in any order:
 * what is still needed of a device, a model or data by something else lives as long as that. What a call is not to be
 * given (NULL where nothing is said of it, a count below 1, a wrong size) is BLANCH_EUSAGE, and nothing is done.
 * Everything of one device belongs to one thread at a time. Host tensors are float32, NCHW, weights OIHW, as in
 * PyTorch. The library never prints or exits.
 *
 * Structs that begin with `size` grow at their end. The program sets it to sizeof of the struct as it knows it, in
 * those that the library fills too: it reads and writes no more of them. Fields that an older program lacks count as
 * zero; fields that an older library lacks have to be zero, else BLANCH_EUSAGE, and it fills them with zero.
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
#pragma GCC visibility push(default)
#endif

#if defined __MINGW32__ // where printf stands for an older one
#define BLANCH_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#elif defined __GNUC__
#define BLANCH_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define BLANCH_PRINTF(text, first)
#endif

/* --- version -------------------------------------------------------------------------------- */

#define BLANCH_VERSION_MAJOR 1
#define BLANCH_VERSION_MINOR 0
#define BLANCH_VERSION_PATCH 0
#define BLANCH_VERSION_TEXT(major, minor, patch) #major "." #minor "." #patch
#define BLANCH_VERSION_OF(major, minor, patch) BLANCH_VERSION_TEXT(major, minor, patch)
#define BLANCH_VERSION BLANCH_VERSION_OF(BLANCH_VERSION_MAJOR, BLANCH_VERSION_MINOR, BLANCH_VERSION_PATCH)

const char *blanch_version(void); // of the library that runs: "1.0.0"; BLANCH_VERSION is that of this header

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

/* What the library has to say that makes no call fail, such as a cache that cannot be used: show gets each line once,
 * in the thread that has it to say. NULL, as at first: nobody does. */
void blanch_log_set(void (*show)(void *context, const char *line), void *context);

/* Asks every call of the process that takes long to return BLANCH_EINTERRUPTED as soon as nothing is lost by it: a step
 * that has begun is made, one that is asked for is not. It stays asked for until it is cleared. Both may be called in
 * signal handlers and from any thread. */
void blanch_stop_request(void);
void blanch_stop_clear(void);
bool blanch_stop_requested(void);

void blanch_free(void *memory); // free(), for what is said to be malloc'd

/* --- devices -------------------------------------------------------------------------------- */

enum blanch_device_kind { BLANCH_CPU, BLANCH_GPU, BLANCH_ACCELERATOR };

struct blanch_device_info { // filled by the library, read through pointers: it grows at its end
    int platform, device;   // position, as in the spec P:D
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
    bool unified_memory; // the host's, as integrated GPUs have it
    char pci[16];        // where it sits, "03:00.0"; "" where it does not tell
    bool is_default;     // the choice when none is asked for
};

/* Lists every device of every platform. *infos, pointers to them in one block, is malloc'd. BLANCH_EDEVICE: there is no
 * platform or no device (*infos is NULL), or one does not answer: the message names it, *infos holds the others. */
int blanch_devices_list(struct blanch_device_info ***infos, int *count);

struct blanch_device;

/* Opens the device that spec names: "cpu", "gpu", "P:D", "P:D/CORES" (a sub-device), or part of a name, the device's,
 * else its platform's (case is ignored); NULL or "": BLANCH_DEVICE from the environment, else the fastest GPU with
 * memory of its own, else the fastest GPU, else the CPU. Never another device than the one asked for. max_alloc, bytes,
 * lowers the device's limits on one buffer and on all memory (0: as reported). */
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

/* --- models --------------------------------------------------------------------------------- */

/* BLANCH_OWN: a network of a file as it says; a built-in one, and a program's own, with batch norm.
 * BLANCH_GN and BLANCH_LN have a group norm in the place of each batch norm: of groups of 16 channels (Wu and He,
 * 2018), or of all channels of an image. */
enum blanch_norm { BLANCH_BN, BLANCH_ND, BLANCH_NONE, BLANCH_OWN, BLANCH_GN, BLANCH_LN };

/* A network's definition, from which any number of networks are created, on any device and thread. */
struct blanch_model;
struct blanch_builder;
struct blanch_tensor;

const char *const *blanch_models_list(void); // names of the built-in ones, NULL-terminated, sorted as documented
/* By name ("vgg16"), or of a file: "FILE.json", "FILE.onnx". BLANCH_EUSAGE: there is no such name; BLANCH_EINPUT: the
 * file cannot be read, or describes no network. */
int blanch_model_find(struct blanch_model **model, const char *name);
/* Of a description (docs/network-format.md), size bytes of JSON. */
int blanch_model_from_json(struct blanch_model **model, const char *text, size_t size);
/* Of an ONNX file (docs/onnx.md), the values of its weights included: networks begin with them. */
int blanch_model_from_onnx(struct blanch_model **model, const char *path);

/* Of a function of the program, written with the builders of definition.h. */
struct blanch_definition {
    size_t size;
    const char *name;                     // what messages call it; copied
    int classes, channels, height, width; // where a network's options do not say; of the images that come in
    int block_fc; // features that network deconvolution whitens together in linear layers; 0: 512
    /* Builds the network from its input x, and returns the logits, (N, classes, 1, 1), or (N, classes, H, W), of every
     * pixel of its input; NULL fails the creation. It is called whenever a network is made of it, also by the library
     * (an overhead budget's with batch norm), and each time builds the same for the same norm and shape. */
    struct blanch_tensor *(*define)(struct blanch_builder *b, struct blanch_tensor *x, void *context);
    void *context;
    void (*release)(void *context); // called when nothing can call define any more; may be NULL
};
int blanch_model_define(struct blanch_model **model, const struct blanch_definition *definition);
void blanch_model_free(struct blanch_model *model);

struct blanch_model_info {
    size_t size;
    const char *name, *summary;           // live as long as the model; summary: one line, or NULL
    int classes, channels, height, width; // of a network whose options do not say
};
int blanch_model_info(const struct blanch_model *model, struct blanch_model_info *info);
/* Its description in JSON, as built with norm, malloc'd: docs/network-format.md. */
int blanch_model_json(const struct blanch_model *model, enum blanch_norm norm, char **text);

/* --- networks ------------------------------------------------------------------------------- */

/* What a convolution whitens: patches of block * kh * kw features, as published (0 as well), or channels alone, block
 * features whatever the tap. BLANCH_WHITEN_VARIANCES, for ablation, whitens nothing: every feature of the patches, or
 * of a linear layer, is normalised by its own mean and variance. */
enum blanch_whiten { BLANCH_WHITEN_PATCHES = 1, BLANCH_WHITEN_CHANNELS, BLANCH_WHITEN_VARIANCES };

/* What a convolution has of its own, by its name in the state dict ("layer1.0.conv1"). A network's own exceptions keep
 * their block. */
struct blanch_nd_layer {
    char name[128];
    int block, cov_samples; // as below; 0: the network's own block, all samples
};

/* Network deconvolution (Ye et al., ICLR 2020). Zero, or NAN for eps and momentum, keeps the network's own value. */
struct blanch_nd_options {
    size_t size;
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
    int constant_gradient; // 1: the gradient stops at the whitening (for ablation; learns worse); -1: nowhere
    int channel_deconv;    // of a BN network: block of a ChannelDeconv layer before the classifier; 0: none
    int keep_norm;  // of the network's own norms: 1: all stay; -1: none does; 0: layer norms stay, batch norms go
    float eps;      // added to the covariance's diagonal, 1e-5
    float momentum; // of the running buffers, 0.1
    int layers;     // how many of
    const struct blanch_nd_layer *layer; // convolutions that have their own; copied; files of weights name them
};
/* Several of them in one word, where they are zero: "study", as published; "fast", blocks of 16; "channels", these
 * alone are whitened (docs/options.md). BLANCH_EUSAGE: there is no such word. */
int blanch_nd_preset(const char *name, struct blanch_nd_options *nd);

enum { BLANCH_RECOMPUTE_AUTO = -1 };

/* How activations and their gradients are stored on the device. Parameters, statistics, sums, logits that are handed
 * out and the loss are float32 always, and so is the arithmetic. The loss of a network in BLANCH_FP16 is scaled while
 * it trains, as torch.cuda.amp.GradScaler does it: a step whose gradients are not finite updates nothing and halves the
 * scale; after 2000 others it is doubled. The state that is saved has the scale. */
enum blanch_precision { BLANCH_FP32, BLANCH_FP16, BLANCH_BF16 };

/* Of training steps; evaluation has the plain cross-entropy. */
struct blanch_loss_options {
    size_t size;
    float label_smoothing; // so much of a label is shared by all classes, as torch.nn.CrossEntropyLoss has it; 0: none
    int weights;           // how many of: the network's classes
    const float *class_weights; // by class, 0 or more, as CrossEntropyLoss has them: a weighted mean; NULL: 1
    bool pairs;                 // blanch_network_step_pairs is called
};

struct blanch_network_options {
    size_t size;
    const char *model; // as blanch_model_find takes it; NULL: `definition` is given
    enum blanch_norm norm;
    const struct blanch_nd_options *nd; // NULL: as published
    int classes;                        // 0: the network's own count
    int channels, height, width;        // of the input images; 0: the network's own
    int batch;                          // the largest batch that will be given
    bool inference;                     // no gradients are planned: less memory, no training
    uint64_t seed;                      // of the initial weights and of dropout
    int recompute; // segments in which activations are computed again in the backward pass: less memory, the same
                   // bits; 0: none; BLANCH_RECOMPUTE_AUTO: as few as fit the device
    enum blanch_precision precision;
    const char *optimiser;                  // "sgd" (NULL), "adamw" or "muon": its state lies beside the parameters
    const struct blanch_model *definition;  // in place of `model`
    const struct blanch_loss_options *loss; // NULL: the mean cross-entropy
    const char *no_decay;      // parameters that weight decay leaves out: shell patterns of names, or of what stands
                               // before a dot in them, separated by commas; "norm-bias": biases and what
                               // normalisations have; NULL: none. BLANCH_EUSAGE: a pattern names nothing
    const char *freeze_layers; // likewise, parameters that no update changes
    int accumulate; // a step takes up to so many batches, a forward and a backward pass each, and sums their gradients:
                    // as a step of all these images at once but for the statistics of a batch, which are of a pass; 0:
                    // 1
    float ema;      // decay of moving averages of parameters and buffers, which every update takes in; 0: none are kept
};

struct blanch_network;

/* BLANCH_EUSAGE: the options contradict each other or are out of range (an overhead budget with another norm than
 * BLANCH_ND, or beside refresh); BLANCH_ELIMIT: the device's memory does not hold it, the message names the largest
 * batch that it holds. */
int blanch_network_create(struct blanch_network **network, struct blanch_device *device,
                          const struct blanch_network_options *options);
void blanch_network_free(struct blanch_network *network);

/* A network made for inference with the averages that `ema` keeps: to evaluate, predict with and save. They stay as
 * they are now. BLANCH_EUSAGE: the network keeps none. */
int blanch_network_ema(struct blanch_network **ema, struct blanch_network *network);

/* What a network has become. Texts live as long as it does. */
struct blanch_network_info {
    size_t size;
    const char *model, *optimiser;
    enum blanch_norm norm;
    enum blanch_precision precision;
    int classes;                 // predict writes so many logits of an image
    int channels, height, width; // of an image
    int batch;                   // images of the largest step, of all passes
    int least_batch;             // of the smallest that gives layers more than one value or sample, as a whole one does
    bool inference;
    int parameters;        // parameters and buffers of the state dict
    int layers;            // for blanch_network_layer
    int64_t trainable;     // values
    int64_t steps;         // training steps so far, those before a saved state included
    double multiply_adds;  // of one image's forward pass
    uint64_t device_bytes; // of the device's memory that it takes
};
int blanch_network_info(const struct blanch_network *network, struct blanch_network_info *info);

/* Reads or writes the state dict as safetensors with PyTorch's names; the file's metadata say which network it is of
 * (docs/runs.md). A load changes nothing unless the whole file fits. */
int blanch_network_load(struct blanch_network *network, const char *path);
int blanch_network_save(struct blanch_network *network, const char *path);
/* Writes it as it is in evaluation, batch norm and deconvolution folded into its weights: FILE.onnx, for ONNX Runtime
 * and the like, or FILE.safetensors, the folded weights and biases under PyTorch's names. docs/onnx.md. BLANCH_EUSAGE:
 * another ending, an operation that ONNX has not, or no encoder: that of a network that generates, in its place. */
int blanch_network_export(struct blanch_network *network, const char *path);
int blanch_network_export_encoder(struct blanch_network *network, const char *path);
/* Takes from a state dict what fits by name and shape; the rest keeps its values: to begin from another network's
 * weights, with another classifier, say. taken, may be NULL: how many parameters and buffers were. BLANCH_EINPUT, and
 * nothing is changed: none fits, or one that does holds what is not finite. */
int blanch_network_init(struct blanch_network *network, const char *path, int *taken);

/* Saves what training goes on from with the same bits, as if it had not been interrupted: parameters, buffers, the
 * optimiser's state, counters, the position of randomness, the overhead budget's measurements. Two files in directory,
 * which is made where it is missing, last.safetensors (the state dict) and last.state.safetensors, replaced together: a
 * crash at any moment leaves a pair. BLANCH_EDIVERGED, and the former files stay: a value is not finite. */
int blanch_network_save_state(struct blanch_network *network, const char *directory);
/* Into a network created with the same options. A load changes nothing unless everything fits. */
int blanch_network_load_state(struct blanch_network *network, const char *directory);
bool blanch_state_exists(const char *directory); // there is one, or what a user takes for one: a file of it

/* --- parameters and buffers ------------------------------------------------------------------- */

/* Of the state dict, in its order: parameters, then buffers. */
struct blanch_parameter_info {
    size_t size;
    const char *name; // "layer1.0.conv1.weight", lives as long as the network
    int dims;
    int64_t shape[4]; // of which dims count
    int64_t count;    // values: their product
    bool trainable;   // false: a buffer, or one that the network never uses
    bool counter;     // a whole number, num_batches_tracked, without dims
};
int blanch_parameter_find(const struct blanch_network *network, const char *name); // its index, or BLANCH_EUSAGE
int blanch_parameter_info(const struct blanch_network *network, int index, struct blanch_parameter_info *info);
/* count: as the info says. A value that is not finite is not written: BLANCH_EINPUT. Counters are read and written as a
 * number, too. */
int blanch_parameter_read(struct blanch_network *network, int index, float *values, int64_t count);
int blanch_parameter_write(struct blanch_network *network, int index, const float *values, int64_t count);
int blanch_counter_read(const struct blanch_network *network, int index, int64_t *value);
int blanch_counter_write(struct blanch_network *network, int index, int64_t value);

/* --- training --------------------------------------------------------------------------------- */

/* What an update is told: the learning rate of its step, and the optimiser's settings (blanch_update_defaults). */
struct blanch_update {
    size_t size;
    float lr, momentum, weight_decay; // weight decay: of adamw decoupled (Loshchilov and Hutter, ICLR 2019)
    bool nesterov;                    // of sgd and muon
    float beta1, beta2, eps;          // of adamw, and of what muon leaves to it
    float unused;                     // where programs of before had padding: not read
    float clip_grad_norm;             // gradients whose norm, of all together, is larger are scaled to it; 0: none are
};
/* The defaults of an optimiser ("sgd", "adamw", "muon"; NULL: "sgd"); size stays. BLANCH_EUSAGE: there is no such
 * optimiser. */
int blanch_update_defaults(const char *optimiser, struct blanch_update *update);

/* The learning rate of a step by a schedule, as `train --schedule` has it: "cosine", by step from lr to 0; "constant";
 * "multistep[:EPOCH,EPOCH...[:GAMMA]]", times gamma (0.1) from each epoch on, by default at half and three quarters of
 * the steps; "step[:EPOCHS[:GAMMA]]", times gamma (0.1) after every so many epochs (30); "onecycle[:PART]", up from
 * lr / 25 over a part of the steps (0.3), then down to lr / 250000; "polynomial[:POWER]", by step from lr to 0,
 * linearly where the power is 1, as without. The t-th step of a warm-up, from 0, has (t + 1) / warmup of that. */
struct blanch_schedule {
    size_t size;
    const char *text;    // NULL: "cosine"
    float lr;            // that it begins with
    int64_t steps;       // of the whole training
    int64_t epoch_steps; // of an epoch, where epochs are counted
    int64_t warmup;      // steps, 0: none
    float warmup_epochs; // in place of warmup
};
int blanch_schedule_lr(const struct blanch_schedule *schedule, int64_t step, float *lr); // step: from 0, below steps

struct blanch_metrics {
    size_t size;
    double loss;           // mean
    int count, top1, top5; // images, and how many were right
    /* Of a network that labels pixels, whose top1 and top5 are 0: those that have a label, and how many were right; of
     * an evaluation the mean over classes of right / (right or wrong, of the class or answered), per cent. */
    int64_t pixels, right;
    double mean_iou;
};

/* One training step: forward, backward, update as torch.optim.SGD or AdamW. images (count, C, H, W) normalised; labels
 * (count), from 0; of a network that labels pixels (count, H, W), 255 those that have none. update NULL: the
 * optimiser's defaults. metrics, of the batch before its update, may be NULL. A loss that is not finite updates no
 * parameter, and is told in metrics; running statistics have seen the batch. BLANCH_EUSAGE, and nothing is done: more
 * images than the network's batch, or a setting of the update that is out of range or of another optimiser than the
 * network's; BLANCH_EINPUT: a label that is no class. */
int blanch_network_step(struct blanch_network *network, const float *images, const int32_t *labels, int count,
                        const struct blanch_update *update, struct blanch_metrics *metrics);
/* The same of mixed images, which have two labels. Metrics count the first as right. */
struct blanch_label_pairs {
    size_t size;
    const int32_t *labels, *others; // (count) each
    float share;                    // of an image that is of its label, from 0 to 1; the rest is of the other
};
int blanch_network_step_pairs(struct blanch_network *network, const float *images,
                              const struct blanch_label_pairs *pairs, int count, const struct blanch_update *update,
                              struct blanch_metrics *metrics);
/* Evaluation mode, any number of images, a batch at a time: logits (count, classes) are written, (count, classes, H, W)
 * of a network that labels pixels. */
int blanch_network_predict(struct blanch_network *network, const float *images, int count, float *logits);
bool blanch_network_labels_pixels(const struct blanch_network *network); // rather than images
/* The same with labels, as a step has them: their mean loss, and how many were right. */
int blanch_network_evaluate(struct blanch_network *network, const float *images, const int32_t *labels, int count,
                            struct blanch_metrics *metrics);

/* --- networks that generate ------------------------------------------------------------------- */

bool blanch_network_generates(const struct blanch_network *network);    // metrics have a loss and a count alone
bool blanch_network_told_classes(const struct blanch_network *network); // false: labels are not read, and may be NULL
struct blanch_sample_options {
    size_t size;
    uint64_t seed;         // of the noise, which is the same on every device
    int first;             // of the seed's images: these are `first` and those after it
    const int32_t *labels; // (count) the class of each; NULL: the classes in turn
};
/* Makes images with the weights that it has: (count, C, H, W), pixels from 0 to 1. options NULL: all zero. Where it
 * trains, a network for inference is made meanwhile. BLANCH_EUSAGE: it makes none, or there is no such class. */
int blanch_network_sample(struct blanch_network *network, const struct blanch_sample_options *options, int count,
                          float *images);

/* --- several ranks ---------------------------------------------------------------------------- */

/* What the ranks of a data-parallel training ask of each other. Each is a process, or a thread, with a device and a
 * network of its own, and has some images of every batch. All ranks make the same calls in the same order, one at a
 * time; in a step they may come from a thread of the library. Memory is the host's. A call returns 0 when what it
 * gives is there, else a negative enum blanch_error. */
struct blanch_collectives {
    size_t size;
    int rank, ranks; // from 0; how many
    void *context;
    /* Every rank gives `bytes` bytes; all: (ranks, bytes), in the ranks' order. */
    int (*gather)(void *context, const void *own, size_t bytes, void *all);
    /* from and to: (ranks, bytes). Block k of `from` becomes block `rank` of the `to` of rank k. */
    int (*exchange)(void *context, const void *from, size_t bytes, void *to);
    /* `bytes` bytes become those of rank `root`. */
    int (*spread)(void *context, void *values, size_t bytes, int root);
    /* Another table of the same ranks, whose calls may come while one of this table is under way, from another thread:
     * gradients are summed by it while layers exchange statistics. NULL: none, and these wait for those. */
    const struct blanch_collectives *meanwhile;
    /* A step of this rank, or its joining, has failed, by `code`: the table's calls fail from now on, also one that is
     * under way in another thread, and those of the other ranks, as soon as they hear of it. Called once, by ranks that
     * only heard of a failure too. NULL: they are waited for. */
    void (*give_up)(void *context, int code);
};
/* The network is that of one rank: its parameters, buffers and optimiser's state become those of rank 0, and from now
 * on a step is of the images that all ranks give. Its gradients are summed over them, each image with the same weight,
 * and its metrics are of all of them. sync_stats: so are statistics of the batch; else they are each rank's own, and
 * running statistics too. `all` is copied; what its context is outlives the network. A network whose step has failed
 * makes no other, as the ranks are no longer in step; nor does one that did not join where exchanges had begun.
 * BLANCH_EUSAGE: made for inference, joined before, or with sync_stats a layer that has no statistics of several ranks.
 */
int blanch_network_join(struct blanch_network *network, const struct blanch_collectives *all, bool sync_stats);
/* Over MPI. communicator: the address of an MPI_Comm, of which a duplicate is made, by all of its ranks;
 * MPI_Init_thread was called with MPI_THREAD_SERIALIZED or more. BLANCH_EUSAGE: it was not, or this library was built
 * without MPI. A failed rank, or one that keeps the others waiting for `timeout` seconds (0: 600), makes calls fail
 * with BLANCH_EDEVICE. */
int blanch_collectives_mpi(struct blanch_collectives *all, const void *communicator, double timeout);
void blanch_collectives_mpi_free(struct blanch_collectives *all); // by all ranks; the networks are gone

/* --- where the time goes ---------------------------------------------------------------------- */

/* A layer in the order of execution; its index is that of its row in the ledger. Texts live as long as the network. */
struct blanch_layer {
    size_t size;
    const char *name, *op;       // "layer1.0.conv1", "conv2d"
    const char *engine[3];       // of a convolution: forward, data gradient, weight gradient; else NULL
    int channels, height, width; // of its output
    double multiply_adds;        // of one image's forward pass
};
int blanch_network_layer(const struct blanch_network *network, int index, struct blanch_layer *layer);

/* From now on every step's time is taken down, by layer and phase, until record is false. Such a step takes a little
 * longer: one in twenty or so is enough. */
int blanch_network_record(struct blanch_network *network, bool record);

/* The phases that a step's time is told by: "forward", "backward_data", ...; NULL: index is none. */
enum { BLANCH_PHASES = 32 }; // indices below it
const char *blanch_phase_name(int index);

/* Of all recorded steps. */
struct blanch_ledger {
    size_t size;
    int steps;              // recorded
    int rows;               // the network's layers, and one more of what belongs to none, "(step)"
    double step_ms, min_ms; // wall time of a step: the median, the least
    double covered;         // the share of it that the rows' phases add up to
};
int blanch_network_ledger(const struct blanch_network *network, struct blanch_ledger *ledger);
struct blanch_ledger_row {
    size_t size;
    const char *name, *op;    // of "(step)", op is ""
    double ms[BLANCH_PHASES]; // of a step, by phase
    double total_ms;
};
int blanch_network_ledger_row(const struct blanch_network *network, int row, struct blanch_ledger_row *of);

/* The overhead budget, per cent over the same network's steps with batch norm. Without a budget allowed is NAN; held
 * and least are NAN until the first decision. */
struct blanch_budget {
    size_t size;
    double allowed; // as asked for
    double held;    // since the first step, by its own measurements
    double least;   // that it could cost, with 1 per cent of a BN step for refreshes
    int layers;     // that it decides about
};
int blanch_network_budget(const struct blanch_network *network, struct blanch_budget *budget);
struct blanch_budget_layer {
    size_t size;
    const char *name;
    double interval; // steps between two refreshes of its whitening; NAN until the first decision
};
int blanch_network_budget_layer(const struct blanch_network *network, int index, struct blanch_budget_layer *layer);

/* --- data ------------------------------------------------------------------------------------- */

/* Data as the command line names them: fashion-mnist[:DIR] mnist:DIR cifar10:DIR cifar100:DIR folder:DIR
 * npz:FILE synthetic:CxHxW:CLASSES. They know nothing of devices; a loader of them is one thread's at a time. */
struct blanch_data;
enum blanch_split { BLANCH_TRAIN, BLANCH_VALIDATION, BLANCH_TEST };
/* seed divides a folder without splits. BLANCH_EINPUT names the file that is wrong. */
int blanch_data_open(struct blanch_data **data, const char *spec, uint64_t seed);
/* The same with more to say of them: docs/options.md, under these names. */
struct blanch_data_options {
    size_t size;
    uint64_t seed;          // divides a folder without splits, and val_split
    const char *val_split;  // "10%": this share of the training images validates instead; NULL: none
    const char *split_file; // a file that says which image is of which split; NULL: the data say
    const char *cache;      // a folder for decoded, resized pictures; NULL: none are kept
};
/* BLANCH_EUSAGE: there is no such share, or the data have validation images of their own; BLANCH_EINPUT names the file
 * and the line, or a folder that can be no cache. */
int blanch_data_open_with(struct blanch_data **data, const char *spec, const struct blanch_data_options *options);
void blanch_data_close(struct blanch_data *data);
struct blanch_data_info {
    size_t size;
    const char *name; // "cifar10", lives as long as the data
    int classes, channels;
    int height, width;       // of every image; 0: they vary
    int64_t images[3];       // of each split; 0: there is none
    enum blanch_split judge; // the split that tells which weights are best: validation, else test, else training
    bool masks;              // images have masks: their labels are those of their pixels
};
int blanch_data_info(const struct blanch_data *data, struct blanch_data_info *info);
const char *blanch_data_class(const struct blanch_data *data, int label); // its name; NULL: there is no such class
/* What there is to say of the data (damaged images that are left out, say), a line a call; NULL: nothing more. Valid
 * until the data are closed. */
const char *blanch_data_message(struct blanch_data *data);

/* How images become a network's input. */
enum { BLANCH_CHANNELS = 16 }; // most of data's images
struct blanch_view {
    size_t size;
    int channels, height, width; // of the input
    const char *augment;         // in training: "none", "cifar", "imagenet" (docs/options.md)
    float mean[BLANCH_CHANNELS], deviation[BLANCH_CHANNELS]; // by channel, of values from 0 to 1
    float mixup, cutmix;      // in training, of whole batches: alpha, 0.001 to 100; 0: none
    const char *auto_augment; // in training: "ra" (RandAugment), "ta" (TrivialAugment); NULL: none
    float random_erase;       // in training: the probability that a box becomes 0
};
/* That which goes with the data and an input of this size, as `train` chooses it. */
int blanch_data_view(const struct blanch_data *data, int channels, int height, int width, struct blanch_view *view);
/* Mean and deviation by a name that --normalise takes: "imagenet", "cifar10", ..., "none", or "measured", of the
 * training images, for which alone data may not be NULL. BLANCH_EUSAGE: there is no such name, or it is of other
 * channels. */
int blanch_view_normalise(struct blanch_view *view, const struct blanch_data *data, const char *name);
/* How images became the input of the weights that the network has: as their file says (blanch_network_load, _init,
 * _load_state), or as the program said last; else channels are 0, or, of a network that generates, the view is its own.
 * Fine-tuning takes mean and deviation from here, and blanch_data_view where there are none. */
int blanch_network_view(const struct blanch_network *network, struct blanch_view *view);
/* Says so, for the files that it is saved to; data, which may be NULL, name its classes. BLANCH_EUSAGE: the view or the
 * data are not of the network's shape. */
int blanch_network_set_view(struct blanch_network *network, const struct blanch_view *view,
                            const struct blanch_data *data);
/* One image of a file, as in evaluation: image (channels, height, width). */
int blanch_image_read(const char *path, const struct blanch_view *view, float *image);

struct blanch_loader_options {
    size_t size;
    enum blanch_split split;
    const struct blanch_view *view; // NULL: blanch_data_view of the data's own channels and size
    int batch;                      // images
    bool training;                  // shuffled anew in every epoch and augmented; else in order, and as they are
    int least;            // a last batch of fewer images is left out (the network's least_batch, or batch); 0: none
    uint64_t seed;        // of order and augmentation
    int64_t epoch, first; // where it begins: an epoch, and so many batches later
    int epochs;           // how many; 0: without end
    int workers;          // threads, 1 to 16; 0: as many as suit
};
struct blanch_batch { // valid until the next call
    size_t size;
    const float *images;   // (count, channels, height, width)
    const int32_t *labels; // (count), of data whose images have masks (count, height, width)
    int count;             // 0: the end
    int64_t epoch;
    bool last;             // of its epoch
    const int32_t *others; // (count) what the rest is of; NULL: they are not mixed
    float share;           // of mixed images: what of each is of its label, from 0.5 to 1
};
/* Batches are prepared ahead in threads; their contents do not depend on how many there are. */
struct blanch_loader;
int blanch_loader_open(struct blanch_loader **loader, struct blanch_data *data,
                       const struct blanch_loader_options *options);
void blanch_loader_close(struct blanch_loader *loader);
int64_t blanch_loader_batches(const struct blanch_loader *loader); // of an epoch
int blanch_loader_next(struct blanch_loader *loader, struct blanch_batch *batch);

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#include "definition.h" // what definitions of networks are written with
#endif
