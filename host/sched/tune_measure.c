/* Timing and judging a candidate. */
#include "sched/tune_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CALLS = 5 };
static const double enough = 0.2; // seconds of calls for one candidate

static int timed(struct blanch_device *dev, bl_tune_call *call, void *context, bool small, double *seconds) {
    double start = bl_now();
    int code = call(context, small);
    if (!code) code = bl_finish(dev);
    *seconds = bl_now() - start;
    return code;
}

int bl_tune_time(struct blanch_device *dev, bl_tune_call *call, void *context, double share, double bound, double best,
                 double *seconds, bool *slow) {
    double once, spent = 0;
    *slow = true, *seconds = INFINITY;
    int code = timed(dev, call, context, true, &once); // some drivers compile at the first launch
    if (!code) code = timed(dev, call, context, true, &once);
    if (code || once > bound || once / share > 4 * bound || (best > 0 && once > best)) return code;
    const bool hopeless = best > 0 && once / share > 4 * best; // unless most of it is the same for all sizes
    for (int i = 0; i < MOST_CALLS && spent < enough && !code; i++) {
        code = timed(dev, call, context, false, &once);
        spent += once;
        if (once < *seconds) *seconds = once;
        bool may_compile = i == 0 && !hopeless;
        if (once > bound || (best > 0 && *seconds > 2 * best && !may_compile)) break;
    }
    *slow = *seconds > bound;
    return code;
}

void bl_tune_add(struct bl_tune_trials *t, const char *name, const char *result, double seconds) {
    if (t->count >= BL_TUNE_TRIALS) return;
    bool right = result[0] == 'r';
    t->trial[t->count] = (struct bl_tune_trial){name, result, 1e3 * seconds};
    if (right && (t->best < 0 || 0.97 * t->trial[t->best].ms > 1e3 * seconds))
        t->best = t->count; // among equals the first
    t->count++;
}

void bl_tune_refuse(struct bl_tuner *t, const struct bl_tune_bounds *bounds, const char *name, const char *shape,
                    int code) {
    const bool failed = code != 0;
    for (int i = 0; i < t->refusals; i++)
        if (t->refusal[i].name == name && t->refusal[i].failed == failed) return;
    if (t->refusals < BL_COUNT(t->refusal)) t->refusal[t->refusals++] = (struct bl_tune_refusal){name, failed};
    if (!bounds->refused) return;
    char line[400];
    const char *why = failed ? blanch_error_message() : "its result is wrong";
    snprintf(line, sizeof line, "%s is not taken for %s: %.*s", name, shape, (int)strcspn(why, "\n"), why);
    bounds->refused(bounds->context, line);
}

void bl_tune_fill(float *values, size_t count, uint64_t stream) {
    uint64_t state = 0x9e3779b97f4a7c15ull * (stream + 1);
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        values[i] = (float)((int32_t)(state >> 32)) * (1.0f / 2147483648.0f);
    }
}

bool bl_tune_close(const float *values, const float *reference, size_t count) {
    double scale = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        double size = fabs((double)reference[i]), difference = fabs((double)values[i] - (double)reference[i]);
        if (size > scale) scale = size;
        if (!(difference <= worst)) worst = difference;
        if (!isfinite(difference)) return false;
    }
    return worst <= 1e-3 * scale;
}
