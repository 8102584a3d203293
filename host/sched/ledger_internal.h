/* What the ledger's files share. */
#ifndef BL_LEDGER_INTERNAL_H
#define BL_LEDGER_INTERNAL_H

#include "sched/ledger.h"
#include "sched/limits.h"

enum { MAX_STEPS = 256 }; // the latest are kept: enough for a median, little memory in long runs

struct ledger_step {
    double wall, covered; // seconds; sum of all phases
    float *ms;            // (rows, BL_PHASES)
};
struct work_sum {
    double time, device, host, launches, bytes, operations;
};                 // seconds
struct last_step { // for the trace
    struct bl_span *spans;
    size_t capacity;
    int count;
    double loaded, end; // seconds since begin
    double offset;      // device seconds at begin
};
struct bl_ledger {
    struct bl_graph *graph;
    struct blanch_device *dev;
    struct bl_mem *mark; // written to read the device's clock
    int rows;            // nodes + 1
    double begin, loaded;
    struct ledger_step steps[MAX_STEPS];
    int64_t count;           // recorded so far
    double hidden;           // ms, of all of them
    struct work_sum *work;   // (rows, BL_PHASES) over all of them
    struct bl_limits limits; // zero: not asked for yet
    struct last_step last;
};

double bl_ledger_wall_quantile(const struct bl_ledger *ledger, double part);
double bl_ledger_row_quantile(const struct bl_ledger *ledger, int row, double part); // of a layer's whole time, ms
const char *bl_ledger_row_name(const struct bl_ledger *ledger, int row);

#endif
