/* What the files of the tuner share. */
#ifndef BL_TUNE_INTERNAL_H
#define BL_TUNE_INTERNAL_H

#include "blas/blas.h"
#include "ops/conv/conv.h"
#include "sched/tune.h"
#include "sched/tune_cache.h"

enum bl_tune_state { BL_TUNE_WANTED, BL_TUNE_KNOWN, BL_TUNE_UNDECIDED }; // the last: by rule
struct bl_tune_item {
    uint64_t key;    // of the numbers of the shape and the type of its elements
    char shape[160]; // in words
    bool is_conv;
    struct bl_conv_shape conv;
    enum bl_conv_pass pass;
    struct bl_gemm gemm;
    enum bl_tune_state state;
    bool counted; // in the report, as known
    char choice[32];
};

enum { BL_TUNE_TRIALS = 24 };
enum bl_tune_result { BL_TUNE_RIGHT, BL_TUNE_WRONG, BL_TUNE_FAILED, BL_TUNE_SLOW, BL_TUNE_SLOW_BUILD };
extern const char *const bl_tune_result_names[]; // "right", "wrong", "failed", "slow", "slow to build"
struct bl_tune_trial {
    const char *name;
    enum bl_tune_result result;
    double ms;
};
struct bl_tune_trials {
    struct bl_tune_trial trial[BL_TUNE_TRIALS];
    int count, best; // best -1: none was right
};

struct bl_tuner {
    struct blanch_device *dev;
    struct bl_conv_chooser conv_chooser;
    struct bl_gemm_chooser gemm_chooser;
    struct bl_tune_bounds bounds;
    struct bl_tune_report report;
    double used; // of the bounds' seconds
    struct bl_tune_cache cache;
    struct bl_tune_item **item;
    size_t items, capacity;
    cJSON *replayed;               // choices of a former run; NULL: the cache's
    const char *engine;            // while one is measured
    enum bl_conv_pass pass;        // of engine
    enum bl_gemm_route route;      // while one is measured
    bool trying;                   // an engine: products that it asks for are not the network's
    struct bl_clblast_set clblast; // in use, where have_clblast
    bool have_clblast;
    bool clblast_alone; // no other route is tried
    int code;           // of a shape that could not be noted
    struct bl_tune_refusal {
        const char *name;
        enum bl_tune_result result;
    } refusal[2 * BL_TUNE_TRIALS]; // those that were said
    int refusals;
};

int bl_tune_conv(struct bl_tuner *tuner, const struct bl_tune_item *item, struct bl_tune_trials *trials);
int bl_tune_gemm(struct bl_tuner *tuner, const struct bl_tune_item *item, struct bl_tune_trials *trials);
/* The choice of the run that is replayed, where it had one; else NULL. Runs recorded before shapes had a type name them
 * without. */
const char *bl_tune_replayed(const struct bl_tuner *tuner, const char *shape);
/* Before the device's first product: the parameters of CLBlast that the run's record or the cache has. */
void bl_tune_apply_clblast(struct bl_tuner *tuner);
extern const char bl_tune_clblast_shape[];

/* What is timed: the whole of the work, or a small part of it, until it is done. */
struct bl_tune_candidate {
    int (*call)(void *context, bool small);
    void *context;
    double share; // the small part's, of the whole
    double built; // seconds that were already spent on building its kernels
};
struct bl_tune_timing {
    enum bl_tune_result result; // BL_TUNE_RIGHT: timed, and still to be judged; BL_TUNE_SLOW; BL_TUNE_SLOW_BUILD
    double seconds;             // the fastest call of the whole; INFINITY: none was timed
};
/* Times a candidate against the bounds and the best so far in seconds (0: none). Drivers build kernels at the first
 * call of each size, which nothing tells from a slow call: it is bounded by the bounds' build, and no time is taken
 * from it. Given up: what is slower than the bounds; what in its small part alone is slower than the best; after a
 * call, what takes twice the best. */
int bl_tune_time(const struct bl_tune_candidate *candidate, const struct bl_tune_bounds *bounds, double best,
                 struct bl_tune_timing *timing);
/* Seconds of the best; 0: none was right yet. */
double bl_tune_best(const struct bl_tune_trials *trials);
void bl_tune_add(struct bl_tune_trials *trials, const char *name, const struct bl_tune_timing *timing);
/* Says once a candidate and result that it is wrong, that its build takes too long, or that it fails, with the error
 * message that is set. */
void bl_tune_refuse(struct bl_tuner *tuner, const struct bl_tune_item *item, const struct bl_tune_trial *trial);
/* What a candidate returned: 0 where it is its own failure, and it is passed over; the code where nothing else would go
 * better, with the device lost or without memory. */
int bl_tune_beyond(int code);
/* Numbers in -1..1 by position. */
void bl_tune_fill(float *values, size_t count, uint64_t stream);
/* The largest difference is at most 1e-3 of the largest value, 2e-3 and 16e-3 of what is stored as half and bfloat16:
 * far above rounding, far below an error of computation. */
bool bl_tune_close(enum bl_type type, const float *values, const float *reference, size_t count);

#endif
