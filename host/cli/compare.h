/* What the files of `blanch compare` share. */
#ifndef BL_COMPARE_H
#define BL_COMPARE_H

#include "common.h"
#include "io/directory.h"
#include "report/result.h"
#include "tune.h"
#include "train/blocks.h"
#include "train/session.h"

enum { BL_COMPARE_RUNS = 32, BL_COMPARE_DEVICES = 8 };
enum { BL_COMPARE_LEAST = 4 }; // steps

struct bl_samples {
    double *value;
    size_t count, capacity;
};
/* Runs that are there, given by their folders: how they scale with their ranks. */
int bl_compare_runs(char **paths, int count);
int bl_samples_add(struct bl_samples *samples, double value);
double bl_samples_quantile(const struct bl_samples *samples, double part); // NAN of none

struct bl_compare_setting { // a network that every device gets
    char label[80];         // "": what the command line itself gives
    enum blanch_norm norm;
    enum blanch_precision precision;
    struct blanch_nd_options nd;
    double budget; // allowed overhead, 0.2 for 20 %; negative: none
    const char *optimiser;
    struct blanch_update update; // resolved
    char schedule_text[64];
    struct bl_schedule schedule;
};

struct bl_compare_run {        // one network on one device
    struct blanch_device *dev; // owned by the comparison
    const char *device;        // its label, also the comparison's
    const struct bl_compare_setting *setting;
    struct blanch_network *net;
    struct bl_blocks blocks; // of --block auto
    double budget;           // the setting's, or negative where its blocks let every step be exact
    struct bl_session session;
    bool diverged;                   // and takes no further step
    int64_t steps;                   // made, those before it diverged
    struct bl_compare_run *baseline; // of the budget: BN on the same device; NULL: the budget has a network of its own
    double last_ms;                  // of the last whole step, loading left out
    struct bl_samples wall[2];       // ms of whole steps, without and with recording
    struct bl_samples all;           // both, and what a budget takes for itself
    size_t warmup;                   // how many of all belong to the first steps, which a budget does not yet bound
    struct bl_samples loss, seconds; // of every step; training time until its end
    struct blanch_network *infers;   // while inference is timed: made for it, with the weights at the end
    struct bl_samples inference;     // ms of a batch, from images to logits
    struct blanch_metrics epoch;     // so far
    double epoch_s, total_s;
    struct bl_run_result result; // epochs and the budget's decisions as they come, all else at the end
};

struct bl_compare {
    struct bl_first_use use;
    struct bl_common common;
    const char *norm_list, *device_list, *data_spec, *out;
    int64_t steps; // in all
    int whole;     // images of a whole batch: those of --batch, or all where there are fewer
    int epochs;    // 0: by steps
    bool drop_last;
    int least; // a last batch of fewer images is left out
    int recompute;
    float target; // per cent of test accuracy; 0: the highest that every network reached
    const char *settings_text, *sweep_text, *budget_text;
    struct bl_compare_setting own; // the command line's, without a norm
    struct bl_compare_setting setting[BL_COMPARE_RUNS];
    int settings;
    struct blanch_model *model; // a reference
    struct bl_dataset *data;
    struct bl_view view;
    struct blanch_device *device[BL_COMPARE_DEVICES];
    char label[BL_COMPARE_DEVICES][300]; // the device's name; where two are equal, with its spec
    struct bl_compare_run run[BL_COMPARE_RUNS];
    int devices, runs;
    int64_t done; // steps of each run
    struct bl_progress *progress;
    struct bl_lock lock; // of the folder
    void *log;           // FILE*
    char *log_path;
};

/* The settings: those of norm_list, with a network of batch norm for each rate in sweep_text, and those of
 * settings_text, on top of common's and budget_text. */
int bl_compare_parse_settings(struct bl_compare *compare);
bool bl_compare_has(const struct bl_compare *compare, enum blanch_norm norm);
/* "bn, --lr 0.1", in a buffer that the next call reuses. */
const char *bl_compare_name(const struct bl_compare_setting *setting);
int bl_compare_open_data(struct bl_compare *compare);
int bl_compare_open_devices(struct bl_compare *compare);
int bl_compare_open_runs(struct bl_compare *compare);
int bl_compare_train(struct bl_compare *compare);
int bl_compare_time_inference(struct bl_compare *compare);
/* What was asked for: everything needed to repeat it; its runs have no numbers yet. */
int bl_compare_asked(const struct bl_compare *compare, struct bl_result *result);
cJSON *bl_compare_config(const struct bl_compare *compare, const struct bl_result *asked); // config.json
/* What came out; takes over what the runs gathered on the way. */
int bl_compare_result(struct bl_compare *compare, struct bl_result *result);
void bl_compare_print(const struct bl_result *result); // for people

#endif
