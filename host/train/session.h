/* A session: a network that trains, with what feeds it, records its steps and bounds its overhead; and a step of it.
 * The order of a step is written here alone: `train`, `compare`, `bench`, `study` and the public calls make theirs
 * through it. */
#ifndef BL_SESSION_H
#define BL_SESSION_H

#include "train/overhead.h"
#include "train/train.h"
#include "sched/diagnose.h"

struct bl_session_options {
    struct bl_loader *loader; // owned from now on, also where opening fails; NULL: every step is given a batch
    bool ledger;              // steps can be recorded
    double budget;            // of ND over batch norm: 0.2 for 20 %; negative: none
    const struct bl_baseline *baseline; // of the budget; NULL: a network of its own
    const char *budget_state;           // of a checkpoint (bl_overhead_save), or NULL
};
struct bl_session {
    struct blanch_network *net; // the caller's
    struct bl_loader *loader;
    struct bl_ledger *ledger;     // of the steps that were asked to be recorded; NULL: none are
    struct bl_overhead *overhead; // NULL: no budget
};
/* With a budget, net was built with nd.refresh = BL_REFRESH_SCHEDULED. What fails is left to bl_session_close. */
int bl_session_open(struct bl_session *session, struct blanch_network *net, const struct bl_session_options *options);
void bl_session_close(struct bl_session *session); // of zeros: nothing

/* What is wanted of a step. One that is validated or diagnosed is not recorded: its time is not its own. */
struct bl_step {
    int64_t number;                     // from 1: what errors call it
    const struct bl_batch *batch;       // NULL: the loader's next
    const struct blanch_update *update; // NULL: the parameters stay as they are
    bool record;                        // in the session's ledger
    bool validate;                      // bl_network_validate before it
    bool diagnose;                      // bl_diagnose before it
    bool finish;                        // ends when the device has: wall_ms is of the whole step
};
/* What came out of it. */
struct bl_stepped {
    struct bl_batch batch; // valid until the next step
    int images;            // of the whole batch, on all ranks
    struct blanch_metrics metrics;
    bool begun;                // on the device: what fails from now on may have changed running buffers and parameters
    bool finite;               // the loss; where it is not, nothing was updated
    double load_ms, checks_ms; // until the batch was there; of validation and diagnosis
    double wall_ms;            // loading included, checks left out; of a recorded step, as its ledger measured it
    double budget_ms;          // of measuring and deciding for the budget, after that
    bool validated;
    struct bl_validation validation;
    struct bl_diagnosis *diagnoses; // by layer
    int diagnosed;
    struct bl_decision decision; // the budget's, where it made one
};
/* The batch, checks, forward, backward, update, and the budget's account. A batch that is refused is no step. What came
 * out is there up to the failure, and is released by bl_stepped_release. */
int bl_session_step(struct bl_session *session, const struct bl_step *wanted, struct bl_stepped *stepped);
void bl_stepped_release(struct bl_stepped *stepped);

#endif
