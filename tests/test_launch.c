/* The launcher: what it refuses, before anything runs, and that the next launch is none the worse; work sizes; how
 * failed builds are told. Kernels are the test's own, from a folder (BLANCH_KERNELS). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "harness.h"
#include "sched/limits.h"
#include <string.h>
#include <unistd.h>

static const char source[] = "kernel void put(global float *y, int n, float value, long at) {\n"
                             "    const int i = get_global_id(0);\n"
                             "    if (i < n && at >= 0) y[i + at] = value;\n"
                             "}\n"
                             "kernel void sizes(global float *y) {\n"
                             "    for (int i = 0; i < 3; i++) {\n"
                             "        y[i] = get_global_size(i);\n"
                             "        y[3 + i] = get_local_size(i);\n"
                             "    }\n"
                             "}\n"
                             "kernel void total(global float *y, local float *part) {\n"
                             "    const int i = get_local_id(0);\n"
                             "    part[i] = i;\n"
                             "    barrier(CLK_LOCAL_MEM_FENCE);\n"
                             "    if (i == 0) {\n"
                             "        y[0] = 0;\n"
                             "        for (int j = 0; j < (int)get_local_size(0); j++) y[0] += part[j];\n"
                             "    }\n"
                             "}\n"
                             "struct place { long at; int n, step; };\n"
                             "kernel void put_at(global float *y, struct place place, float value) {\n"
                             "    const int i = get_global_id(0);\n"
                             "    if (i < place.n) y[place.at + i * place.step] = value;\n"
                             "}\n"
                             "kernel void optional(global float *y, global const float *x) {\n"
                             "    y[0] = x ? x[0] : -1;\n"
                             "}\n";

enum { FLOATS = 64 };
static struct blanch_device *device;
static struct bl_mem *y;
static char folder[] = "/tmp/blanch-launch-XXXXXX";

static int open_all(void **state) {
    if (!device) return 0;
    return bl_mem_alloc(device, 4 * FLOATS, &y);
}

static int close_all(void **state) {
    bl_mem_free(y);
    return 0;
}

static struct bl_kernel *kernel(const char *name) {
    struct bl_kernel *k = NULL;
    if (!device) skip();
    check(bl_kernel_get(device, "own", name, NULL, 0, &k));
    check(bl_mem_fill(y, 0, 4 * FLOATS, 0));
    return k;
}

static const float *values(void) {
    static float v[FLOATS];
    check(bl_mem_read(y, 0, sizeof v, v));
    return v;
}

static void put_works(struct bl_kernel *put, float value) {
    check(bl_launch(put, BL_ITEMS(5), BL_MEM(y), BL_I32(5), BL_F32(value), BL_I64(2)));
    const float *v = values();
    for (int i = 0; i < FLOATS; i++) assert_true(v[i] == (i >= 2 && i < 7 ? value : 0));
}

/* The code, a word of the one-line message, and that nothing ran; the right launch works after it. */
static void refused(int code, int want, const char *word, int64_t launches) {
    if (code != want) fail_msg("returned %d, not %d", code, want);
    if (!strstr(blanch_error_message(), word)) fail_msg("no '%s' in: %s", word, blanch_error_message());
    assert_null(strchr(blanch_error_message(), '\n'));
    assert_int_equal(bl_launch_count(device), launches);
}

static void test_count_of_arguments(void **state) {
    struct bl_kernel *put = kernel("put");
    int64_t n = bl_launch_count(device);
    const struct bl_range range = BL_ITEMS(5);
    refused(bl_launch(put, range, BL_MEM(y), BL_I32(5), BL_F32(1)), BLANCH_EDEVICE,
            "put takes 4 arguments, 3 are given", n);
    refused(bl_launch(put, range, BL_MEM(y), BL_I32(5), BL_F32(1), BL_I64(0), BL_I32(1)), BLANCH_EDEVICE,
            "put takes 4 arguments, 5 are given", n);
    put_works(put, 3);
}

static void test_kind_of_arguments(void **state) {
    struct bl_kernel *put = kernel("put");
    int64_t n = bl_launch_count(device);
    const struct bl_range range = BL_ITEMS(5);
    refused(bl_launch(put, range, BL_MEM(y), BL_I64(5), BL_F32(1), BL_I64(0)), BLANCH_EDEVICE, "put, argument 1", n);
    refused(bl_launch(put, range, BL_MEM(y), BL_I32(5), BL_F32(1), BL_I32(0)), BLANCH_EDEVICE, "put, argument 3", n);
    refused(bl_launch(put, range, BL_I32(0), BL_I32(5), BL_F32(1), BL_I64(0)), BLANCH_EDEVICE, "put, argument 0", n);
    put_works(put, 4);
}

