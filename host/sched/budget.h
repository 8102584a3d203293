/* The overhead budget: which layers compute their whitening anew at a step, so that network deconvolution costs no more
 * than a given share of a batch-norm step on top of it. Policy alone: times come from whoever measures, decisions go to
 * whoever trains. All costs are in units of one base step, a step in which no layer is refreshed, so that a machine
 * that becomes slower as a whole changes nothing. docs/budget.md derives it. */
#ifndef BL_BUDGET_H
#define BL_BUDGET_H

#include "base/base.h"
#include <cjson/cJSON.h>

enum {
    BL_BUDGET_EXACT = 4, // steps at the start that are exact in every layer
    BL_BUDGET_ALL = 8,   // steps at the start, with those, that refresh every layer
    BL_BUDGET_BASE = 5,  // steps that refresh none, to measure the base step
    /* Before the base steps one whose memory and kernels are new, after them one that refreshes every layer; these
     * seven again until there is a plan. */
    BL_BUDGET_WARMUP = BL_BUDGET_ALL + 1 + BL_BUDGET_BASE + 1,
    BL_BUDGET_LONGEST = 200, // bound of an interval
};
/* What a step is for. Only the first kind takes the whole gradient of the whitening, docs/budget.md. */
enum bl_budget_stage {
    BL_BUDGET_IS_EXACT,
    BL_BUDGET_RENEWS,
    BL_BUDGET_IS_UNMEASURED,
    BL_BUDGET_IS_BASE,
    BL_BUDGET_REFRESHES,
    BL_BUDGET_IS_PLANNED
};

struct bl_budget_layer {
    const char *name; // of the caller, outlives the budget
    /* Measured: its whitening in a step of the warm-up on average, when refreshed later, when not. */
    double warmup, refreshed, reused;
    double warmup_ms; // sum of the first in milliseconds, of so many samples, until a base step is known
    int samples;
    double drift, noise; // measured: how far D moves in a step; the least it was ever seen to move
    double cost;         // planned: of a refresh
    int every;           // planned: it takes part in every so many sweeps, a power of 2
    int next;            // `every` of a plan in the making
    int64_t sweep;       // that has reached it last
    int64_t age;         // steps since its last refresh
    bool refresh;        // decided for this step
};
struct bl_budget {
    double share;                       // allowed overhead over the baseline, 0.2 for 20 %
    double baseline;                    // measured: a batch-norm step
    double planned_baseline, allowance; // planned: refreshes that a step may make, the debt not yet deducted
    double debt, repay;                 // what was spent beyond the allowance; planned: what a step pays back of it
    double period;                      // planned: steps between two sweeps, when the run is four times as old
    double phase;                       // part of a period that has passed
    int64_t sweep, since;               // the sweep that runs, steps since it began
    double spent;                       // refreshes and measuring since the start
    enum bl_budget_stage stage;         // of the step that was begun
    bool planned, least;                // least: the budget cannot be held, every interval is the longest
    int64_t step;                       // begun since the start
    int count;
    struct bl_budget_layer *layer;
};

/* "20%" or "20" to 0.2; "none" to -1. Anything else: BLANCH_EUSAGE. */
int bl_budget_parse(const char *text, double *share);
int bl_budget_create(struct bl_budget **budget, double share, int layers);
void bl_budget_free(struct bl_budget *budget);

/* Begins a step: sets its stage, and refresh of every layer. Depends on what was planned and on nothing measured since.
 */
void bl_budget_next(struct bl_budget *budget);
/* A recorded step: wall time and every layer's whitening, milliseconds. Returns the base step's estimate, ms, or 0. */
double bl_budget_record(struct bl_budget *budget, double wall_ms, const double *layer_ms);
/* What bl_whitening_change said after a refresh that came `age` steps after the one before. */
void bl_budget_change(struct bl_budget *budget, int layer, int64_t age, double change);
/* Batch-norm steps over base steps; steps: how many of them were made to find out, on the budget's account. Later ones
 * are believed within a factor of 1.5. */
void bl_budget_measure(struct bl_budget *budget, double baseline, int steps);
/* Plans from what has been measured. False, and nothing changed: within a tenth of the plan in force, unless `anyway`;
 * or the first plan lacks a measurement. */
bool bl_budget_plan(struct bl_budget *budget, bool anyway);

double bl_budget_interval(const struct bl_budget *budget, int layer); // planned: steps between two refreshes
double bl_budget_floor(const struct bl_budget *budget);               // the least overhead over the baseline, a share
double bl_budget_held(const struct bl_budget *budget); // overhead so far by the measured costs, measuring included
/* The plan with the values behind it: "layers" and what a line of log.jsonl says besides. base_ms turns shares into ms.
 */
void bl_budget_describe(const struct bl_budget *budget, double base_ms, cJSON *line);
/* What a resumed run needs, and taking it up again; a text that does not fit is refused with BLANCH_EINPUT. */
char *bl_budget_save(const struct bl_budget *budget);
int bl_budget_restore(struct bl_budget *budget, const char *text);

#endif
