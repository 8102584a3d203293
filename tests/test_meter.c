/* Energy and clock of a card that its driver's library tells (tests/gpu/nvml.c stands in its place), or a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sched/meter.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>
#include <time.h>

/* Joules and clock of a tenth of a second and more, sampled in between, and the seconds. */
static double measure(struct bl_meter *m, double *joules, double *mhz) {
    struct timespec pause = {.tv_nsec = 60000000};
    double from = bl_now();
    bl_meter_start(m);
    for (int i = 0; i < 3; i++) {
        nanosleep(&pause, NULL);
        bl_meter_sample(m);
    }
    bl_meter_stop(m, joules, mhz);
    return bl_now() - from;
}

static void test_library(void **state) {
    for (int old = 0; old < 2; old++) {
        struct blanch_device_info info = {.kind = BLANCH_GPU, .pci = "65:00.0"};
        struct bl_meter m;
        double joules, mhz;
        if (old) setenv("NVML_OLD", "1", 1);
        assert_int_equal(bl_meter_open(&m, &info, NULL), 0);
        assert_int_equal(m.files, 1);
        assert_string_equal(m.energy[0], "NVML");
        assert_string_equal(m.clock, "NVML");
        assert_int_equal(m.power, old);
        double seconds = measure(&m, &joules, &mhz);
        assert_true(joules > 100 * 0.1 && joules < 100 * seconds * 1.01);
        assert_float_equal(mhz, 1500, 1e-9);
        bl_meter_close(&m);
        unsetenv("NVML_OLD");
    }
}

static void test_another_place(void **state) {
    struct blanch_device_info info = {.kind = BLANCH_GPU, .pci = "66:00.0"};
    struct bl_meter m;
    double joules, mhz;
    assert_int_equal(bl_meter_open(&m, &info, NULL), 0);
    assert_int_equal(m.files, 0);
    assert_string_equal(m.clock, "");
    measure(&m, &joules, &mhz);
    assert_true(isnan(joules) && isnan(mhz));
    bl_meter_close(&m);
}

/* What the user names is taken, the library's clock beside it. */
static void test_named_file(void **state) {
    struct blanch_device_info info = {.kind = BLANCH_GPU, .pci = "65:00.0"};
    struct bl_meter m;
    char path[] = "/tmp/power-XXXXXX";
    double joules, mhz;
    int descriptor = mkstemp(path);
    FILE *file = fdopen(descriptor, "w");
    assert_non_null(file);
    fprintf(file, "7000000\n");
    fclose(file);
    assert_int_equal(bl_meter_open(&m, &info, path), 0);
    assert_string_equal(m.energy[0], path);
    double seconds = measure(&m, &joules, &mhz);
    assert_true(joules > 7 * 0.1 && joules < 7 * seconds * 1.01);
    assert_float_equal(mhz, 1500, 1e-9);
    bl_meter_close(&m);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_another_place),
        cmocka_unit_test(test_named_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
