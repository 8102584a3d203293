/* The overhead budget's policy with given costs, drifts and baseline; no device, no clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sched/budget.h"
#include <math.h>
#include <stdlib.h>

enum { LAYERS = 4 };
static const double exact_ms[LAYERS] = {19, 31, 70, 19}, refreshed_ms[LAYERS] = {12, 22, 42, 12},
                    reused_ms[LAYERS] = {2, 2, 2, 2};
static const double drift[LAYERS] = {0.01, 0.01, 0.01, 0.16};
static const double base_ms = 100;

static double wall(const struct bl_budget *b, double ms[LAYERS]) {
    double sum = base_ms;
    for (int i = 0; i < LAYERS; i++) {
        ms[i] = !b->layer[i].refresh ? reused_ms[i] : b->stage == BL_BUDGET_IS_EXACT ? exact_ms[i] : refreshed_ms[i];
        sum += ms[i] - reused_ms[i];
    }
    return sum;
}

/* The first steps as a run makes them, until a plan stands. */
static struct bl_budget *planned(double share, double baseline) {
    struct bl_budget *b;
    double ms[LAYERS];
    assert_int_equal(bl_budget_create(&b, share, LAYERS), 0);
    for (int step = 0; step < BL_BUDGET_WARMUP; step++) {
        bl_budget_next(b);
        assert_false(bl_budget_plan(b, true));
        assert_int_equal(b->stage == BL_BUDGET_IS_EXACT, step < BL_BUDGET_EXACT);
        for (int i = 0; i < LAYERS; i++)
            assert_int_equal(b->layer[i].refresh, step < BL_BUDGET_ALL || step == BL_BUDGET_WARMUP - 1);
        if (step == BL_BUDGET_WARMUP - 2) bl_budget_measure(b, baseline, BL_BUDGET_BASE);
        double all = wall(b, ms), base = bl_budget_record(b, all, ms);
        if (step >= BL_BUDGET_ALL) assert_float_equal(base, base_ms, 1e-4);
    }
    for (int i = 0; i < LAYERS; i++) b->layer[i].drift = drift[i];
    assert_true(bl_budget_plan(b, false));
    return b;
}

static double interval(const struct bl_budget *b, int layer) {
    return b->period * b->layer[layer].every;
}

static double load(const struct bl_budget *b) {
    double sum = 0;
    for (int i = 0; i < LAYERS; i++) sum += b->layer[i].cost / interval(b, i);
    return sum;
}

static void test_fits_allowance(void **state) {
    struct bl_budget *b = planned(0.2, 0.9);
    assert_float_equal(b->allowance, 1.2 * 0.9 - 1, 1e-6);
    for (int i = 0; i < LAYERS; i++)
        assert_float_equal(b->layer[i].cost, (refreshed_ms[i] - reused_ms[i]) / base_ms, 1e-6);
    assert_true(load(b) <= b->allowance - b->repay + 1e-9);
    assert_true(load(b) > 0.99 * (b->allowance - b->repay));
    assert_false(b->least);
    /* of the same cost, 16 times the drift: a quarter of the interval; of the same drift, 4 times the cost: twice */
    assert_int_equal(b->layer[0].every, 4 * b->layer[3].every);
    assert_int_equal(b->layer[2].every, 2 * b->layer[0].every);
    bl_budget_free(b);
}

static void test_holds_and_staggers(void **state) {
    struct bl_budget *b = planned(0.3, 0.9);
    enum { STEPS = 3000, WINDOW = 20 };
    double cost = 0, dearest = 40, ms[LAYERS], made[STEPS];
    int refreshes[LAYERS] = {0};
    for (int step = 0; step < STEPS; step++) {
        bl_budget_next(b);
        cost += made[step] = wall(b, ms) - base_ms;
        for (int i = 0; i < LAYERS; i++) refreshes[i] += b->layer[i].refresh;
        if (step % 25 == 0) bl_budget_plan(b, false);
        double window = 0; // even: no few steps take much more than their share
        for (int i = step - WINDOW + 1; i >= 0 && i <= step; i++) window += made[i];
        assert_true(window <= WINDOW * b->allowance * base_ms + 2 * dearest);
    }
    double overhead = (base_ms + cost / STEPS) / (0.9 * base_ms) - 1;
    assert_true(overhead <= 0.3 + 1e-3);
    assert_true(overhead > 0.27);
    assert_true(refreshes[3] > 2 * refreshes[0]);
    assert_true(bl_budget_held(b) <= 0.301);
    bl_budget_free(b);
}

