/* The ledger: where the time of a training step goes, by layer and phase. Device time comes from the queue's events;
 * host time that the device did not hide is counted to load, wait or other. */
#ifndef BL_LEDGER_H
#define BL_LEDGER_H

#include "graph/graph.h"
#include "sched/limits.h"
#include <cjson/cJSON.h>

/* Rows 0..nodes-1 are the graph's nodes; row `nodes` is "(step)": what belongs to no layer. */
struct bl_ledger;
int bl_ledger_create(struct bl_ledger **ledger, struct bl_graph *graph);
void bl_ledger_free(struct bl_ledger *ledger);

/* Around every recorded step. begin: the moment before the batch is asked for. loaded: it is there. end: finishes the
 * queue, takes the spans, books them. A command's time runs from the later of the previous command's end and its own
 * queueing to its end; where the device sat idle because the host was late, the gap is `wait` of the layer that was
 * late. The host's own time before the first command and after the last is `other`. wall_ms may be NULL. */
int bl_ledger_begin(struct bl_ledger *ledger);
void bl_ledger_loaded(struct bl_ledger *ledger);
int bl_ledger_end(struct bl_ledger *ledger, double *wall_ms);

/* Of the step that was recorded last, and of steps on average: what ranks exchanged while the device computed, ms. It
 * is no part of the step's time. */
void bl_ledger_hide(struct bl_ledger *ledger, double ms);
double bl_ledger_hidden_ms(const struct bl_ledger *ledger);
int bl_ledger_steps(const struct bl_ledger *ledger);
double bl_ledger_step_ms(const struct bl_ledger *ledger); // median wall time of the recorded steps
double bl_ledger_min_ms(const struct bl_ledger *ledger);
/* Median over the steps in which it took time, times their share of all; milliseconds. row = nodes: "(step)". */
double bl_ledger_ms(const struct bl_ledger *ledger, int row, int phase);
double bl_ledger_last_ms(const struct bl_ledger *ledger, int row, int phase); // of the last recorded step
double bl_ledger_covered(const struct bl_ledger *ledger); // sum of all phases / wall time, mean over steps
/* The work of a recorded step on average: a row (-1: all) in a phase (-1: all). ms is what was booked; device_ms runs
 * from the commands' starts to their ends, without the launches; host_ms is the time that the device sat idle before
 * them. bytes and operations as bl_work counts them; arithmetic and bandwidth are their rates over ms as fractions of
 * the limits, NAN where those are unknown. docs/reading.md explains them. */
struct bl_work_done {
    double ms, device_ms, host_ms, launches, bytes, operations, arithmetic, bandwidth;
};
struct bl_work_done bl_ledger_work(const struct bl_ledger *ledger, int row, int phase);
void bl_ledger_limits(struct bl_ledger *ledger, const struct bl_limits *limits);

/* What was measured, as plain values: of a ledger, or read from a file. */
struct bl_ledger_row { // a layer, or the step
    char name[128], op[32];
    int role;             // enum bl_role; negative: what belongs to no layer, or an operation that is not known here
    double ms[BL_PHASES]; // 0: none
    double quartile1_ms, quartile3_ms;
    struct bl_work_done work[BL_PHASES], all; // launches 0: none; ms is not kept in files
    char engine[3][24];                       // of a convolution's passes; "" elsewhere
};
struct bl_measured {
    struct bl_limits limits;                  // 0: unknown
    struct bl_work_done work[BL_PHASES], all; // of the step
    int rows;                                 // of a ledger: a row for each of the graph's nodes, then "(step)"
    struct bl_ledger_row *row;
};
int bl_ledger_measured(const struct bl_ledger *ledger, struct bl_measured *measured);
void bl_measured_free(struct bl_measured *measured);
double bl_row_ms(const struct bl_ledger_row *row); // of all phases
/* limits{}, work{PHASE: {device_ms host_ms launches bytes operations arithmetic bandwidth}}, work_all{}, engines{} and
 * layers[{name op role phases{PHASE: ms} quartile1_ms quartile3_ms work{PHASE: {}} work_all{}}]; rows without time are
 * left out. */
void bl_measured_json(const struct bl_measured *measured, cJSON *json);
cJSON *bl_phases_json(const double *ms); // (BL_PHASES) {PHASE: ms} of those that took any
/* ledger.json: steps, wall median, quartiles, totals, layers. Asks for the device's limits first (last: measures them
 * again). Takes settings over; *json is the caller's, also after a failure. */
int bl_ledger_json(struct bl_ledger *ledger, bool last, cJSON *settings, cJSON **json);
/* Chrome trace-event JSON of the last recorded step. Takes settings over. */
int bl_ledger_trace(const struct bl_ledger *ledger, const char *path, cJSON *settings);

#endif
