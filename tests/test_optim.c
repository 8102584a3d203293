/* Optimisers: their updates against the values that torch.optim gives in double precision (reference/optimisers.py), on
 * spans that end within a vector and within a work-item's part (of matrices: test_recipe.c); what they do by
 * themselves; settings that are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"
#include "io/files.h"
#include "optim/optim.h"
#include "train/train.h"
#include <stdlib.h>
#include <string.h>

enum { ROWS = 17, STEPS = 5 };
static const int64_t sizes[] = {1, ROWS, 65537};
static const double tolerance = 2e-6; // of float32, a few roundings a step

static struct blanch_device *device;
static cJSON *reference;

static double at(const cJSON *array, int64_t index) {
    return cJSON_GetArrayItem(array, (int)index)->valuedouble;
}

static float number(const cJSON *object, const char *key, float otherwise) {
    const cJSON *item = cJSON_GetObjectItem(object, key);
    return item ? (float)item->valuedouble : otherwise;
}

static struct blanch_update settings_of(const cJSON *options) {
    const cJSON *betas = cJSON_GetObjectItem(options, "betas");
    return (struct blanch_update){.momentum = number(options, "momentum", 0),
                                  .weight_decay = number(options, "weight_decay", 0),
                                  .nesterov = cJSON_IsTrue(cJSON_GetObjectItem(options, "nesterov")),
                                  .beta1 = betas ? (float)at(betas, 0) : 0,
                                  .beta2 = betas ? (float)at(betas, 1) : 0,
                                  .eps = number(options, "eps", 0)};
}

/* --- spans -------------------------------------------------------------------------------------- */

/* Every element is one of the reference's rows. */
static void fill(struct bl_mem *mem, int64_t count, const cJSON *rows) {
    float row[ROWS], *values = bl_calloc((size_t)count, sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < ROWS; i++) row[i] = rows ? (float)at(rows, i) : 0;
    for (int64_t i = 0; i < count; i++) values[i] = row[i % ROWS];
    assert_int_equal(bl_mem_write(mem, 0, (size_t)count * sizeof *values, values), 0);
    free(values);
}

static struct bl_update_span make_span(const struct bl_optimiser *optimiser, int64_t count) {
    struct bl_update_span span = {.dev = device, .count = count};
    size_t bytes = (size_t)count * sizeof(float);
    assert_int_equal(bl_mem_alloc(device, bytes, &span.value), 0);
    assert_int_equal(bl_mem_alloc(device, bytes, &span.grad), 0);
    for (int i = 0; i < optimiser->states; i++) {
        assert_int_equal(bl_mem_alloc(device, bytes, &span.state[i]), 0);
        fill(span.state[i], count, NULL);
    }
    assert_int_equal(bl_mem_alloc(device, sizeof(int32_t), &span.skip), 0);
    assert_int_equal(bl_mem_write(span.skip, 0, sizeof(int32_t), &(int32_t){0}), 0);
    return span;
}

static void free_span(struct bl_update_span *span) {
    bl_mem_free(span->value);
    bl_mem_free(span->grad);
    bl_mem_free(span->skip);
    for (int i = 0; i < BL_MAX_STATES; i++) bl_mem_free(span->state[i]);
}

/* Each within the tolerance of the largest that took part in it. */
static void compare(struct bl_mem *mem, int64_t count, const cJSON *rows, const double *scale, const char *what) {
    float *values = bl_calloc((size_t)count, sizeof *values);
    double expected[ROWS];
    assert_non_null(values);
    assert_int_equal(bl_mem_read(mem, 0, (size_t)count * sizeof *values, values), 0);
    for (int i = 0; i < ROWS; i++) expected[i] = at(rows, i);
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)values[i] - expected[i % ROWS]) <= tolerance * scale[i % ROWS]))
            fail_msg("%s[%lld of %lld] is %.9g, in torch.optim %.9g", what, (long long)i, (long long)count,
                     (double)values[i], expected[i % ROWS]);
    free(values);
}

static void compare_state(const struct bl_optimiser *optimiser, const struct bl_update_span *span, int state,
                          const cJSON *after, const double *largest) {
    const char *name = optimiser->state_name[state];
    const cJSON *rows = cJSON_GetObjectItem(after, name);
    double scale[ROWS];
    if (!rows) return; // SGD without momentum keeps none
    for (int i = 0; i < ROWS; i++) scale[i] = strcmp(name, "exp_avg_sq") ? largest[i] : largest[i] * largest[i];
    compare(span->state[state], span->count, rows, scale, name);
}

