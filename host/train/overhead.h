/* Holding network deconvolution to its overhead budget: measures a graph's training steps and, beside them on the same
 * images, those of a baseline, the same network with batch norm; and tells every layer when to refresh its whitening.
 */
#ifndef BL_OVERHEAD_H
#define BL_OVERHEAD_H

#include "dataset.h"
#include "graph/graph.h"
#include "sched/budget.h"
#include "sched/ledger.h"

/* What the graph's steps are compared with. */
struct bl_baseline {
    void *context;
    bool trained; // it trains anyway: what it takes is known and costs nothing
    /* The wall time, in milliseconds, of a step on a batch, loading excluded: of one made now, which leaves the
     * baseline as it is, or of the last whole one of a baseline that trains. *ms 0: not known yet. */
    int (*step)(void *context, const struct bl_batch *batch, double *ms);
    void (*close)(void *context); // NULL: there is nothing to close
};
/* Fields of a line for the log where something was decided, else line NULL; a line for the user, or "". */
struct bl_decision {
    cJSON *line;
    char warning[300];
};

/* A layer's whitening in the last recorded step, milliseconds. */
double bl_overhead_whitening_ms(const struct bl_ledger *ledger, int row);

struct bl_overhead;
/* The graph's layers were built with refresh = BL_REFRESH_SCHEDULED. The baseline is owned from now on, also where
 * opening fails. state: of a checkpoint, or NULL. */
int bl_overhead_open(struct bl_overhead **overhead, struct bl_graph *graph, double share,
                     const struct bl_baseline *baseline, const char *state);
void bl_overhead_close(struct bl_overhead *overhead); // NULL: nothing
char *bl_overhead_save(const struct bl_overhead *overhead);
const struct bl_budget *bl_overhead_budget(const struct bl_overhead *overhead);
/* A budget for its layers with a checkpoint's state (NULL: of a new run); and going on with one, which is owned. */
int bl_overhead_read(const struct bl_overhead *overhead, const char *state, struct bl_budget **budget);
void bl_overhead_resume(struct bl_overhead *overhead, struct bl_budget *budget);
/* Before a step asks for its batch: decides its refreshes. The ledger that should record the step, or NULL. */
struct bl_ledger *bl_overhead_before(struct bl_overhead *overhead);
/* Whether the step that was begun is measured beside a step of the baseline: nothing else should run then. */
bool bl_overhead_compares(const struct bl_overhead *overhead);
/* After a step; ledger: what recorded it, NULL: nothing did. wall_ms: of the recorded step, loading excluded. A batch
 * smaller than those before it is not measured. The decision's line is the caller's. */
int bl_overhead_after(struct bl_overhead *overhead, const struct bl_batch *batch, const struct bl_ledger *ledger,
                      double wall_ms, struct bl_decision *decision);

#endif
