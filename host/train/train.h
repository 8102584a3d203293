/* Training: a network with its optimiser, schedule, loop, metrics and checkpoints. */
#ifndef BL_TRAIN_H
#define BL_TRAIN_H

#include "graph/graph.h"
#include "model.h"
#include "dataset.h"
#include "sched/ledger.h"
#include "sched/tune.h"
#include <math.h>

/* The body of the public struct blanch_network. */
struct blanch_network {
    struct blanch_device *dev;
    struct blanch_model *model;        // a reference
    struct bl_network_options options; // resolved: nothing zero that has a default
    struct bl_graph *graph;
    struct blanch_nd_layer *layers; // options.nd.layer
    float *class_weight;            // options.loss.weight
    float *host;                    // batch, NHWC, for calls that give NCHW
    struct bl_view view;            // how images became its weights' input; channels 0: it is not known
    cJSON *class_names;             // an array of texts; NULL: it is not known
    int taken;                      // parameters and buffers that have the model's initial values
    struct bl_session *session;     // of blanch_network_step; NULL: made for inference
    struct bl_staged *staged;       // what blanch_network_join gave; NULL: one rank, or a run's
    bool record;                    // its steps, in the session's ledger
};
const char *bl_norm_name(enum blanch_norm norm);             // "bn", "nd", "none"
int bl_norm_parse(const char *name, enum blanch_norm *norm); // BLANCH_EUSAGE
/* Of struct blanch_nd_options: patches or channels; N, or 4F as -4. What is written is at most 23 characters. */
int bl_whiten_parse(const char *text, int *whiten); // BLANCH_EUSAGE
enum { BL_ACCUMULATE_AUTO = -1 };                   // network.accumulate: as few passes of a batch as fit the device
enum { BL_BLOCK_AUTO = -1 }; // nd.block: every layer has its own in nd.layer, or is to get one (train/blocks.h)
void bl_whiten_text(int whiten, char text[24]);
int bl_cov_samples_parse(const char *text, int *samples); // BLANCH_EUSAGE
void bl_cov_samples_text(int samples, char text[24]);
int bl_nd_preset(const char *name, struct blanch_nd_options *nd);           // as blanch_nd_preset
const char *bl_precision_name(enum blanch_precision precision);             // "fp32", "fp16", "bf16"
int bl_precision_parse(const char *name, enum blanch_precision *precision); // NULL: fp32. BLANCH_EUSAGE

/* The settings of an update: what is not given, NAN, becomes the optimiser's default (name NULL: "sgd"). Then all are
 * checked: BLANCH_EUSAGE names the option that is out of range. */
int bl_update_resolve(const char *optimiser, struct blanch_update *update);

int bl_network_create(struct blanch_network **network, struct blanch_device *device,
                      const struct bl_network_options *options); // as blanch_network_create
/* BLANCH_EUSAGE: the network is for another task. */
int bl_network_check_kind(const struct blanch_network *net, enum bl_task task);
/* What a network made for inference has as its graph's batch: on a CPU as many images of options->batch as leave the
 * activations in its cache, else all. */