static void run_case(const cJSON *grads, const cJSON *one, int64_t count) {
    const struct bl_optimiser *optimiser;
    assert_int_equal(bl_optimiser_find(cJSON_GetObjectItem(one, "optimiser")->valuestring, &optimiser), 0);
    const cJSON *start = cJSON_GetObjectItem(one, "value"), *lr = cJSON_GetObjectItem(one, "lr");
    struct bl_update_span span = make_span(optimiser, count);
    struct blanch_update update = settings_of(cJSON_GetObjectItem(one, "options"));
    double largest[ROWS] = {0}, scale[ROWS];
    fill(span.value, count, start);
    for (int step = 0; step < STEPS; step++) {
        const cJSON *grad = cJSON_GetArrayItem(grads, step);
        const cJSON *after = cJSON_GetArrayItem(cJSON_GetObjectItem(one, "after"), step);
        const cJSON *value = cJSON_GetObjectItem(after, "value");
        update.lr = (float)at(lr, step);
        assert_int_equal(optimiser->check(&update), 0);
        fill(span.grad, count, grad);
        assert_int_equal(optimiser->update(&span, &update, step + 1), 0);
        for (int i = 0; i < ROWS; i++) {
            scale[i] = fabs(at(start, i)) + fabs(at(value, i) - at(start, i));
            largest[i] = fmax(largest[i], fabs(at(grad, i)) + fabs(at(value, i)) + fabs(at(start, i)));
        }
        compare(span.value, count, value, scale, optimiser->name);
        for (int s = 0; s < optimiser->states; s++) compare_state(optimiser, &span, s, after, largest);
    }
    free_span(&span);
}

static void test_against_torch(void **state) {
    if (!device) skip();
    const cJSON *one, *cases = cJSON_GetObjectItem(reference, "cases");
    bool seen[32] = {false};
    for (int i = 0; bl_optimiser_list[i]; i++) assert_true(i < BL_COUNT(seen));
    cJSON_ArrayForEach(one, cases) {
        for (int i = 0; i < BL_COUNT(sizes); i++) run_case(cJSON_GetObjectItem(reference, "grads"), one, sizes[i]);
        for (int i = 0; bl_optimiser_list[i]; i++)
            seen[i] |= !strcmp(bl_optimiser_list[i]->name, cJSON_GetObjectItem(one, "optimiser")->valuestring);
    }
    for (int i = 0; bl_optimiser_list[i]; i++)
        if (!seen[i] && !bl_optimiser_list[i]->rest)
            fail_msg("%s is compared with nothing", bl_optimiser_list[i]->name);
}

/* --- what an update that is skipped does ------------------------------------------------------------- */

/* Whether value and states are those of before an update. */
static bool stays(const struct bl_optimiser *optimiser, const struct bl_update_span *span,
                  const struct blanch_update *update) {
    enum { MOST = 64 };
    float before[MOST], after[MOST];
    const size_t bytes = (size_t)span->count * sizeof(float);
    bool same = true;
    for (int i = 0; i <= optimiser->states; i++) {
        struct bl_mem *mem = i ? span->state[i - 1] : span->value;
        assert_int_equal(bl_mem_read(mem, 0, bytes, before), 0);
        assert_int_equal(optimiser->update(span, update, 2), 0);
        assert_int_equal(bl_mem_read(mem, 0, bytes, after), 0);
        same &= !memcmp(before, after, bytes);
    }
    return same;
}

static void test_skipped(void **state) {
    if (!device) skip();
    const cJSON *rows = cJSON_GetArrayItem(cJSON_GetObjectItem(reference, "grads"), 1);
    for (int i = 0; bl_optimiser_list[i]; i++) {
        const struct bl_optimiser *optimiser = bl_optimiser_list[i];
        struct bl_update_span span = make_span(optimiser, 48);
        const struct blanch_update update = optimiser->defaults;
        fill(span.value, span.count, rows), fill(span.grad, span.count, rows);
        span.rows = 6, span.columns = 8;
        const int64_t floats = optimiser->workspace ? optimiser->workspace(span.rows, span.columns) : 1;
        assert_int_equal(bl_mem_alloc(device, (size_t)floats * sizeof(float), &span.workspace), 0);
        assert_int_equal(bl_mem_write(span.skip, 0, sizeof(int32_t), &(int32_t){1}), 0);
        assert_true(stays(optimiser, &span, &update));
        assert_int_equal(bl_mem_write(span.skip, 0, sizeof(int32_t), &(int32_t){0}), 0);
        assert_false(stays(optimiser, &span, &update));
        bl_mem_free(span.workspace);
        free_span(&span);
    }
}

/* --- what an optimiser does without a gradient ------------------------------------------------------ */