/* A sweep goes through the layers in their order, one a step where there is time, and those of every second sweep and
 * fourth sweep go along with the others. */
static void test_sweeps(void **state) {
    struct bl_budget *b = planned(0.15, 0.9);
    int64_t reached[LAYERS] = {0};
    int sweeps[LAYERS] = {0};
    assert_true(b->period > 2 * LAYERS);
    const double young = 4 * b->period;
    for (int64_t step = b->step + 1; step < 4000; step++) {
        bl_budget_next(b);
        int now = 0;
        for (int i = 0; i < LAYERS; i++) {
            if (!b->layer[i].refresh) continue;
            if (reached[i]) assert_true(step - reached[i] <= 0.3 * step || step > young); // often at the start
            reached[i] = step;
            if (step < young + 2 * b->period) continue;
            now++, sweeps[i]++;
            for (int other = 0; other < i; other++)
                if (b->layer[other].every <= b->layer[i].every) assert_int_equal(step - reached[other], i - other);
        }
        assert_true(now <= 1);
    }
    for (int i = 0; i < LAYERS; i++)
        assert_true(abs(sweeps[i] * b->layer[i].every - sweeps[3] * b->layer[3].every) <= b->layer[i].every);
    bl_budget_free(b);
}

/* A base step alone is 11 % over: refreshes have 1 % of a batch-norm step, shared out as ever, and nothing is paid
 * back. */
static void test_infeasible(void **state) {
    struct bl_budget *b = planned(0.05, 0.9);
    const double debt = b->debt;
    double cost = 0;
    assert_true(b->least);
    assert_float_equal(load(b), 0.01 * 0.9, 1e-5);
    assert_float_equal(bl_budget_floor(b), 1 / 0.9 - 1 + 0.01, 1e-6);
    assert_int_equal(b->layer[0].every, 4 * b->layer[3].every);
    enum { STEPS = 8000, YOUNG = 1000 };
    for (int step = 0; step < YOUNG; step++) bl_budget_next(b);
    for (int step = 0; step < STEPS; step++) {
        bl_budget_next(b);
        for (int i = 0; i < LAYERS; i++) cost += b->layer[i].refresh ? b->layer[i].cost : 0;
    }
    assert_float_equal(cost / STEPS, 0.01 * 0.9, 0.02 * 0.01 * 0.9);
    assert_float_equal(b->debt, debt, 0);
    bl_budget_free(b);
}

static void test_ample(void **state) {
    struct bl_budget *b = planned(9, 0.9);
    bl_budget_next(b);
    for (int i = 0; i < LAYERS; i++) assert_true(b->layer[i].refresh);
    bl_budget_free(b);
}

/* Where batch norm is the dearer of the two, refreshes cost what it leaves. */
static void test_baselines(void **state) {
    const struct {
        double share, baseline, allowance;
        bool least;
    } rows[] = {
        {0, 0.9, -0.1, true}, {0, 1, 0, true}, {0, 1.2, 0.2, false}, {0.1, 1.5, 0.65, false}, {10, 0.05, -0.45, true},
    };
    for (int r = 0; r < BL_COUNT(rows); r++) {
        struct bl_budget *b = planned(rows[r].share, rows[r].baseline);
        assert_float_equal(b->allowance, rows[r].allowance, 1e-6);
        assert_int_equal(b->least, rows[r].least);
        assert_true(isfinite(bl_budget_floor(b)));
        if (!b->least) assert_true(load(b) <= b->allowance + 1e-9);
        bl_budget_free(b);
    }
}

/* The machine becomes three times slower as a whole, then as it was: the same is decided as on an even one. */
static void test_slow_minute(void **state) {
    struct bl_budget *b = planned(0.2, 0.9), *even = planned(0.2, 0.9);
    double ms[LAYERS];
    for (int step = 0; step < 600; step++) {
        double slower = step >= 100 && step < 300 ? 3 : 1;
        bl_budget_next(b), bl_budget_next(even);
        bl_budget_record(even, wall(even, ms), ms);
        double all = slower * wall(b, ms);
        for (int i = 0; i < LAYERS; i++) ms[i] *= slower;
        assert_float_equal(bl_budget_record(b, all, ms), slower * base_ms, 1e-3);
        if (step % 25 == 0) bl_budget_plan(b, false), bl_budget_plan(even, false);
        for (int i = 0; i < LAYERS; i++) assert_int_equal(b->layer[i].refresh, even->layer[i].refresh);
    }
    bl_budget_free(b);
    bl_budget_free(even);
}

