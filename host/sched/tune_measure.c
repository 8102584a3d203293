/* Timing and judging a candidate. */
#include "sched/tune_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CALLS = 4 };
static const double enough = 0.2; // seconds of timed calls for one candidate

const char *const bl_tune_result_names[] = {[BL_TUNE_RIGHT] = "right",
                                            [BL_TUNE_WRONG] = "wrong",
                                            [BL_TUNE_FAILED] = "failed",
                                            [BL_TUNE_SLOW] = "slow",
                                            [BL_TUNE_SLOW_BUILD] = "slow to build"};

static int timed(const struct bl_tune_candidate *candidate, bool small, double *seconds) {
    const double start = bl_now();
    int code = candidate->call(candidate->context, small);
    *seconds = bl_now() - start;
    return code;
}

/* The first call of a size. *built, seconds, grows by it. */
static int first_call(const struct bl_tune_candidate *candidate, bool small, double *built) {
    double once;
    int code = timed(candidate, small, &once);
    *built += once;
    return code;
}

int bl_tune_time(const struct bl_tune_candidate *candidate, const struct bl_tune_bounds *bounds, double best,
                 struct bl_tune_timing *timing) {
    const double share = candidate->share, bound = bounds->candidate;
    double once, built = candidate->built, spent = 0;
    *timing = (struct bl_tune_timing){BL_TUNE_SLOW_BUILD, INFINITY};
    if (built > bounds->build) return 0;
    int code = first_call(candidate, true, &built);
    if (code || built > bounds->build) return code;
    timing->result = BL_TUNE_SLOW;
    code = timed(candidate, true, &once);
    if (code || once > bound || once / share > 4 * bound || (best > 0 && once > best)) return code;
    timing->result = BL_TUNE_SLOW_BUILD;
    code = first_call(candidate, false, &built);
    if (code || built > bounds->build) return code;
    for (int i = 0; i < MOST_CALLS && spent < enough; i++) {
        if ((code = timed(candidate, false, &once))) return code;
        spent += once;
        if (once < timing->seconds) timing->seconds = once;
        if (once > bound || (best > 0 && timing->seconds > 2 * best)) break;
    }
    timing->result = timing->seconds > bound ? BL_TUNE_SLOW : BL_TUNE_RIGHT;
    return 0;
}

double bl_tune_best(const struct bl_tune_trials *t) {
    return t->best < 0 ? 0 : 1e-3 * t->trial[t->best].ms;
}

void bl_tune_add(struct bl_tune_trials *t, const char *name, const struct bl_tune_timing *timing) {
    if (t->count >= BL_TUNE_TRIALS) return;
    const double ms = 1e3 * timing->seconds;
    t->trial[t->count] = (struct bl_tune_trial){name, timing->result, ms};
    if (timing->result == BL_TUNE_RIGHT && (t->best < 0 || 0.97 * t->trial[t->best].ms > ms))
        t->best = t->count; // among equals the first
    t->count++;
}

void bl_tune_refuse(struct bl_tuner *t, const struct bl_tune_item *item, const struct bl_tune_trial *trial) {
    if (trial->result == BL_TUNE_RIGHT || trial->result == BL_TUNE_SLOW) return;
    for (int i = 0; i < t->refusals; i++)
        if (t->refusal[i].name == trial->name && t->refusal[i].result == trial->result) return;
    if (t->refusals < BL_COUNT(t->refusal))
        t->refusal[t->refusals++] = (struct bl_tune_refusal){trial->name, trial->result};
    if (!t->bounds.said) return;
    char line[400], build[80];
    snprintf(build, sizeof build, "building its kernels takes more than %.3g s", t->bounds.build);
    const char *why = trial->result == BL_TUNE_FAILED  ? blanch_error_message()
                      : trial->result == BL_TUNE_WRONG ? "its result is wrong"
                                                       : build;
    snprintf(line, sizeof line, "%s is not taken for %s: %.*s", trial->name, item->shape, (int)strcspn(why, "\n"), why);
    t->bounds.said(t->bounds.context, line);
}

int bl_tune_beyond(int code) {
    const bool beyond = code == BLANCH_ENOMEM || code == BLANCH_EINTERRUPTED || code == BLANCH_EDEVICE;
    return beyond && !(code == BLANCH_EDEVICE && bl_device_refused()) ? code : 0;
}

void bl_tune_fill(float *values, size_t count, uint64_t stream) {
    uint64_t state = 0x9e3779b97f4a7c15ull * (stream + 1);
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        values[i] = (float)((int32_t)(state >> 32)) * (1.0f / 2147483648.0f);
    }
}

bool bl_tune_close(enum bl_type type, const float *values, const float *reference, size_t count) {
    const double bound = type == BL_F32 ? 1e-3 : type == BL_F16 ? 2e-3 : 16e-3;
    double scale = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        double size = fabs((double)reference[i]), difference = fabs((double)values[i] - (double)reference[i]);
        if (size > scale) scale = size;
        if (!(difference <= worst)) worst = difference;
        if (!isfinite(difference)) return false;
    }
    return worst <= bound * scale;
}
