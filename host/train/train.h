/* Training: a network with its optimiser, schedule, loop, metrics and checkpoints. */
#ifndef BL_TRAIN_H
#define BL_TRAIN_H

#include "graph/graph.h"
#include "model.h"
#include "dataset.h"
#include "sched/ledger.h"

/* The body of the public struct blanch_network. */
struct blanch_network {
    struct blanch_device *dev;
    const struct bl_model *model;
    struct blanch_network_options options;  // resolved: nothing zero that has a default
    struct bl_graph *graph;
    float *host;                            // batch, NHWC, for calls that give NCHW
};
const char *bl_norm_name(enum blanch_norm norm);                        // "bn", "nd", "none"
int bl_norm_parse(const char *name, enum blanch_norm *norm);            // BLANCH_EUSAGE

/* One step on a batch of the loader (NHWC); sgd NULL: no update. Reads the metrics back. */
int bl_network_step(struct blanch_network *net, const struct bl_batch *batch, const struct blanch_sgd *sgd,
                    struct blanch_metrics *metrics);
int bl_network_eval(struct blanch_network *net, const struct bl_batch *batch, struct blanch_metrics *metrics);
/* Whole split, in evaluation mode; metrics sum up. */
int bl_network_test(struct blanch_network *net, struct bl_dataset *data, enum bl_split split, const struct bl_view *view,
                    struct blanch_metrics *metrics, double *seconds);

/* --- schedule --------------------------------------------------------------------------------- */

enum bl_schedule_kind { BL_COSINE, BL_MULTISTEP, BL_CONSTANT };
/* "cosine" (per step: lr/2 (1 + cos(pi t/T))), "multistep[:E1,E2,...[:GAMMA]]" (epochs; 0.1 at half and three quarters by
 * default), "constant". */
struct bl_schedule { enum bl_schedule_kind kind; float lr; int64_t steps, epoch_steps; int milestones; int milestone[16]; float gamma; };
int bl_schedule_parse(struct bl_schedule *schedule, const char *text);
float bl_schedule_lr(const struct bl_schedule *schedule, int64_t step);

/* --- checkpoints ------------------------------------------------------------------------------ */

/* DIR/last.safetensors (state dict alone) and DIR/last.state.safetensors (velocities under their parameter's name, private
 * counters, position) carry one step number in their metadata; written to temporary files and renamed, the state first. */
struct bl_position { int64_t step, epoch; double best_top1; };
int bl_checkpoint_save(struct bl_graph *graph, const char *dir, const struct bl_position *position);
int bl_checkpoint_load(struct bl_graph *graph, const char *dir, struct bl_position *position);
int bl_weights_save(struct bl_graph *graph, const char *path, int64_t step);
/* All or nothing; a file that does not fit is refused with the first few missing, unexpected and misshapen names. */
int bl_weights_load(struct bl_graph *graph, const char *path);

/* --- the run ---------------------------------------------------------------------------------- */

struct bl_train_options {
    struct blanch_network_options network;
    const char *data, *out, *device, *init;
    bool resume;
    int epochs; int64_t steps;              // 0: by epochs
    struct blanch_sgd sgd;
    const char *schedule;
    const char *augment;                    // NULL: the default
    uint64_t max_alloc;
    int record_every;                       // steps between recorded ones, for ledger.json (0: 20)
    bool quiet;
};
int bl_train(const struct bl_train_options *options);
/* Set by SIGINT and SIGTERM: the loop ends after the current step with a checkpoint and BLANCH_EINTERRUPTED. */
extern volatile int bl_train_stop;

#endif
