/* Buffers and their parts: alignment, shared memory, bounds, transfers at offsets, what counts as used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "harness.h"
#include <string.h>

enum { FLOATS = 1024, BYTES = 4 * FLOATS };

static struct blanch_device *device;
static struct bl_mem *whole;
static float was[FLOATS], got[FLOATS];

/* A buffer of 0, 1, 2, ... */
static int open_buffer(void **state) {
    if (!device) return 0;
    for (int i = 0; i < FLOATS; i++) was[i] = (float)i;
    return bl_mem_alloc(device, BYTES, &whole) || bl_mem_write(whole, 0, BYTES, was);
}

static int close_buffer(void **state) {
    bl_mem_free(whole);
    whole = NULL;
    return 0;
}

static void need_device(void) {
    if (!device) skip();
}

/* The buffer holds `was` but for count floats from first, which are all of a value. */
static void expect(int first, int count, float value) {
    check(bl_mem_read(whole, 0, BYTES, got));
    for (int i = 0; i < FLOATS; i++) {
        float want = i >= first && i < first + count ? value : was[i];
        if (got[i] != want) fail_msg("float %d is %g, not %g", i, got[i], want);
    }
}

static void refused(int code, int want, const char *word) {
    if (code != want) fail_msg("returned %d, not %d", code, want);
    if (!strstr(blanch_error_message(), word)) fail_msg("no '%s' in: %s", word, blanch_error_message());
}

static void test_sizes(void **state) {
    need_device();
    struct bl_mem *mem = whole;
    uint64_t used = bl_mem_used(device);
    refused(bl_mem_alloc(device, 0, &mem), BLANCH_ELIMIT, "no bytes");
    assert_null(mem);
    refused(bl_mem_alloc(device, (size_t)blanch_device_info(device)->max_alloc + 1, &mem), BLANCH_ELIMIT, "allows");
    assert_null(mem);
    assert_int_equal(bl_mem_used(device), used);
    check(bl_mem_alloc(device, 4096, &mem));
    assert_int_equal(bl_mem_size(mem), 4096);
    assert_int_equal(bl_mem_used(device), used + 4096);
    assert_true(bl_mem_peak(device) >= used + 4096);
    bl_mem_free(mem);
    assert_int_equal(bl_mem_used(device), used);
    bl_mem_free(NULL);
}

static void test_part_bounds(void **state) {
    need_device();
    const size_t align = bl_mem_align(device), far = SIZE_MAX - align + 1;
    const struct {
        size_t offset, bytes;
    } wrong[] = {{0, 0}, {0, BYTES + 1}, {align, BYTES - align + 1}, {BYTES, 4}, {BYTES + align, 4}, {far, 2 * align}};
    for (int i = 0; i < BL_COUNT(wrong); i++) {
        struct bl_mem *part = whole;
        refused(bl_mem_part(whole, wrong[i].offset, wrong[i].bytes, &part), BLANCH_ELIMIT, "part");
        assert_null(part);
    }
    assert_true(align >= 64 && align % 64 == 0);
    struct bl_mem *part = whole;
    assert_int_equal(bl_mem_part(whole, 4, 4, &part), BLANCH_EDEVICE); // not aligned: the driver refuses it
    assert_null(part);
}

static void test_parts_share(void **state) {
    need_device();
    const size_t align = bl_mem_align(device);
    const int at = (int)(align / 4);
    uint64_t used = bl_mem_used(device);
    struct bl_mem *part, *inner, *last;
    check(bl_mem_part(whole, align, BYTES - align, &part));
    check(bl_mem_part(part, align, align, &inner)); // a part of a part counts from its parent
    check(bl_mem_part(whole, BYTES - align, align, &last));
    assert_int_equal(bl_mem_size(inner), align);
    assert_int_equal(bl_mem_used(device), used); // they share memory
    check(bl_mem_read(inner, 0, align, got));
    assert_true(got[0] == was[2 * at] && got[at - 1] == was[3 * at - 1]);
    check(bl_mem_fill(inner, 0, align, -1));
    expect(2 * at, at, -1);
    check(bl_mem_read(part, align, align, got));
    assert_true(got[0] == -1 && got[at - 1] == -1);
    check(bl_mem_copy(whole, 8 * align, inner, 0, align));
    check(bl_mem_read(part, align, align, got));
    assert_memory_equal(got, was + 8 * at, align);
    check(bl_mem_write(inner, 0, align, was + 2 * at));
    check(bl_mem_fill(last, 4, 4, 7));
    expect(FLOATS - at + 1, 1, 7);
    bl_mem_free(last), bl_mem_free(inner), bl_mem_free(part);
    assert_int_equal(bl_mem_used(device), used);
    expect(FLOATS - at + 1, 1, 7); // the parent outlives its parts
}