int bl_network_slice(const struct blanch_device *dev, const struct bl_network_options *options, int *slice);
/* A network made for inference with the parameters and buffers that net has now, or their averages. */
int bl_network_inference_of(struct blanch_network **inference, struct blanch_network *net, bool average);
/* They are copied to another network of the same definition. */
int bl_network_copy(struct blanch_network *to, struct blanch_network *net, bool average);
/* Of a network made for inference: the logits (count, classes) of images (NHWC), slice by slice. */
int bl_network_infer(struct blanch_network *net, const float *images, int count, float *logits);
size_t bl_network_logit_count(const struct blanch_network *net); // of an image: classes, times pixels that have them
/* BLANCH_EUSAGE: the network labels pixels, and the data images, or the other way round. */
int bl_network_check_task(const struct blanch_network *net, const struct bl_dataset *data);
/* The same of any network, of at most its batch; labels are not looked at. */
int bl_network_logits(struct blanch_network *net, const struct bl_batch *batch, float *logits);
/* Images of the largest step: with gradients that accumulate, of several batches. */
int bl_network_largest_step(const struct blanch_network *net);
/* Refuses a labelled batch that does not fit a step of the network. */
int bl_network_check_batch(const struct blanch_network *net, const struct bl_batch *batch);
/* Puts a labelled batch (NHWC, of a loader) on the device. A training step is made by bl_session_step. */
int bl_network_load(struct blanch_network *net, const struct bl_batch *batch);
/* The same, not waited for: the batch is read until the event (bl_stage_upload). Its labels were checked. */
struct bl_uploader {
    struct bl_stage *stage;   // NULL: in queue order
    struct bl_lender *lender; // what lies in its memory is given to the device until bl_lender_take_back; NULL: nothing
};
int bl_network_upload(struct blanch_network *net, const struct bl_batch *batch, const struct bl_uploader *by,
                      struct bl_event **event);
/* A stage for that; *stage NULL where writes in queue order are as good. */
int bl_network_stage(struct blanch_network *net, struct bl_stage **stage);
/* Reads back what the loss says of the count images that went forward. */
int bl_network_metrics(struct blanch_network *net, int count, struct blanch_metrics *metrics);
/* Recomputes the layers of the step that would follow (named `step` in errors) in plain C and compares: outputs and
 * running buffers by value, gradients for what is not finite. The network stays as it was. BLANCH_EMISMATCH names the
 * first layer that differs, BLANCH_EDIVERGED the first that is not finite in plain C either. Slow. */
struct bl_validation {
    int layers;
    double largest_error, seconds;
    char largest_in[128];
}; // error: of the largest value
int bl_network_validate(struct blanch_network *net, const struct bl_batch *batch, int64_t step,
                        struct bl_validation *result);
/* The smallest batch of which every layer has as many values per channel, or samples, as it needs: more than one,
 * unless it has no more of a whole batch. */
int bl_network_least_batch(const struct blanch_network *net);
/* The first layer that has one value per channel, or one sample, of so many images; NULL: there is none. */
const struct bl_node *bl_network_single(const struct blanch_network *net, int images);
int bl_network_eval(struct blanch_network *net, const struct bl_batch *batch, struct blanch_metrics *metrics);
/* Whole split, in evaluation mode; metrics sum up. */
int bl_network_test(struct blanch_network *net, struct bl_dataset *data, enum bl_split split,
                    const struct bl_view *view, struct blanch_metrics *metrics, double *seconds);

/* sum becomes the metrics of both, but for mean_iou. */
void bl_metrics_add(struct blanch_metrics *sum, const struct blanch_metrics *part);
double bl_accuracy(const struct blanch_metrics *m); // per cent of the images, or labelled pixels, that are right
double bl_judged(const struct blanch_metrics *m);   // of an evaluation: that, or the mean over classes of IoU

/* --- schedule --------------------------------------------------------------------------------- */

enum bl_schedule_kind { BL_COSINE, BL_MULTISTEP, BL_CONSTANT, BL_STEP, BL_ONECYCLE, BL_POLYNOMIAL };
/* "cosine" (per step: lr/2 (1 + cos(pi t/T))), "multistep[:E1,E2,...[:GAMMA]]" (epochs; 0.1 at half and three quarters
 * by default), "constant", "step[:EPOCHS[:GAMMA]]" (30, 0.1), "onecycle[:PART]" (of the steps, in which the rate rises:
 * 0.3), "polynomial[:POWER]" (per step: lr (1 - t/T)^POWER; 1). In a warm-up of W steps the t-th of them (from 0) has
 * (t + 1)/W of that; t and T count from its end, milestones from the run's begin. */
