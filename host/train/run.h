/* What run.c and loop.c share: a run's settings and its directory. */
#ifndef BL_RUN_H
#define BL_RUN_H

#include "train/session.h"
#include "io/tensorboard.h"
#include <stdio.h>

struct run {
    struct bl_train_options o;   // nothing left open
    struct bl_run_config config; // of the run that is resumed; owns texts of o
    struct blanch_device *dev;
    struct bl_dataset *data;
    char *data_changes; // of a resumed run: of validation and test images
    struct bl_view view;
    struct blanch_network *net;
    double budget; // allowed overhead, 0.2 for 20 %; negative: none
    bool *warned;  // by node: --diagnose has spoken of it
    struct bl_session session;
    struct bl_schedule schedule;
    struct bl_position position;
    int64_t batches, steps;             // of an epoch; in all
    struct bl_tensorboard *tensorboard; // NULL: no event files are asked for
    FILE *log;
    char *log_path;
    char spec[256];    // of the device, where none was given
    double rate;       // images a second, smoothed
    double saved;      // bl_now() of the last checkpoint
    bool checkpointed; // the directory holds one
};

/* Fills run->o from what was given, the run's config.json when it is resumed, and the defaults. */
int bl_run_resolve(struct run *run, const struct bl_train_options *given);
/* An existing directory with anything in it is refused, unless the run is resumed. Creates nothing. */
int bl_run_check_directory(const struct bl_train_options *options);
/* Makes the directory, writes config.json, opens the log without the lines past position. */
int bl_run_open_directory(struct run *run);
cJSON *bl_run_settings(const struct run *run); // everything that config.json says was asked for

/* Event files for TensorBoard, where they are asked for. The step's metrics are those of its batch. */
int bl_run_tensorboard_step(const struct run *run, const struct blanch_metrics *batch, float lr, double images_per_s);
int bl_run_tensorboard_epoch(const struct run *run, const struct blanch_metrics *judged, double seconds);
int bl_run_tensorboard_test(const struct run *run, const struct blanch_metrics *test); // at the end
int bl_run_tensorboard_diagnoses(const struct run *run, const struct bl_diagnosis *diagnoses, int count);
int bl_run_tensorboard_budget(const struct run *run, const cJSON *line); // as in log.jsonl

#endif
