/* A session: a network that trains, with what feeds it, records its steps and bounds its overhead; and a step of it.
 * The order of a step is written here alone: `train`, `compare`, `bench`, `study` and the public calls make theirs
 * through it. */
#ifndef BL_SESSION_H
#define BL_SESSION_H

#include "train/overhead.h"
#include "train/lend.h"
#include "train/train.h"
#include "sched/diagnose.h"

struct bl_session_options {
    struct bl_division_of
        division;  // of the loader's batches among ranks, as the loader has it; ranks 0: they are whole,
    int pass;      // or divided by whoever gives them. Images of a pass on all ranks
    bool ledger;   // steps can be recorded
    bool ahead;    // steps may run ahead
    double budget; // of ND over batch norm: 0.2 for 20 %; negative: none
    const struct bl_baseline *baseline; // of the budget; NULL: a network of its own
    const char *budget_state;           // of a checkpoint (bl_overhead_save), or NULL
};
/* What came out of a step. */
struct bl_stepped {
    struct bl_batch batch; // valid until the next step
    int images;            // of the whole batch, on all ranks
    struct blanch_metrics metrics;
    bool begun;  // on the device: what fails from now on may have changed running buffers and parameters
    bool finite; // the loss; where it is not, nothing was updated
    int culprit; // the one of several ranks whose loss is not finite; -1: any
    struct bl_loss_scale loss_scale; // of a network that scales its loss; where overflow is set, nothing was updated
    double load_ms, checks_ms;       // until the batch was there; of validation and diagnosis
    double busy_ms;                  // of several ranks: this one's passes, without what it waited for the others
    double wall_ms;   // loading included, checks left out; of a recorded step, as its ledger measured it; of
                      // one that ran ahead, since the step before it was settled
    double budget_ms; // of measuring and deciding for the budget, after that
    bool validated;
    struct bl_validation validation;
    struct bl_diagnosis *diagnoses; // by layer
    int diagnosed;
    struct bl_decision decision; // the budget's, where it made one
};
enum { BL_MOST_AHEAD = 2 }; // steps that a device is given at once
/* A step that was begun, until its losses are there. */
struct bl_flight {
    struct bl_stepped out;
    float *losses; // (images, 3), of the device's memory
    struct bl_event *uploaded, *read, *scaled;
    int32_t scale[BL_SKIP_WORDS]; // of the loss
    double start, total;          // bl_now(); what the losses are divided by, or 0
    struct bl_counts counts;      // before its update
};
struct bl_session {
    struct blanch_network *net;   // the caller's
    struct bl_loader *loader;     // NULL: every step is given a batch
    struct bl_ledger *ledger;     // of the steps that were asked to be recorded; NULL: none are
    struct bl_overhead *overhead; // NULL: no budget
    struct bl_stage *stage;       // of uploads; NULL: none
    struct bl_lender *lender;     // of batches that are not uploaded; NULL: none
    struct bl_division_of division;
    int pass, passes; // see the options; of a step whose ranks' counts are:
    double *counts;   // (ranks); NULL: there is one, or a division
    struct bl_flight flight[BL_MOST_AHEAD];
    int first, ahead; // of the flights: the oldest, and how many there are
    double settled;   // when the last step ended, bl_now()
};
/* With a budget, net was built with nd.refresh = BL_REFRESH_SCHEDULED. What fails is left to bl_session_close. */
int bl_session_open(struct bl_session *session, struct blanch_network *net, const struct bl_session_options *options);
void bl_session_close(struct bl_session *session); // of zeros: nothing
/* The loader of the session's batches, owned by it. Where the device shares the host's memory, they are made in what
 * both have, and reach the device without a copy. */
int bl_session_load(struct bl_session *session, struct bl_dataset *data, const struct bl_loader_options *options);
/* For batches that are given: session->lender has memory for them from now on; NULL: there is none, or it is no use. */
int bl_session_lend(struct bl_session *session);

/* What is wanted of a step. One that is validated or diagnosed is not recorded: its time is not its own. */
struct bl_step {
    int64_t number;                     // from 1: what errors call it
    const struct bl_batch *batch;       // NULL: the loader's next
    const struct blanch_update *update; // NULL: the parameters stay as they are
    bool record;                        // in the session's ledger
    bool validate;                      // bl_network_validate before it
    bool diagnose;                      // bl_diagnose before it
    bool finish;                        // ends when the device has: wall_ms is of the whole step
    bool ahead;                         // see below; of a session whose steps may, with an update
};
/* The batch, checks, forward, backward, update, and the budget's account. A batch that is refused is no step. What came
 * out is there up to the failure, and is released by bl_stepped_release.
 * A step that runs ahead, on the loader's next batch, is enqueued, update included, and not waited for: the device
 * skips the update where the loss is not finite, and bl_session_settle tells what came out. Up to BL_MOST_AHEAD are not
 * settled, others begin when all are. Neither validated, diagnosed nor recorded, without budget or other ranks. */
int bl_session_step(struct bl_session *session, const struct bl_step *wanted, struct bl_stepped *stepped);
/* Waits for the oldest of them, once, and for the uploads of all. Where its loss was not finite, or something failed,
 * the later ones are given up: parameters are those before it, running statistics have seen what came after it too. */
int bl_session_settle(struct bl_session *session, struct bl_stepped *stepped);
/* Whether a step of these wishes may run ahead. */
bool bl_session_may_run_ahead(const struct bl_session *session, const struct bl_step *wanted);
void bl_stepped_release(struct bl_stepped *stepped);
/* Of a step on this batch whose loss was not finite: what was so first, as bl_graph_find_nonfinite. */
int bl_session_find_nonfinite(struct bl_session *session, const struct bl_batch *batch, const char **node,
                              const char **what);

#endif
