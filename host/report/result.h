/* The results of a bench, a comparison or a training run as plain structs: result_write.c makes JSON of them and
 * result_read.c reads it, that of earlier versions too; tables and pages are printed from them. Numbers that are not
 * there are NAN, texts "". */
#ifndef BL_RESULT_H
#define BL_RESULT_H

#include "io/document.h"
#include "report/suite.h"

/* A network's deconvolution: what was asked for, and what was not of its convolution with the largest block, and of its
 * linear layer. block -1: auto. */
struct bl_nd_result {
    double block, iterations, eps, momentum, sampling_stride, freeze, refresh, block_fc, overhead_budget_pct;
    double whiten_channels, variances, cov_samples; // cov_samples as struct bl_nd_attrs has it
};

struct bl_update_result { // how the weights were updated
    char optimiser[32], schedule[64];
    double lr, warmup, momentum, beta1, beta2, eps, weight_decay, nesterov; // warmup: steps
};

struct bl_epoch_result { // accuracies in per cent
    double epoch, train_loss, train_top1, train_top5, test_loss, test_top1, test_top5, train_s, test_s;
    double val_loss, val_top1, val_top5, val_s; // where there are validation images, test_ is NAN
    /* Of networks that label pixels, in place of top1 and top5. */
    double train_pixel_accuracy, test_pixel_accuracy, test_mean_iou, val_pixel_accuracy, val_mean_iou;
};
struct bl_curve_point {
    double step, seconds, loss; // seconds of training until then
};

struct bl_decision_layer_result {
    char name[128];
    double interval, refresh_ms, drift; // steps between refreshes; how far D turns in a step
};
struct bl_decision_result { // of an overhead budget
    char reason[96];
    double step, budget_pct, base_ms, bn_ms, allowance_ms, repay_ms, debt_ms, least_pct, held_pct, feasible;
    struct bl_decision_layer_result *layer;
    int layers;
};
struct bl_budget_result {
    double budget_pct, held_pct, least_pct; // budget_pct NAN: the run has none
    char baseline[64];                      // whose steps it is held against
    struct bl_decision_result *decision;
    int decisions;
};

struct bl_rank_result { // of a training run on several, in its recorded steps
    char host[64], device[200];
    double share, step_ms, communicate_ms, communicate_hidden_ms, load_ms, wait_ms;
};

struct bl_run_result { // one network on one device
    int device;        // of the document's
    char norm[16], setting[80];
    char network_hash[17]; // of its description; "": unknown
    struct bl_nd_result nd;
    cJSON *blocks;     // that --block auto chose, as train/blocks.h has them; NULL: it did not
    bool blocks_exact; // within the budget every step may be
    struct bl_update_result update;
    double best;           // of several runs with batch norm on its device: 1, of those whose rate is not the best 0
    double diverged_after; // steps of which it has made all that a comparison kept
    double parameters, step_ms, step_ms_quartile1, step_ms_quartile3, mean_ms, min_ms, images_per_s;
    double inference_ms, inference_images_per_s, recorded_step_ms, recording_cost; // recorded steps over the others
    double target_top1, target_s, coverage, timed_steps, recorded_steps, last_loss;
    double startup_ms, planned_bytes, device_bytes, host_bytes;
    struct bl_budget_result budget;
    struct bl_measured step; // rows 0: no step was recorded
    struct bl_epoch_result *epoch;
    int epochs;
    struct bl_curve_point *curve;
    int points;
    struct bl_rank_result *rank;
    int ranks; // 0: there is one
};

struct bl_pair_row { // a layer of one network beside that of the other
    char name[128], bn_name[128], op[32];
    int role; // as bl_ledger_row's
    double bn_ms, nd_ms, bn[BL_PHASES], nd[BL_PHASES];
};
struct bl_pair_result { // network deconvolution beside batch norm, on one device
    int device;
    char setting[80];
    struct bl_nd_result nd;
    double bn_step_ms, nd_step_ms, overhead_pct, bn_mean_ms, nd_mean_ms, overhead_mean_pct;
    double overhead_bound_pct, bound_steps, bn_inference_ms, nd_inference_ms;
    struct bl_pair_row *row;
    int rows;
};

struct bl_device_result {
    char label[320]; // its name; where two are equal, with its spec
    char vendor[128];
    struct bl_device_facts facts;
    double clock_mhz, max_alloc_bytes;
};

struct bl_eval_class {
    char *name;
    double images, precision, recall, f1, iou; // images: or pixels; iou NAN: of whole images
};
struct bl_eval_result { // what `blanch eval` found, in a run's directory
    char *split, *data, *weights;
    double images, loss, top1, top5;
    double pixels, mean_iou, pixel_accuracy; // of a network that labels pixels, in place of top1 and top5; else NAN
    uint8_t *overlays;                       // a PNG of some masks, not of JSON; NULL: none
    size_t overlays_size;
    int classes;
    struct bl_eval_class *class;
    double *confusion; // (classes, classes): of a class's images, by what was answered; NULL: too many classes
};