static void decays(const struct bl_optimiser *optimiser, const struct blanch_update *update) {
    struct bl_update_span span = make_span(optimiser, ROWS);
    const cJSON *rows = cJSON_GetArrayItem(cJSON_GetObjectItem(reference, "grads"), 1);
    double value[ROWS], kept[ROWS];
    float got[2][ROWS];
    for (int i = 0; i < ROWS; i++) value[i] = at(rows, i), kept[i] = at(rows, ROWS - 1 - i);
    for (int i = 0; i < ROWS; i++) got[0][i] = (float)value[i], got[1][i] = (float)kept[i];
    assert_int_equal(bl_mem_write(span.value, 0, sizeof got[0], got[0]), 0);
    assert_int_equal(bl_mem_write(span.state[0], 0, sizeof got[1], got[1]), 0);
    fill(span.grad, ROWS, NULL);
    for (int step = 1; step <= 3; step++) {
        assert_int_equal(optimiser->update(&span, update, step), 0);
        for (int i = 0; i < ROWS; i++) optimiser->decay(update, &value[i], &kept[i]);
    }
    assert_int_equal(bl_mem_read(span.value, 0, sizeof got[0], got[0]), 0);
    assert_int_equal(bl_mem_read(span.state[0], 0, sizeof got[1], got[1]), 0);
    for (int i = 0; i < ROWS; i++) {
        assert_float_equal(got[0][i], (float)value[i], 2e-6f);
        assert_float_equal(got[1][i], (float)kept[i], 2e-6f);
    }
    free_span(&span);
}

static void test_decay(void **state) {
    if (!device) skip();
    const struct blanch_update plain = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.2f},
                               nesterov = {.lr = 0.1f, .momentum = 0.7f, .weight_decay = 0.2f, .nesterov = true};
    decays(&bl_optimiser_sgd, &plain);
    decays(&bl_optimiser_sgd, &nesterov);
    assert_null(bl_optimiser_adamw.decay); // it is not linear
}

/* --- settings ------------------------------------------------------------------------------------- */

static void test_settings(void **state) {
    const struct {
        const char *optimiser, *named; // named NULL: it is taken
        struct blanch_update update;
    } rows[] = {
        {"sgd", NULL, BL_UPDATE_DEFAULT},
        {"adamw", NULL, BL_UPDATE_DEFAULT},
        {"sgd", NULL, {0}},
        {"sgd", "--lr", {0, -0.1f, NAN, NAN, false, NAN, NAN, NAN}},
        {"sgd", "--momentum", {0, NAN, -0.1f, NAN, false, NAN, NAN, NAN}},
        {"sgd", "--weight-decay", {0, NAN, NAN, -1, false, NAN, NAN, NAN}},
        {"sgd", "--nesterov", {0, NAN, 0, NAN, true, NAN, NAN, NAN}},
        {"sgd", "--beta1", {0, NAN, NAN, NAN, false, 0.9f, NAN, NAN}},
        {"adamw", "--lr", {0, -1, NAN, NAN, false, NAN, NAN, NAN}},
        {"adamw", "--beta1", {0, NAN, NAN, NAN, false, 1, NAN, NAN}},
        {"adamw", "--beta2", {0, NAN, NAN, NAN, false, NAN, -0.5f, NAN}},
        {"adamw", "--eps", {0, NAN, NAN, NAN, false, NAN, NAN, -1e-8f}},
        {"adamw", "--momentum", {0, NAN, 0.9f, NAN, false, NAN, NAN, NAN}},
        {"adamw", "--nesterov", {0, NAN, NAN, NAN, true, NAN, NAN, NAN}},
        {"muon", NULL, BL_UPDATE_DEFAULT},
        {"muon", "--momentum", {0, NAN, 1, NAN, false, NAN, NAN, NAN}},
        {"muon", "--beta2", {0, NAN, NAN, NAN, false, NAN, 1, NAN}},
        {"adam", "adamw", BL_UPDATE_DEFAULT},
    };
    for (int i = 0; i < BL_COUNT(rows); i++) {
        struct blanch_update update = rows[i].update;
        assert_int_equal(bl_update_resolve(rows[i].optimiser, &update), rows[i].named ? BLANCH_EUSAGE : 0);
        if (rows[i].named) assert_non_null(strstr(blanch_error_message(), rows[i].named));
    }
    struct blanch_update adamw = BL_UPDATE_DEFAULT, defaults = {.size = sizeof defaults};
    adamw.beta2 = 0.95f;
    assert_int_equal(blanch_update_defaults("adamw", &defaults), 0);
    assert_int_equal(bl_update_resolve("adamw", &adamw), 0);
    assert_true(adamw.lr == defaults.lr && adamw.beta1 == defaults.beta1 && adamw.beta2 == 0.95f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_torch),
        cmocka_unit_test(test_skipped),
        cmocka_unit_test(test_decay),
        cmocka_unit_test(test_settings),
    };
    if (bl_json_read(REFERENCE_DIR "/optimisers.json", &reference)) {
        print_error("%s\n", blanch_error_message());
        return 1;
    }
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(reference);
    return failed + close_test_device(device);
}