/* By value: what the caller does to it afterwards is not seen. */
static void test_struct(void **state) {
    struct place {
        int64_t at;
        int32_t n, step;
    } place = {3, 4, 2};
    struct bl_kernel *put_at = kernel("put_at");
    int64_t n = bl_launch_count(device);
    bl_dry(device, true); // not every driver knows a struct's size
    int code = bl_launch(put_at, BL_ITEMS(4), BL_MEM(y), BL_STRUCT(place.at), BL_F32(5));
    bl_dry(device, false);
    if (code) refused(code, BLANCH_EDEVICE, "put_at, argument 1", n);
    refused(bl_launch(put_at, BL_ITEMS(4), BL_MEM(y), BL_STRUCT(place), BL_I64(5)), BLANCH_EDEVICE,
            "put_at, argument 2", n);
    check(bl_launch(put_at, BL_ITEMS(4), BL_MEM(y), BL_STRUCT(place), BL_F32(5)));
    place.at = 20;
    const float *v = values();
    for (int i = 0; i < FLOATS; i++) assert_true(v[i] == (i >= 3 && i < 11 && i % 2 ? 5 : 0));
}

static void test_group_too_large(void **state) {
    struct bl_kernel *sizes = kernel("sizes");
    const struct blanch_device_info *info = blanch_device_info(device);
    int64_t n = bl_launch_count(device);
    size_t most = (size_t)info->max_work_group;
    for (int i = 0; i < 3; i++) {
        struct bl_range range = {.global = {1, 1, 1}, .local = {1, 1, 1}};
        range.global[i] = range.local[i] = (info->max_work_item[i] > most ? info->max_work_item[i] : most) + 1;
        refused(bl_launch(sizes, range, BL_MEM(y)), BLANCH_ELIMIT, "sizes: a work-group of", n);
    }
    struct bl_range square = {.global = {most, 2}, .local = {most, 2}}; // each side fits, the product does not
    refused(bl_launch(sizes, square, BL_MEM(y)), BLANCH_ELIMIT, "sizes: a work-group of", n);
    check(bl_launch(sizes, BL_ITEMS(1), BL_MEM(y)));
    assert_int_equal(bl_launch_count(device), n + 1);
}

static void test_local_memory(void **state) {
    struct bl_kernel *total = kernel("total");
    int64_t n = bl_launch_count(device);
    size_t too_much = (size_t)blanch_device_info(device)->local_memory + 4;
    const struct bl_range range = {.global = {8}, .local = {8}};
    refused(bl_launch(total, range, BL_MEM(y), BL_LOCAL(too_much)), BLANCH_ELIMIT, "bytes of local memory", n);
    refused(bl_launch(total, range, BL_MEM(y), BL_LOCAL(0)), BLANCH_EDEVICE, "total, argument 1", n);
    check(bl_launch(total, range, BL_MEM(y), BL_LOCAL(8 * 4)));
    assert_true(values()[0] == 28);
}

static void expect_sizes(struct bl_range range, size_t g0, size_t g1, size_t g2, size_t l0, size_t l1, size_t l2) {
    const size_t want[6] = {g0, g1, g2, l0, l1, l2};
    struct bl_kernel *sizes = kernel("sizes");
    check(bl_launch(sizes, range, BL_MEM(y)));
    const float *v = values();
    for (int i = 0; i < 6; i++)
        if (v[i] != (float)want[i]) fail_msg("size %d is %g, not %zu", i, v[i], want[i]);
}

/* No items count as one; work is rounded up to whole groups; an open group is a power of two within the limits. */
static void test_work_sizes(void **state) {
    expect_sizes((struct bl_range){.local = {1}}, 1, 1, 1, 1, 1, 1);
    expect_sizes((struct bl_range){.global = {5, 3, 2}, .local = {4, 2, 1}}, 8, 4, 2, 4, 2, 1);
    expect_sizes(BL_GROUPS1(7, 5, 3), 7, 5, 3, 1, 1, 1);
    expect_sizes(BL_ITEMS(3), 4, 1, 1, 4, 1, 1);
    size_t most = kernel("sizes") ? (size_t)blanch_device_info(device)->max_work_group : 0;
    size_t chosen = most < 64 || blanch_device_info(device)->max_work_item[0] < 64 ? 0 : 64;
    if (chosen) expect_sizes(BL_ITEMS(1000), 1024, 1, 1, 64, 1, 1);
}

/* A buffer that is not there is NULL in the kernel: for operands that are optional. */
static void test_no_buffer(void **state) {
    struct bl_kernel *optional = kernel("optional");
    check(bl_launch(optional, BL_ITEMS(1), BL_MEM(y), BL_MEM(NULL)));
    assert_true(values()[0] == -1);
    check(bl_mem_fill(y, 0, 8, 6));
    check(bl_launch(optional, BL_ITEMS(1), BL_MEM(y), BL_MEM(y)));
    assert_true(values()[0] == 6);
}

