/* The results of `blanch suite`: figures of a stated set of networks on one device. suite.c writes and reads their
 * JSON, suite_table.c prints a table, suite_page.c ranks the devices of several files. docs/suite.md has the set.
 * Numbers that are not there are NAN, texts "". */
#ifndef BL_SUITE_H
#define BL_SUITE_H

#include "sched/ledger.h"

enum { BL_SUITE_VERSION = 1, BL_SUITE_ROWS = 256, BL_SUITE_CHECKS = 8 };

struct bl_suite_row {
    char name[96]; // "resnet18-nd-block16-128": of the set, the same in all files of a version
    char model[64], norm[16], setting[64], precision[8];
    char mode[16];    // "train", "inference", "accuracy"
    char status[16];  // "measured", "failed", "left out"
    char reason[400]; // why it has no figure
    char ended[16];   // "spread": the quartiles lie near enough; "time"
    double batch, steps, seconds;
    double ms; // the figure: median of steps, mean where they differ by plan
    double quartile1_ms, quartile3_ms, min_ms, mean_ms, images_per_s;
    double joules_per_image, watts, clock_mhz;
    double planned_bytes, device_bytes;
    double shapes_known, shapes_measured, shapes_left, shapes_refused; // of the tuner; NAN: all by rule
    double coverage, arithmetic, bandwidth;                            // of recorded steps
    double phase[BL_PHASES];                                           // ms of them; 0: none
    /* The same step again and again: its last fifth. */
    double sustained_s, sustained_ms, sustained_images_per_s, sustained_watts, sustained_clock_mhz;
    /* Of "accuracy": seconds of training until so many per cent of the test images are right, median of the runs that
     * came there. */
    double target_top1, target_s, target_s_least, target_s_most, target_steps, runs, reached, best_top1;
};

struct bl_suite_check { // a network's step held against plain C
    char name[96], message[400];
    double passed, largest_error; // passed: 1 or 0; the error is of the largest value
};

struct bl_suite_result {
    char set[16];                                          // "quick", "full"
    double version, rows_of_set, seconds, sustain_seconds; // seconds: most of a figure
    double comparable, complete;                           // 1 or 0; complete: every row of the set was tried
    char incomparable[400], note[400];                     // why not; the user's own words
    char energy[256], clock[256];                          // files that they were read from
    double load_start, load_end;                           // processes that wanted a core, mean of a minute
    struct bl_limits start, end, kept;                     // kept: the best ever measured with this device and driver
    double cases_passed, cases_failed;                     // of conformance files; NAN: none were given
    struct bl_suite_check check[BL_SUITE_CHECKS];
    int checks;
    struct bl_suite_row *row;
    int rows;
    /* Of the page alone, as its user says. */
    double price, power; // power: watts
};

struct bl_result;
/* result->suite becomes one whose numbers are NAN. */
int bl_suite_init(struct bl_result *result);
void bl_suite_free(struct bl_suite_result *suite); // NULL: nothing
void bl_suite_row_clear(struct bl_suite_row *row);
/* The row of that name, made where it is missing; NULL: no memory, or BL_SUITE_ROWS. */
struct bl_suite_row *bl_suite_add(struct bl_suite_result *suite, const char *name);
const struct bl_suite_row *bl_suite_find(const struct bl_suite_result *suite, const char *name); // NULL: none
/* It may be ranked: comparable, and its checks have passed. why, of size bytes, else says why not. */
bool bl_suite_counts(const struct bl_suite_result *suite, char *why, size_t size);
double bl_suite_spread(const struct bl_suite_row *row); // between quartiles, per cent of the figure; NAN
cJSON *bl_suite_json(const struct bl_result *result);
/* BLANCH_EINPUT with a message: it lacks what a suite has. */
int bl_suite_read(const cJSON *json, struct bl_result *result);

enum bl_suite_format { BL_SUITE_TEXT, BL_SUITE_MARKDOWN, BL_SUITE_CSV };
struct bl_html;
/* A line of each row, in its order. */
void bl_suite_table(struct bl_html *out, const struct bl_result *result, enum bl_suite_format format);
/* The rows of several files as comma-separated values. */
void bl_suite_csv(struct bl_html *out, const struct bl_result *results, int count);
/* The sections of a page: all results are of suites of one version. */
void bl_html_suites(struct bl_html *html, const struct bl_result *results, int count);

#endif
