/* What the files of the tuner share. */
#ifndef BL_TUNE_INTERNAL_H
#define BL_TUNE_INTERNAL_H

#include "blas/blas.h"
#include "ops/conv/conv.h"
#include "sched/tune.h"
#include "sched/tune_cache.h"

enum bl_tune_state { BL_TUNE_WANTED, BL_TUNE_KNOWN, BL_TUNE_UNDECIDED }; // the last: by rule
struct bl_tune_item {
    struct blanch_device *dev;
    uint64_t key; // of the numbers of the shape
    char shape[160];
    bool is_conv;
    struct bl_conv_shape conv;
    enum bl_conv_pass pass;
    struct bl_gemm gemm;
    enum bl_tune_state state;
    bool counted; // in a report, as known
    char choice[32];
};

enum { BL_TUNE_TRIALS = 16 };
struct bl_tune_trial {
    const char *name, *result;
    double ms;
}; // result: "right", "wrong", "failed", "slow"
struct bl_tune_trials {
    struct bl_tune_trial trial[BL_TUNE_TRIALS];
    int count, best; // best -1: none was right
};

struct bl_tuner {
    struct bl_tune_item **item;
    size_t items, capacity;
    struct bl_tune_place {
        struct blanch_device *dev;
        struct bl_tune_cache cache;
    } * place; // a cache per device
    size_t places, place_capacity;
    cJSON *restored;
    bool frozen;
    const char *engine;            // while one is measured
    enum bl_conv_pass pass;        // of engine
    enum bl_gemm_route route;      // while one is measured
    bool trying;                   // an engine: products that it asks for are not the network's
    struct bl_clblast_set clblast; // in use, where have_clblast
    bool have_clblast;
    bool clblast_alone; // no other route is tried
    struct bl_tune_refusal {
        const char *name;
        bool failed;
    } refusal[2 * BL_TUNE_TRIALS]; // those that were said
    int refusals;
};

int bl_tune_conv(struct bl_tuner *tuner, const struct bl_tune_item *item, const struct bl_tune_bounds *bounds,
                 struct bl_tune_trials *trials);
int bl_tune_gemm(struct bl_tuner *tuner, const struct bl_tune_item *item, const struct bl_tune_bounds *bounds,
                 struct bl_tune_trials *trials);
/* Before the device's first product: the parameters that the run's record or the cache has. */
void bl_tune_apply_clblast(struct bl_tuner *tuner, const struct bl_tune_cache *cache, struct blanch_device *dev);
extern const char bl_tune_clblast_shape[];
int bl_tune_place(struct bl_tuner *tuner, struct blanch_device *dev, struct bl_tune_cache **cache);

/* Seconds of the fastest of a few calls, after two of a small part (`share` of the whole): where that projects far more
 * than the bound or takes longer than `best` (0: none), or whole calls take twice `best`, nothing more is called.
 * *slow: not measured. */
typedef int bl_tune_call(void *context, bool small);
int bl_tune_time(struct blanch_device *dev, bl_tune_call *call, void *context, double share, double bound, double best,
                 double *seconds, bool *slow);
void bl_tune_add(struct bl_tune_trials *trials, const char *name, const char *result, double seconds);
/* Says once a process that a candidate is wrong, or fails with a code and the error message that is set. */
void bl_tune_refuse(struct bl_tuner *tuner, const struct bl_tune_bounds *bounds, const char *name, const char *shape,
                    int code);
/* Numbers in -1..1 by position. */
void bl_tune_fill(float *values, size_t count, uint64_t stream);
/* The largest difference is at most 1e-3 of the largest value: far above rounding, far below an error of computation.
 */
bool bl_tune_close(const float *values, const float *reference, size_t count);

#endif