struct bl_schedule {
    enum bl_schedule_kind kind;
    float lr;
    int64_t steps, epoch_steps, warmup;
    float warmup_epochs; // in place of warmup, until bl_schedule_check
    int milestones;
    int milestone[16]; // of step: every so many epochs
    float gamma;       // also onecycle's part and polynomial's power
};
int bl_schedule_parse(struct bl_schedule *schedule, const char *text);
/* When steps and epoch_steps are known. BLANCH_EUSAGE: the warm-up takes all steps. */
int bl_schedule_check(struct bl_schedule *schedule);
float bl_schedule_lr(const struct bl_schedule *schedule, int64_t step);

/* --- checkpoints ------------------------------------------------------------------------------ */

/* DIR/last.safetensors (state dict alone) and DIR/last.state.safetensors (the optimiser's state as
 * NAME.momentum_buffer, with NAME the parameter's; private buffers and counters; NAME.target.* of update targets that
 * run; position) carry one step number in their metadata. Both are first written in full as *.new beside them, then
 * renamed, the state first. A load takes the newest pair that agrees among the files and their *.new, so a crash at any
 * moment leaves one to continue from. A run that goes on from one has the bits of a run that was never interrupted.
 * Values that are not finite are not saved: BLANCH_EDIVERGED. */
struct bl_position {
    int64_t step, epoch;         // steps done; the epoch whose line is not yet in the log: all its steps done, its
                                 // evaluation is still due
    double best_top1;            // per cent; negative: none yet. Of a network that generates, less its least loss
    struct blanch_metrics train; // of this epoch's steps so far
    double train_s;
    int64_t skipped; // of the steps: their loss was not finite, and they updated nothing
    int64_t stale;   // epochs since the best one
    char *budget;    // the overhead budget's state (bl_budget_save), or NULL; malloc'd
};
int bl_checkpoint_save(struct bl_graph *graph, const char *dir, const struct bl_position *position);
/* The same where nothing has changed since the checkpoint of this step but the position. */
int bl_checkpoint_save_position(struct bl_graph *graph, const char *dir, const struct bl_position *position);
int bl_checkpoint_load(struct bl_graph *graph, const char *dir, struct bl_position *position);
/* The same, where accept returns 0: it is asked when all else fits, before anything is changed. */
int bl_checkpoint_load_if(struct bl_graph *graph, const char *dir, struct bl_position *position,
                          int (*accept)(void *context, const struct bl_position *position), void *context);
void bl_checkpoint_clear(const char *dir);  // of what a crash left of a first one
bool bl_checkpoint_exists(const char *dir); // or what a user takes for one: a file of it
int bl_weights_save(struct bl_graph *graph, const char *path, int64_t step);
/* All or nothing; a file that does not fit is refused with the first few missing, unexpected and misshapen names. */
int bl_weights_load(struct bl_graph *graph, const char *path);
/* The same of an open file and a graph that may be without a device: nothing is read into it. */
struct bl_safetensors;
int bl_weights_check(struct bl_graph *graph, const struct bl_safetensors *file, const char *path);
/* code, of weights that do not fit: its message says whose they are, where they are torchvision's of another network.
 */
int bl_weights_explain(int code, const struct bl_graph *graph, const struct bl_safetensors *file);
/* Takes classes and channels from a file of weights, where its classifier and first convolution tell. */
int bl_weights_shape(const struct blanch_model *model, struct bl_network_options *options, const char *path);
/* To begin with: all of them, or all but the classifier, which stays as it is. */
int bl_weights_begin(struct bl_graph *graph, const char *path, bool new_head);
/* Under its name, or that of torchvision's older files; NULL: the file has none. */
const struct bl_st_tensor *bl_st_find_param(const struct bl_safetensors *file, const struct bl_param *param);
/* What fits by name and shape, and has finite values; the rest stays. BLANCH_EINPUT, and nothing changes: none does. */
int bl_weights_init(struct bl_graph *graph, const char *path, int *taken);

/* --- the run ---------------------------------------------------------------------------------- */