static void test_transfers(void **state) {
    need_device();
    const float three[3] = {5, 5, 5};
    check(bl_mem_write(whole, 4 * 17, sizeof three, three));
    expect(17, 3, 5);
    check(bl_mem_write(whole, 4 * 17, sizeof three, was + 17));
    check(bl_mem_fill(whole, 4 * 1000, 4 * 24, 2.5f)); // up to the end
    expect(1000, 24, 2.5f);
    check(bl_mem_read(whole, 4 * 998, 4 * 3, got));
    assert_true(got[0] == 998 && got[1] == 999 && got[2] == 2.5f);
    check(bl_mem_copy(whole, 4 * 500, whole, 4 * 1000, 4 * 24));
    check(bl_mem_read(whole, 4 * 1000, 4 * 24, got));
    assert_memory_equal(got, was + 500, 4 * 24);
}

/* What reaches beyond a buffer or a part fails, and changes nothing. */
static void test_beyond(void **state) {
    need_device();
    const size_t align = bl_mem_align(device);
    struct bl_mem *part;
    check(bl_mem_part(whole, 0, align, &part));
    struct bl_mem *mems[] = {whole, part};
    for (int i = 0; i < BL_COUNT(mems); i++) {
        size_t size = bl_mem_size(mems[i]);
        refused(bl_mem_write(mems[i], size - 4, 8, got), BLANCH_ELIMIT, "a write of 8 bytes");
        refused(bl_mem_read(mems[i], size, 4, got), BLANCH_ELIMIT, "a read of 4 bytes");
        refused(bl_mem_fill(mems[i], size - 4, 8, 1), BLANCH_ELIMIT, "a fill of 8 bytes");
        refused(bl_mem_copy(mems[i], size - 4, whole, 2 * align, 8), BLANCH_ELIMIT, "a copy of 8 bytes");
        refused(bl_mem_copy(whole, 2 * align, mems[i], size - 4, 8), BLANCH_ELIMIT, "a copy of 8 bytes");
    }
    assert_int_equal(bl_mem_write(whole, SIZE_MAX - 3, 8, got), BLANCH_ELIMIT); // the sum would be small
    bl_mem_free(part);
    expect(0, 0, 0);
}

/* While dry, nothing is written; reading goes on. */
static void test_dry(void **state) {
    need_device();
    bl_dry(device, true);
    check(bl_mem_fill(whole, 0, BYTES, 1));
    check(bl_mem_write(whole, 0, 4, got));
    check(bl_mem_copy(whole, 0, whole, BYTES / 2, BYTES / 2));
    int beyond = bl_mem_fill(whole, 4, BYTES, 1);
    bl_dry(device, false);
    assert_int_equal(beyond, BLANCH_ELIMIT); // checked all the same
    expect(0, 0, 0);
}

int main(void) {
#define WITH_BUFFER(test) cmocka_unit_test_setup_teardown(test, open_buffer, close_buffer)
    const struct CMUnitTest tests[] = {
        WITH_BUFFER(test_sizes),     WITH_BUFFER(test_part_bounds), WITH_BUFFER(test_parts_share),
        WITH_BUFFER(test_transfers), WITH_BUFFER(test_beyond),      WITH_BUFFER(test_dry),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    blanch_device_close(device); // its commands are transfers alone: no kernel runs
    return failed;
}
