/* What the files of a run share: its settings, its directory, its loop. */
#ifndef BL_RUN_H
#define BL_RUN_H

#include "train/blocks.h"
#include "train/session.h"
#include "dist/mpi.h"
#include "dist/staged.h"
#include "io/directory.h"
#include "io/tensorboard.h"
#include <stdio.h>

enum bl_found { BL_FOUND_NOTHING, BL_FOUND_BEGUN, BL_FOUND_CHECKPOINT }; // BEGUN: config.json alone

struct run {
    struct bl_train_options o;   // nothing left open
    struct bl_run_config config; // of the run that is resumed; owns texts of o
    struct bl_run_config former; // of a run without a checkpoint in whose directory this one begins anew
    cJSON *asked;                // of --config; owns texts of o
    enum bl_found found;         // in the directory
    int aside;                   // DIR/log.N.jsonl is the former log; 0: there was none
    struct bl_lock lock;         // of the directory
    bool entered;                // whoever writes has the lock
    struct bl_ranks *ranks;      // the caller's; NULL: there is one
    struct bl_staged *staged;    // what they ask of each other
    int *share;                  // (ranks) of a batch, in proportion
    bool alike, shares_fixed;    // devices; shares were given
    bool left_out;               // of the ranks: this one has nothing to do
    double busy_ms;              // of this rank, since its share was looked at, and
    int64_t busy_images;         // for so many images
    struct bl_division_of part;  // of every batch; ranks 0: all of it
    struct blanch_model *model;  // a reference
    struct blanch_device *dev;
    struct bl_dataset *data;
    char *data_changes; // of a resumed run: of validation and test images
    struct bl_view view;
    struct blanch_network *net;
    double *iou;             // of a network that labels pixels: by class, of the last evaluation, per cent; else NULL
    float *class_weight;     // of --class-weights; NULL: 1 each
    double budget;           // allowed overhead, 0.2 for 20 %; negative: none
    struct bl_blocks blocks; // chosen by this process, or of --init
    bool exact;              // every step may be, with the blocks of config.json, within the budget that chose them
    bool *warned;            // by node: --diagnose has spoken of it
    struct blanch_network *averaged; // for --ema: has the averages when an epoch ends
    struct bl_session session;
    struct bl_schedule schedule;
    struct bl_position position;
    int least;                          // a last batch of fewer images is left out
    int64_t batches, steps;             // of an epoch; in all
    struct bl_tensorboard *tensorboard; // NULL: no event files are asked for
    FILE *log;
    char *log_path;
    char spec[256];     // of the device, where none was given
    double rate;        // images a second, smoothed
    double took;        // the last step, seconds
    double saved;       // bl_now() of the last checkpoint
    int64_t saved_step; // of which the last checkpoint is; -1: there is none
    bool within;        // the step after `position` was begun on the device, and has failed
};

/* Whether this rank writes the run's files, and speaks: rank 0 alone. */
static inline bool bl_run_writes(const struct run *run) {
    return !run->ranks || !run->ranks->rank;
}
static inline bool bl_run_classifies(const struct run *run) {
    return run->model->task == BL_CLASSIFY;
}
int bl_run_images(const struct run *run); // of a step, on all ranks

/* What o leaves open is filled from o->config; its texts are those of *json, which the caller deletes, also where this
 * fails. BLANCH_EINPUT names what is wrong with the file. */
int bl_config_take(struct bl_train_options *o, cJSON **json);
/* Looks at the directory, and locks it where it exists. One that is used is refused, unless the run is resumed, or the
 * directory is of a run that was stopped before its first checkpoint: that begins anew. Creates no directory. */
int bl_run_enter(struct run *run, const struct bl_train_options *given);
/* Fills run->o from what was given, config.json of the run that is resumed, and the defaults. */
int bl_run_resolve(struct run *run, const struct bl_train_options *given);
int bl_run_choose_passes(struct run *run); // passes.c: of --accumulate auto; before the network is made
/* A run that begins anew in the directory of another must have that one's settings. After the data are open. */
int bl_run_check_former(const struct run *run);
/* How images become the input of a new run; the mean and deviation of --init's weights, where they tell and --normalise
 * is not given. When the data are open. */
int bl_run_choose_view(struct run *run);
/* What --class-weights says, or said when the run began: run->class_weight. When the data are open. BLANCH_EINPUT names
 * the file that is wrong. */
int bl_run_weigh_classes(struct run *run);
/* Makes and locks the directory, writes config.json, opens the log: without the lines past position, or a new one. */
int bl_run_open_directory(struct run *run);
/* code: how the run ended. */
void bl_run_leave_directory(struct run *run, int code);
/* results.csv: made from the log; an epoch's line added to it, which is deleted where that fails.
 */
int bl_run_results(const struct run *run);
int bl_run_results_add(const struct run *run, cJSON *line);
cJSON *bl_run_config_json(const struct run *run);
cJSON *bl_run_settings(const struct run *run); // everything that config.json says was asked for

/* Lines of log.jsonl. judged, and ema, with the averages: on the split that chooses the best weights; count 0: there is
 * none but the training images, or no average. */
cJSON *bl_run_log_line(const char *type);           // what other lines begin with
int bl_run_log(const struct run *run, cJSON *line); // owns line
int bl_run_log_data(struct run *run);               // the first, and one where validation or test images changed since
int bl_run_log_blocks(struct run *run);             // what was measured to choose blocks, once
int bl_run_log_step(struct run *run, int64_t epoch, double loss, float lr, double images_per_s);
int bl_run_log_epoch(struct run *run, const struct blanch_metrics *judged, const struct blanch_metrics *ema,
                     double seconds);
int bl_run_log_test(struct run *run, const char *weights, const struct blanch_metrics *test, double test_s);
double bl_per_cent(int part, int count);

/* To the run's listener. */
void bl_run_tell(const struct run *run, enum bl_train_event event, const char *format, ...) BL_PRINTF(3, 4);
void bl_run_tell_messages(const struct run *run); // of damaged images, and of what opening the data found
void bl_run_say_kept(const struct run *run, char *text, size_t size); // what there is to go on from

struct bl_loader_options bl_run_loading(const struct run *run); // whose first batch is of the step that follows
/* A step, begun at least; made: steps that this process has begun before. Up to two are on the device and not told of:
 * position is behind them. */
int bl_run_step(struct run *run, int64_t made);
int bl_run_settle(struct run *run, int most);                // waits until there are no more of them
int64_t bl_run_begun(const struct run *run);                 // steps, those included
bool bl_run_ends_epoch(const struct run *run, int64_t step); // that step, or the run
/* After an epoch, from 1: its weights, where they are to be saved. */
int bl_run_keep_epoch(const struct run *run, int64_t epoch);

/* Event files for TensorBoard, where they are asked for. The step's metrics are those of its batch. */
int bl_run_tensorboard_step(const struct run *run, const struct blanch_metrics *batch, float lr, double images_per_s);
int bl_run_tensorboard_epoch(const struct run *run, const struct blanch_metrics *judged, double seconds);
int bl_run_tensorboard_test(const struct run *run, const struct blanch_metrics *test); // at the end
int bl_run_tensorboard_diagnoses(const struct run *run, const struct bl_diagnosis *diagnoses, int count);
int bl_run_tensorboard_budget(const struct run *run, const cJSON *line); // as in log.jsonl

#endif