/* What the loop has to say; text is one line. */
enum bl_train_event {
    BL_TRAIN_DATA,   // what was found
    BL_TRAIN_NOTICE, // DATA or STARTED that says what is left out: quiet or not
    BL_TRAIN_STARTED,
    BL_TRAIN_STEP,
    BL_TRAIN_EPOCH,
    BL_TRAIN_WARNING,
    BL_TRAIN_VALIDATED,
    BL_TRAIN_DONE
};
typedef void bl_train_listener(void *context, enum bl_train_event event, int64_t step, int64_t steps, const char *text);

/* What BL_TRAIN_DEFAULT has (NULL, 0, false, NAN, BL_SEED_DEFAULT) means "not given": the defaults in a new run (the
 * optimiser's own, those of sgd being the study's: lr 0.1, momentum 0.9, weight decay 1e-3; by cosine, batch 128, one
 * epoch, seed 0), config.json's values in a resumed one. There, a value that is given and differs is refused, except
 * epochs, steps, recompute, device, max_alloc, tensorboard, early_stop, save_every and keep, which replace those of the
 * run. */
#define BL_SEED_DEFAULT UINT64_MAX
#define BL_UPDATE_DEFAULT                                                                                              \
    { .lr = NAN, .momentum = NAN, .weight_decay = NAN, .beta1 = NAN, .beta2 = NAN, .eps = NAN }
#define BL_TRAIN_DEFAULT                                                                                               \
    {                                                                                                                  \
        .network = {.nd = {.eps = NAN, .momentum = NAN}, .seed = BL_SEED_DEFAULT, .ema = NAN, .loss.smoothing = NAN},  \
        .update = BL_UPDATE_DEFAULT, .random_erase = NAN, .mixup = NAN, .cutmix = NAN                                  \
    }
struct bl_train_options {
    struct bl_network_options network; // classes, channels and size come from the data and the model
    const char *norm;                  // "bn", "nd", "none"; NULL: network.norm (of a new run)
    const char *precision;             // "fp32" (NULL), "fp16", "bf16"; network.precision is made of it
    const char *data, *out, *device, *init;
    const char *device_per_rank; // of several ranks: "auto", or devices, one for each rank of a host; NULL: the device,
                                 // or else auto
    const char *shares;          // of the batch: "auto" (NULL), "equal", or a number for each rank
    bool sync_stats;             // statistics of a batch are those of all ranks
    struct bl_ranks *ranks;      // NULL: this process is alone
    const char *config;          // a file with settings, for what is not given; NULL: none
    bool new_head;               // of init all is taken but the classifier
    bool resume;
    int epochs;
    int64_t steps;        // steps 0: by epochs
    int early_stop;       // ends after so many epochs without a better top-1; 0: it does not
    float expect_top1;    // per cent: BLANCH_EMISMATCH where the best is less in the end; 0: nothing is expected
    int workers;          // threads of the loader; 0: as many as suit
    int save_every, keep; // DIR/epoch-N.safetensors after so many epochs each (0: none); of the last so many (0: all)
    struct blanch_update update; // its lr that of the schedule's start
    const char *schedule;
    int64_t warmup;            // steps
    float warmup_epochs;       // or epochs
    const char *class_weights; // "balanced", or a file; NULL: 1 each
    const char *task; // "classify", "segment", "generate": what the network does, checked; NULL: whichever that is
    const char *size; // of images, "96" or "96x128"; NULL: the network's own
    const char *augment, *normalise; // NULL: the default
    const char *auto_augment;        // "ra", "ta"; NULL: none
    float random_erase;              // probability
    const char *val_split, *split_file;
    float mixup, cutmix; // alpha; 0: none
    const char *cache;   // a folder for decoded pictures; NULL: none
    uint64_t max_alloc;
    bool drop_last;                    // every partial batch is left out
    int64_t validate;                  // the first step of this process and every so many are validated first; 0: none
    bool diagnose;                     // looks at every layer's whitening at the first step and every record_every-th
    const char *overhead_budget;       // of ND over BN: "20%", "none" (NULL: none)
    const char *tensorboard;           // a folder for TensorBoard's event files; NULL: none are written
    const struct bl_tune_bounds *tune; // measures the engines of shapes that the cache does not know; NULL: by rule
    int record_every;                  // steps between recorded ones, for ledger.json (0: 20)
    bl_train_listener *listener;       // NULL: nobody listens
    void *context;
};
/* A directory is one process's at a time. What ends a run after its first step leaves a checkpoint of its last one, as
 * far as that can be had; a run that was stopped before its first checkpoint begins anew when it is started, or
 * resumed, again, and keeps its former log as log.N.jsonl. */
