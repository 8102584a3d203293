/* What the files of `blanch study --ablation` share: the file that says what is varied, its cells, their results. */
#ifndef BL_ABLATION_H
#define BL_ABLATION_H

#include "cli/study.h"

enum { BL_ABLATION_AXES = 12, BL_ABLATION_VALUES = 32, BL_ABLATION_MODELS = 16, BL_ABLATION_SEEDS = 32 };

/* Options as `train` takes them. */
struct bl_ablation_words {
    char **word; // "--lr", "0.1"; malloc'd, as each of them
    int count;
};
struct bl_ablation_value {
    struct bl_ablation_words words;
    char label[96]; // "--norm nd --block 16"; of no words "(none)"
};
/* An option of the grid, or a name for several that change together. */
struct bl_ablation_axis {
    char name[48];
    bool swept; // with the first seed alone: the best of its values goes on with the others
    struct bl_ablation_value value[BL_ABLATION_VALUES];
    int values;
};

/* A cell is a run directory, of a model, a setting (values of the axes that are not swept), a sweep (of those that are)
 * and a seed. Cells [model][setting][sweep][seed]. */
struct bl_ablation {
    char *path; // of the file, for messages
    cJSON *json;
    const char *data, *model[BL_ABLATION_MODELS];
    int models, epochs; // epochs 0: by steps
    int64_t steps;
    int seed[BL_ABLATION_SEEDS], seeds;
    struct bl_ablation_words base;
    struct bl_ablation_axis axis[BL_ABLATION_AXES];
    int axes, settings, sweeps;
    struct bl_cell *cells; // of all, those that a sweep leaves out too
};
/* data and steps, where given, are in place of the file's. BLANCH_EINPUT names file and key. */
int bl_ablation_read(struct bl_ablation *a, const char *path, const char *data, int64_t steps);
void bl_ablation_free(struct bl_ablation *a); // of zeros: nothing

struct bl_cell *bl_ablation_cell(const struct bl_ablation *a, int model, int setting, int sweep, int seed);
/* What of the grid a cell has, by axis. */
const struct bl_ablation_value *bl_ablation_value(const struct bl_ablation *a, int axis, int setting, int sweep);
/* "--norm nd --block 16": a setting, or a sweep, in words. */
void bl_ablation_setting(const struct bl_ablation *a, int setting, char *text, size_t size);
void bl_ablation_sweep(const struct bl_ablation *a, int sweep, char *text, size_t size);
/* The folder of a cell below that of the study: "smallcnn,norm=nd,lr=0.1,130,seed0". */
void bl_ablation_name(const struct bl_ablation *a, int model, int setting, int sweep, int seed, char name[200]);
/* What settings are judged by, per cent; all cells have the same data, and so the same measure. */
struct bl_ablation_measure {
    const char *name, *key, *what; // "top-1", "top1", "Top-1 of held-out data"
};
const struct bl_ablation_measure *bl_ablation_measure(const struct bl_ablation *a); // of none finished: top-1
/* The sweep whose first seed ended with the highest measure; -1: one is not finished, or all diverged. */
int bl_ablation_best(const struct bl_ablation *a, int model, int setting);
/* The measure. NAN: the cell is not finished, or diverged. */
double bl_ablation_judged(const struct bl_cell *cell);

/* A setting's cells at the best sweep. */
struct bl_ablation_row {
    int best, done, diverged; // best -1: not known
    double judged, spread;    // mean, and standard deviation over the seeds (NAN: fewer than two)
    double against, error;    // mean of the difference to the first setting, seed by seed, and its standard error
    int pairs;
    double step_ms; // training time a step, mean
};
struct bl_ablation_row bl_ablation_row(const struct bl_ablation *a, int model, int setting);

/* The axis that is swept, where it is the only one and of positive numbers; -1: none. */
int bl_ablation_rates(const struct bl_ablation *a);
double bl_ablation_rate(const struct bl_ablation *a, int axis, int setting, int sweep); // the number
/* The best one is the least or the greatest of several. */
bool bl_ablation_at_end(const struct bl_ablation *a, int model, int setting);

/* What the command was given. */
struct bl_ablation_call {
    const char *path, *data, *out, *device, *cache; // path NULL: the file that out keeps of it
    int64_t steps;                                  // 0: the file's
    uint64_t max_alloc;
    int workers;
    bool no_tune, show, json;
};
/* Runs what is not finished, then prints the table and writes out/ablation.html. Takes given over. *status becomes that
 * of the process where a cell diverged or was left out. */
int bl_ablation_run(const struct bl_ablation_call *call, cJSON *given, int *status);

void bl_ablation_print(const struct bl_ablation *a);
cJSON *bl_ablation_json(const struct bl_ablation *a, const char *out, cJSON *settings); // takes settings over
int bl_ablation_page(const struct bl_ablation *a, const char *out, const char *path);   // HTML

#endif