/* It does so between a batch-norm step and its partner: the baseline is thrice itself, once. */
static void test_slow_moment(void **state) {
    struct bl_budget *b = planned(0.2, 0.9);
    bl_budget_measure(b, 3 * 0.9, 0);
    assert_true(b->baseline <= 0.9 * 1.21);
    for (int i = 0; i < 12; i++) bl_budget_measure(b, 0.9, 0);
    assert_float_equal(b->baseline, 0.9, 1e-3);
    for (int i = 0; i < 12; i++) bl_budget_measure(b, 1.8, 0); // but what lasts is believed in the end
    assert_float_equal(b->baseline, 1.8, 0.02);
    bl_budget_free(b);
}

static void test_no_numbers(void **state) {
    const double odd[] = {NAN, INFINITY, -1, 0};
    for (int k = 0; k < BL_COUNT(odd); k++) {
        struct bl_budget *b = planned(0.2, 0.9), *same = planned(0.2, 0.9);
        double ms[LAYERS];
        bl_budget_next(b), bl_budget_next(same);
        wall(b, ms);
        assert_float_equal(bl_budget_record(b, odd[k], ms), 0, 0);
        bl_budget_measure(b, odd[k], 0);
        for (int i = 0; i < LAYERS; i++) bl_budget_change(b, i, 5, odd[k]);
        assert_true(bl_budget_plan(b, true) && bl_budget_plan(same, true));
        for (int i = 0; i < LAYERS; i++) assert_float_equal(interval(b, i), interval(same, i), 0);
        bl_budget_free(b);
        bl_budget_free(same);
    }
}

/* Nothing is measured, ever: six steps keep the whitening, one refreshes it, and so on. */
static void test_unmeasured(void **state) {
    struct bl_budget *b;
    assert_int_equal(bl_budget_create(&b, 0.2, LAYERS), 0);
    for (int step = 0; step < 100; step++) {
        bl_budget_next(b);
        assert_false(bl_budget_plan(b, true));
        bool refresh = step < BL_BUDGET_ALL || (step - BL_BUDGET_ALL) % 7 == 6;
        for (int i = 0; i < LAYERS; i++) assert_int_equal(b->layer[i].refresh, refresh);
    }
    bl_budget_free(b);
}

static void test_restores(void **state) {
    struct bl_budget *a = planned(0.2, 0.9), *b;
    for (int step = 0; step < 77; step++) bl_budget_next(a);
    a->spent = a->layer[0].drift = 0.1 + 0.2; // 15 digits would be 0.3
    char *text = bl_budget_save(a);
    assert_int_equal(bl_budget_create(&b, 0.2, LAYERS), 0);
    assert_int_equal(bl_budget_restore(b, text), 0);
    assert_true(b->spent == a->spent && b->layer[0].drift == a->layer[0].drift);
    for (int step = 0; step < 400; step++) {
        if (step % 50 == 0) assert_int_equal(bl_budget_plan(a, true), bl_budget_plan(b, true));
        bl_budget_next(a), bl_budget_next(b);
        for (int i = 0; i < LAYERS; i++) assert_int_equal(a->layer[i].refresh, b->layer[i].refresh);
    }
    bl_budget_free(b);
    assert_int_equal(bl_budget_create(&b, 0.2, LAYERS + 1), 0);
    assert_int_equal(bl_budget_restore(b, text), BLANCH_EINPUT);
    assert_int_equal(bl_budget_restore(b, "[[1,2]]"), BLANCH_EINPUT);
    free(text);
    bl_budget_free(a);
    bl_budget_free(b);
}

static void test_parses(void **state) {
    double share;
    assert_int_equal(bl_budget_parse("20%", &share), 0);
    assert_float_equal(share, 0.2, 1e-12);
    assert_int_equal(bl_budget_parse("7.5", &share), 0);
    assert_float_equal(share, 0.075, 1e-12);
    assert_int_equal(bl_budget_parse("none", &share), 0);
    assert_true(share < 0);
    const char *const wrong[] = {"", "abc", "-5%", "5%%", "%", "nan", "inf", "20 %", " 20%"};
    for (int i = 0; i < BL_COUNT(wrong); i++) assert_int_equal(bl_budget_parse(wrong[i], &share), BLANCH_EUSAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fits_allowance), cmocka_unit_test(test_holds_and_staggers),
        cmocka_unit_test(test_infeasible),     cmocka_unit_test(test_ample),
        cmocka_unit_test(test_baselines),      cmocka_unit_test(test_slow_minute),
        cmocka_unit_test(test_slow_moment),    cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_unmeasured),     cmocka_unit_test(test_restores),
        cmocka_unit_test(test_parses),         cmocka_unit_test(test_sweeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