/* A dry launch is checked, but not run. */
static void test_dry(void **state) {
    struct bl_kernel *put = kernel("put");
    int64_t n = bl_launch_count(device);
    bl_dry(device, true);
    int code = bl_launch(put, BL_ITEMS(5), BL_MEM(y), BL_I32(5), BL_F32(9), BL_I64(0));
    int wrong = bl_launch(put, BL_ITEMS(5), BL_MEM(y));
    bl_dry(device, false);
    check(code);
    refused(wrong, BLANCH_EDEVICE, "put takes 4 arguments, 1 are given", n);
    assert_true(values()[0] == 0);
}

static void test_builds(void **state) {
    struct bl_kernel *k, *again;
    const struct bl_define define[] = {{"BROKEN", 1}};
    struct bl_kernel *put = kernel("put");
    check(bl_kernel_get(device, "own", "put", NULL, 0, &again));
    assert_ptr_equal(put, again);
    assert_string_equal(bl_kernel_name(put), "put");
    assert_int_equal(bl_kernel_get(device, "own", "nosuch", NULL, 0, &k), BLANCH_EDEVICE);
    assert_non_null(strstr(blanch_error_message(), "kernel nosuch of kernels/own.cl"));
    assert_int_equal(bl_kernel_get(device, "broken", "put", define, 1, &k), BLANCH_EDEVICE);
    assert_non_null(strstr(blanch_error_message(), "kernels/broken.cl"));
    assert_non_null(strstr(blanch_error_message(), "-DBROKEN=1"));
    assert_int_equal(bl_kernel_get(device, "absent", "put", NULL, 0, &k), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "absent.cl"));
    put_works(put, 8);
}

static int write_kernels(void) {
    char path[64];
    const char *const files[][2] = {{"own", source},
                                    {"broken", "kernel void put(global float *y) { y[0] = nothing; }"}};
    if (!mkdtemp(folder)) return 1;
    for (int i = 0; i < BL_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s.cl", folder, files[i][0]);
        FILE *f = fopen(path, "w");
        if (!f || fputs(files[i][1], f) < 0 || fclose(f)) return 1;
    }
    return setenv("BLANCH_KERNELS", folder, 1);
}

static void remove_kernels(void) {
    char path[64];
    snprintf(path, sizeof path, "%s/own.cl", folder), unlink(path);
    snprintf(path, sizeof path, "%s/broken.cl", folder), unlink(path);
    rmdir(folder);
}

/* --- the limits' measurement ------------------------------------------------------------------ */

/* A device whose first launches take `late` seconds each, whatever they do, and every launch `least` at least. */
struct machine {
    int calls, busy;
    double late, launch, unit, least;
};

static int run_machine(void *context, int units, double *seconds) {
    struct machine *m = context;
    double took = m->launch + m->unit * units;
    if (took < m->least) took = m->least;
    *seconds = m->calls++ < m->busy ? m->late : took;
    return 0;
}

static double rate_of(struct machine m) {
    const struct bl_growing work = {run_machine, &m, 1 << 26};
    double rate;
    assert_int_equal(bl_growing_rate(&work, &rate), 0);
    return rate;
}

/* 1e8 units a second, however many launches a busy machine or a compiler held up, and whatever one takes to begin. */
static void test_rate_of_growing_work(void **state) {
    const double unit = 1e-8, launch = 1.1e-5;
    for (int busy = 0; busy < 60; busy++) {
        const double slow = rate_of((struct machine){.busy = busy, .late = 0.02, .launch = launch, .unit = unit});
        const double slight = rate_of((struct machine){.busy = busy, .late = 4e-3, .launch = launch, .unit = unit});
        assert_true(slow > 99e6 && slow < 100e6);
        assert_true(slight > 99e6 && slight < 100e6);
    }
}

/* Nothing is said of work that takes no longer when there is more of it. */
static void test_rate_that_cannot_be_told(void **state) {
    assert_true(rate_of((struct machine){.least = 0.02}) == 0);
    assert_true(rate_of((struct machine){.launch = 1e-6}) == 0);
}

static int run_failing(void *context, int units, double *seconds) {
    *seconds = 1;
    return units < 4 ? 0 : bl_fail(BLANCH_EDEVICE, "lost");
}

static void test_rate_of_a_lost_device(void **state) {
    const struct bl_growing work = {run_failing, NULL, 1 << 26};
    double rate;
    assert_int_equal(bl_growing_rate(&work, &rate), BLANCH_EDEVICE);
    assert_true(rate == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_of_arguments),
        cmocka_unit_test(test_kind_of_arguments),
        cmocka_unit_test(test_struct),
        cmocka_unit_test(test_group_too_large),
        cmocka_unit_test(test_local_memory),
        cmocka_unit_test(test_work_sizes),
        cmocka_unit_test(test_no_buffer),
        cmocka_unit_test(test_dry),
        cmocka_unit_test(test_builds),
        cmocka_unit_test(test_rate_of_growing_work),
        cmocka_unit_test(test_rate_that_cannot_be_told),
        cmocka_unit_test(test_rate_of_a_lost_device),
    };
    if (write_kernels()) return perror(folder), 1;
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, open_all, close_all);
    failed += close_test_device(device);
    remove_kernels();
    return failed;
}
