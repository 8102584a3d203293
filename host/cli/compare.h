/* What the files of `blanch compare` share. */
#ifndef BL_COMPARE_H
#define BL_COMPARE_H

#include "common.h"
#include "train/train.h"

enum { BL_COMPARE_RUNS = 16, BL_COMPARE_NORMS = 3, BL_COMPARE_DEVICES = 8 };

struct bl_samples { double *value; size_t count, capacity; };
int bl_samples_add(struct bl_samples *samples, double value);
double bl_samples_quantile(const struct bl_samples *samples, double part);      // NAN of none

struct bl_compare_run {                     // one network on one device
    struct blanch_device *dev;              // owned by the comparison
    const char *device;                     // its label, also the comparison's
    enum blanch_norm norm;
    struct blanch_network *net;
    struct bl_loader *loader;
    struct bl_ledger *ledger;
    struct bl_samples wall[2];              // ms of whole steps, without and with recording
    struct bl_samples loss, seconds;        // of every step; training time until its end
    struct bl_samples inference;            // ms of a forward pass in evaluation mode
    struct blanch_metrics epoch;            // so far
    double epoch_s, total_s;
    cJSON *epochs;
};

struct bl_compare {
    struct bl_common common;
    const char *norm_list, *device_list, *data_spec, *out, *schedule_text, *augment_text;
    int64_t steps;                          // in all
    int epochs;                             // 0: by steps
    struct blanch_sgd sgd;
    struct blanch_nd_options nd;
    struct bl_schedule schedule;
    struct bl_dataset *data;
    struct bl_view view;
    struct blanch_device *device[BL_COMPARE_DEVICES];
    char label[BL_COMPARE_DEVICES][300];    // the device's name; where two are equal, with its spec
    struct bl_compare_run run[BL_COMPARE_RUNS];
    int devices, runs;
    int64_t done;                           // steps of each run
    void *log;                              // FILE*
    char *log_path;
};

cJSON *bl_compare_config(const struct bl_compare *compare);     // everything needed to repeat it
cJSON *bl_compare_document(const struct bl_compare *compare);   // compare.json
void bl_compare_print(const cJSON *document);                   // for people

#endif
