/* What the parts of `blanch suite` share: its set of rows, and measuring one. */
#ifndef BL_CLI_SUITE_H
#define BL_CLI_SUITE_H

#include "cli/common.h"
#include "report/result.h"
#include "sched/meter.h"

enum bl_suite_mode { BL_SUITE_TRAIN, BL_SUITE_INFERENCE, BL_SUITE_ACCURACY };
/* A row to measure. */
struct bl_suite_entry {
    char name[96];
    const char *model, *setting; // setting: "--block 16", ""
    enum blanch_norm norm;
    enum blanch_precision precision;
    enum bl_suite_mode mode;
    int block;     // 0: the network's own
    double budget; // of ND over batch norm, 0.2 for 20 %; negative: none
    int batch;
    bool sustained; // goes on for minutes
};
enum { BL_SUITE_MOST = 128 };
/* The rows of the set of this version, in the order in which they are measured; returns how many. */
int bl_suite_plan(struct bl_suite_entry entries[BL_SUITE_MOST], bool quick);

struct bl_suite_means { // how rows are measured
    const struct bl_common *common;
    double seconds, sustain; // most of a figure; of a sustained one
    const char *data;        // of time to accuracy
    const char *energy;      // as bl_meter_open takes it
    /* What a figure is at, now and then. */
    void (*show)(void *context, const char *text);
    void *context;
};
/* Measures on a device of its own, so that a row that fails takes nothing along. What stands in the row is whole also
 * where it fails: BLANCH_EINPUT of data that are not there. */
int bl_suite_measure(const struct bl_suite_means *means, const struct bl_suite_entry *entry, struct bl_suite_row *row);
/* Seconds of training until 85 per cent of Fashion-MNIST's test images are right. dev is open. */
int bl_suite_accuracy(const struct bl_suite_means *means, const struct bl_suite_entry *entry, struct blanch_device *dev,
                      struct bl_suite_row *row);
/* Holds a step of smallcnn, with and without deconvolution, against plain C. Only a device that fails is an error. */
int bl_suite_validate(struct blanch_device *dev, struct bl_suite_result *suite);

#endif
