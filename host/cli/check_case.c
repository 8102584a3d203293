/* Reading the tensors of a conformance case and comparing with them. */
#include "cli/check.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t bl_check_count(const struct bl_st_tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->dims; i++) count *= tensor->shape[i];
    return count;
}

double bl_check_largest(const float *values, int64_t count) {
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)values[i]));
    return largest;
}

static void join(char *full, size_t size, const char *prefix, const char *name) {
    snprintf(full, size, name ? "%s%s" : "%s", prefix, name);
}

int bl_check_find(const struct bl_check *check, const char *prefix, const char *name,
                  const struct bl_st_tensor **tensor) {
    char full[256];
    join(full, sizeof full, prefix, name);
    *tensor = bl_st_find(check->file, full);
    return *tensor ? 0 : bl_fail(BLANCH_EINPUT, "the tensor '%s' is missing", full);
}

int bl_check_read(const struct bl_check *check, const char *prefix, const char *name, int64_t count, float **values) {
    const struct bl_st_tensor *tensor;
    int code = bl_check_find(check, prefix, name, &tensor);
    *values = NULL;
    if (code) return code;
    int64_t there = bl_check_count(tensor);
    if (there < 1 || (count && there != count))
        return bl_fail(BLANCH_EINPUT, "the tensor '%s' holds %lld values, where %lld are needed", tensor->name,
                       (long long)there, (long long)(count ? count : 1));
    if (!(*values = bl_calloc((size_t)there, sizeof **values))) return BLANCH_ENOMEM;
    if ((code = bl_st_floats(tensor, *values, there))) free(*values), *values = NULL;
    return code;
}

int bl_check_number(const struct bl_check *check, const char *key, double *value) {
    const char *text = bl_st_meta(check->file, key);
    char *end = NULL;
    if (!text) return bl_fail(BLANCH_EINPUT, "the metadata has no '%s'", key);
    *value = strtod(text, &end);
    if (end == text || *end || !isfinite(*value))
        return bl_fail(BLANCH_EINPUT, "the metadata's '%s' is no number: %s", key, text);
    return 0;
}

/* --- comparing -------------------------------------------------------------------------------- */

static int keep_result(struct bl_check *check, const struct bl_st_tensor *like, float *got, int64_t count) {
    int code = bl_grow((void **)&check->results, &check->capacity, check->count + 1, sizeof *check->results);
    if (code) return free(got), code;
    struct bl_st_tensor *result = &check->results[check->count++];
    *result = *like;
    result->dtype = BL_F32, result->data = got, result->bytes = sizeof *got * (size_t)count;
    return 0;
}

static void note(struct bl_check *check, const struct bl_st_tensor *tensor, int64_t index, double got, double expected,
                 double error) {
    if (error <= check->error && check->tensor[0]) return;
    check->error = error, check->index = index, check->got = got, check->expected = expected;
    snprintf(check->tensor, sizeof check->tensor, "%s", tensor->name);
    check->dims = tensor->dims;
    memcpy(check->shape, tensor->shape, sizeof check->shape);
}

/* Not a number, on either side, is as far off as can be. */
static double relative(double got, double expected, double bound) {
    double off = fabs(got - expected);
    if (off == 0) return 0;
    return isfinite(off) && bound > 0 ? off / bound : INFINITY;
}

int bl_check_compare(struct bl_check *check, const char *prefix, const char *name, float *got, int64_t count,
                     struct bl_tolerance tolerance) {
    const struct bl_st_tensor *tensor;
    float *expected = NULL;
    int code = bl_check_find(check, prefix, name, &tensor);
    if (!code) code = bl_check_read(check, prefix, name, count, &expected);
    if (code) return free(got), code;
    double bound = tolerance.relative * bl_check_largest(expected, count);
    for (int64_t i = 0; i < count; i++) {
        double error =
            relative((double)got[i], (double)expected[i], tolerance.absolute ? tolerance.absolute[i] : bound);
        if (error > check->error || !check->tensor[0])
            note(check, tensor, i, (double)got[i], (double)expected[i], error);
    }
    free(expected);
    return keep_result(check, tensor, got, count);
}