struct bl_result {
    struct bl_header header;
    char *source; // the path that it was read from; NULL: none
    char *data;
    char model[256], precision[8], augment[32]; // precision "": fp32
    struct bl_update_result update;             // of every run that has no other
    double batch, steps, epochs, recompute, seed, interrupted_after;
    cJSON *settings; // what was asked for, as it stands in the file
    struct bl_device_result *device;
    struct bl_run_result *run;
    struct bl_pair_result *pair;
    int devices, runs, pairs;
    struct bl_eval_result *eval;   // NULL: none
    struct bl_suite_result *suite; // NULL: it is no suite's; else the one device has neither runs nor pairs
};

/* --- making ----------------------------------------------------------------------------------- */

void bl_result_init(struct bl_result *result); // every number is NAN
void bl_result_free(struct bl_result *result); // and all that it holds
void bl_run_result_free(struct bl_run_result *run);
/* A new last one, its numbers NAN; NULL: no memory. Earlier ones may move. */
struct bl_device_result *bl_result_add_device(struct bl_result *result, const char *label);
struct bl_run_result *bl_result_add_run(struct bl_result *result, int device);
struct bl_pair_result *bl_result_add_pair(struct bl_result *result, int device);
struct bl_epoch_result *bl_result_add_epoch(struct bl_run_result *run);
struct bl_decision_result *bl_result_add_decision(struct bl_budget_result *budget);
void bl_device_result_fill(struct bl_device_result *device, const struct blanch_device_info *info);
void bl_nd_result_fill(struct bl_nd_result *nd, const struct bl_graph *graph, const struct blanch_nd_options *asked);
/* The losses of all steps and the seconds until the end of each, thinned to 120 points. */
struct bl_step_sample {
    double step, seconds, loss;
};
int bl_result_set_curve(struct bl_run_result *run, const struct bl_step_sample *samples, size_t count);

/* The rows of two networks of which one is normalised by batches: the k-th layer of one stands beside the k-th of the
 * other, and other operations beside those of the same kind, in order. A normalisation counts to the layer that it
 * follows, or else to the first that it feeds, directly or through activations. `bn` and `nd` have a row for each node
 * of their graphs. */
int bl_pair_rows(struct bl_pair_result *pair, const struct bl_graph *bn_graph, const struct bl_measured *bn,
                 const struct bl_graph *nd_graph, const struct bl_measured *nd);

/* --- looking ---------------------------------------------------------------------------------- */

/* setting NULL: any, one that did not diverge where there is one. NULL: none. */
const struct bl_run_result *bl_result_run(const struct bl_result *result, int device, const char *norm,
                                          const char *setting);
const struct bl_epoch_result *bl_last_epoch(const struct bl_run_result *run); // NULL: none
/* What is right while training, and of the test images, else validation; NAN: unknown. Of pixels their share, and the
 * mean IoU. */
double bl_train_top1(const struct bl_epoch_result *epoch);
double bl_held_top1(const struct bl_epoch_result *epoch);
double bl_test_top1(const struct bl_run_result *run); // after the last epoch; NAN
/* Of one document by label, of two by everything that is known of device and machine. */
bool bl_same_place(const struct bl_result *a, int device, const struct bl_result *b, int other);
bool bl_same_task(const struct bl_result *a, const struct bl_result *b); // network, batch, precision
/* Its steps differ, some refresh the whitening and some do not: means speak for it, not medians. */
bool bl_pair_varies(const struct bl_pair_result *pair);
double bl_pair_overhead(const struct bl_pair_result *pair);              // per cent over BN
double bl_pair_row_difference(const struct bl_pair_row *row, int phase); // ND less BN

/* --- learning rates --------------------------------------------------------------------------- */

/* Of several runs with batch norm on one device marks the best: by accuracy after the last epoch, where there are
 * epochs, else by the loss of the last steps. */
void bl_rates_mark(struct bl_result *result);
/* What the rates of the device's runs let one say of the two norms' accuracies; "": nothing. */
void bl_rates_say(const struct bl_result *result, int device, char *text, size_t size);
/* The same of several documents' runs with this model: "" unless batch norm had one rate, and deconvolution it too. */
void bl_rates_say_of(const struct bl_result *results, int count, const char *model, char *text, size_t size);

/* --- files ------------------------------------------------------------------------------------ */

/* New documents. NULL: no memory. */
cJSON *bl_result_json(const struct bl_result *result);        // devices[], runs[], pairs[]
cJSON *bl_result_bench_json(const struct bl_result *result);  // its one run at the top
cJSON *bl_result_config_json(const struct bl_result *result); // what was asked for alone
cJSON *bl_epoch_json(const struct bl_epoch_result *epoch);

/* A document of a comparison, a bench or a suite. BLANCH_EINPUT without a message where it is neither. */
int bl_result_read(const cJSON *json, struct bl_result *result);
/* What a run directory's config.json says. */
int bl_result_read_config(const cJSON *json, struct bl_result *result);
int bl_run_read_measured(const cJSON *json, struct bl_run_result *run); // of ledger.json too
void bl_epoch_read(const cJSON *json, struct bl_epoch_result *epoch);   // a line of a log too
int bl_eval_read(const cJSON *json, struct bl_eval_result **eval);      // BLANCH_EINPUT
cJSON *bl_eval_json(const struct bl_eval_result *eval);
void bl_eval_free(struct bl_eval_result *eval);
int bl_decision_read(const cJSON *json, struct bl_decision_result *decision);

#endif
