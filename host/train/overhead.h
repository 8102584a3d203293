/* Holding network deconvolution to its overhead budget in a run: measures the network's steps and, beside them on the
 * same images, those of the same network with batch norm, and tells every layer when to refresh its whitening. */
#ifndef BL_OVERHEAD_H
#define BL_OVERHEAD_H

#include "train/train.h"
#include "sched/budget.h"

struct bl_overhead;
/* net was built with nd.refresh = BL_REFRESH_SCHEDULED. own: makes the network with batch norm beside it, which takes
 * its memory; otherwise bl_overhead_yardstick tells what one takes. state: of a checkpoint, or NULL. */
int bl_overhead_open(struct bl_overhead **overhead, struct blanch_network *net, double share, bool own,
                     const char *state);
void bl_overhead_close(struct bl_overhead *overhead);
char *bl_overhead_save(const struct bl_overhead *overhead);
/* The last step of the same network with batch norm, on the same device and a whole batch, loading excluded. */
void bl_overhead_yardstick(struct bl_overhead *overhead, double ms);
const struct bl_budget *bl_overhead_budget(const struct bl_overhead *overhead);
/* Before a step asks for its batch: decides its refreshes. The ledger that should record the step, or NULL. overhead
 * may be NULL: nothing. */
struct bl_ledger *bl_overhead_before(struct bl_overhead *overhead);
/* Whether the step that was begun is measured beside one with batch norm: nothing else should run then. */
bool bl_overhead_compares(const struct bl_overhead *overhead);
/* After a step; ledger: what recorded it, NULL: nothing did. wall_ms: of the recorded step, loading excluded. A batch
 * smaller than those before it is not measured. *line: fields of a line for the log where something was decided, else
 * NULL; warning: a line for the user, or "". */
int bl_overhead_after(struct bl_overhead *overhead, const struct bl_batch *batch, const struct bl_ledger *ledger,
                      double wall_ms, cJSON **line, char *warning, size_t size);

#endif