int bl_train(const struct bl_train_options *options);

/* A run's config.json, for those who use the run: the settings, the network's shape, the data's view and class names.
 * Texts belong to json. */
struct bl_run_config {
    cJSON *json;
    struct bl_train_options options;
    struct bl_view view;
    struct blanch_model *model;     // of DIR/network.json, options.network.definition; NULL: there is none
    struct blanch_nd_layer *layers; // options.network.nd.layer
    bool exact;                     // those that were chosen let every step be, within the budget
    int class_names;
    const cJSON *class_name; // an array
};
enum { BL_MOST_CLASSES = 1 << 20 };
/* What was given of how a network computes (deconvolution's settings), under config.json's keys. */
cJSON *bl_network_settings(const struct bl_network_options *network);
int bl_network_settings_read(struct bl_network_options *network, const cJSON *json, const char *path); // BLANCH_EINPUT
int bl_run_read(struct bl_run_config *config, const char *dir);
void bl_run_release(struct bl_run_config *config);

/* --- views ------------------------------------------------------------------------------------ */

/* Of a network's input: what text says, N or HxW; NULL: the network's own. BLANCH_EUSAGE. */
int bl_model_size(const struct blanch_model *model, const char *text, int *height, int *width);
/* How data become a network's input: by names as --augment and --normalise take them, *normalise set where it is NULL;
 * NULL: what goes with the data. */
int bl_view_choose(struct bl_view *view, struct bl_dataset *data, const struct bl_network_options *input,
                   const char *augment, const char **normalise);
cJSON *bl_view_json(const struct bl_view *view);
int bl_view_read(struct bl_view *view, const cJSON *json, const char *path); // BLANCH_EINPUT names path

/* "images" that the loader's threads have prepared, "seconds" of one thread that they took, "threads", and
 * "images_per_s", of a thread. */
cJSON *bl_loader_json(struct bl_loader *loader);

/* --- the data of a run ------------------------------------------------------------------------ */

/* What was found, for config.json's "data_found": images of each split and a hash of their names, files not read, how a
 * folder without splits was divided. */
cJSON *bl_run_data_json(const struct bl_dataset *data);
/* Opens data, divided as those of the run; config->json NULL: of a new run. */
struct bl_run_division {
    uint64_t seed;
    const char *val_split, *split_file; // as --val-split and --split-file take them; NULL: none
};
int bl_run_data_open(struct bl_dataset **data, const struct bl_run_config *config, const char *spec,
                     const struct bl_run_division *asked);
/* Numbers classes as the run does, by their names. BLANCH_EINPUT: one that it does not know, or, where all are wanted,
 * that the data lack. */
int bl_run_data_classes(const struct bl_run_config *config, struct bl_dataset *data, const char *spec, bool all);
/* "109 training images, the run had 108; ..." of these splits (1 << BL_TEST ...), "" where all are the run's; malloc'd.
 */
char *bl_run_data_changes(const struct bl_run_config *config, const struct bl_dataset *data, unsigned splits);
/* BLANCH_EINPUT: other classes or training images than the run began with. *changes: of the other splits, as above. */
int bl_run_data_resume(const struct bl_run_config *config, struct bl_dataset *data, char **changes);

#endif
