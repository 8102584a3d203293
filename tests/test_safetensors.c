/* Safetensors and files: what is written is read back, every kind of damage is named, a failed write changes nothing.
 */
#include "io/files.h"
#include "io/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/blanch-safetensors-XXXXXX";
static char path[128];

static int set_up(void **state) {
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file.safetensors", folder);
    return 0;
}

static int tear_down(void **state) {
    unlink(path);
    return rmdir(folder);
}

/* What never ends is not read until memory does. */
static void test_no_files(void **state) {
    struct bl_safetensors *file;
    cJSON *json;
    assert_int_equal(bl_st_open(&file, "/dev/zero"), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "a device, not a file"));
    assert_int_equal(bl_json_read("/dev/zero", &json), BLANCH_EINPUT);
    assert_int_equal(bl_json_read(folder, &json), BLANCH_EINPUT);
}

static void test_round_trip(void **state) {
    const float weights[6] = {1, -2, 3.5f, 0, INFINITY, 1e-30f};
    const int64_t counter[1] = {1ll << 40};
    const uint8_t flags[3] = {0, 1, 255};
    const struct bl_st_tensor tensors[] = {
        {.name = "flags", .dtype = BL_U8, .dims = 1, .shape = {3}, .data = flags, .bytes = 3},
        {.name = "conv.weight", .dtype = BL_F32, .dims = 2, .shape = {2, 3}, .data = weights, .bytes = 24},
        {.name = "bn.num_batches_tracked", .dtype = BL_I64, .dims = 0, .data = counter, .bytes = 8},
        {.name = "empty", .dtype = BL_F32, .dims = 2, .shape = {0, 4}, .data = weights, .bytes = 0},
    };
    const char *const meta[] = {"kind", "test", "quoted", "a \"b\"\n", NULL};
    assert_int_equal(bl_st_write(path, tensors, BL_COUNT(tensors), meta), 0);
    struct bl_safetensors *file;
    assert_int_equal(bl_st_open(&file, path), 0);
    assert_int_equal(bl_st_count(file), 4);
    for (int i = 0; i < 4; i++) {
        const struct bl_st_tensor *tensor = bl_st_at(file, i);
        assert_string_equal(tensor->name, tensors[i].name);
        assert_ptr_equal(bl_st_find(file, tensors[i].name), tensor);
        assert_int_equal(tensor->dims, tensors[i].dims);
        assert_int_equal(tensor->bytes, tensors[i].bytes);
        assert_memory_equal(tensor->data, tensors[i].data, tensor->bytes);
    }
    assert_string_equal(bl_st_meta(file, "quoted"), "a \"b\"\n");
    assert_null(bl_st_meta(file, "other"));
    assert_null(bl_st_find(file, "other"));
    float floats[6];
    int64_t whole[3];
    assert_int_equal(bl_st_floats(bl_st_find(file, "conv.weight"), floats, 6), 0);
    assert_memory_equal(floats, weights, sizeof weights);
    assert_int_equal(bl_st_int64s(bl_st_find(file, "bn.num_batches_tracked"), whole, 1), 0);
    assert_int_equal(whole[0], 1ll << 40);
    assert_int_equal(bl_st_int64s(bl_st_find(file, "flags"), whole, 3), 0);
    assert_int_equal(whole[2], 255);
    assert_int_equal(bl_st_floats(bl_st_find(file, "conv.weight"), floats, 5), BLANCH_EINPUT);
    assert_int_equal(bl_st_int64s(bl_st_find(file, "conv.weight"), whole, 6), BLANCH_EINPUT);
    bl_st_close(file);
}

static void test_half_precision(void **state) {
    const uint16_t half[6] = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x7e00, 0x3555};
    const uint16_t bfloat[3] = {0x3f80, 0xc000, 0x7f80};
    const struct bl_st_tensor tensors[] = {
        {.name = "half", .dtype = BL_F16, .dims = 1, .shape = {6}, .data = half, .bytes = 12},
        {.name = "bfloat", .dtype = BL_BF16, .dims = 1, .shape = {3}, .data = bfloat, .bytes = 6},
    };
    float out[6];
    assert_int_equal(bl_st_floats(&tensors[0], out, 6), 0);
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f && isinf(out[3]) && isnan(out[4]));
    assert_true(fabsf(out[5] - 1 / 3.0f) < 1e-4f);
    assert_int_equal(bl_st_floats(&tensors[1], out, 3), 0);
    assert_true(out[0] == 1 && out[1] == -2 && isinf(out[2]));
}

/* --- damage ----------------------------------------------------------------------------------- */

static void write_raw(const char *header, uint64_t length, size_t data) {
    static const char zeros[64];
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&length, 8, 1, file);
    fwrite(header, 1, strlen(header), file);
    fwrite(zeros, 1, data, file);
    assert_int_equal(fclose(file), 0);
}

static const struct damage {
    const char *header;
    size_t data;
    const char *message;
} damages[] = {
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
    {"{}", 0, NULL},
    {"{}   ", 0, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "truncated"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "after the last tensor"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "'a': unknown dtype"},
    {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "'a': unknown dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "'a': the shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", 8, "'a': the shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":\"2\",\"data_offsets\":[0,8]}}", 8, "'a': the shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "'a': the shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,8]}}", 8, "'a': the shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "12 bytes by its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e300]}}", 8, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "gap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
     "\"data_offsets\":[2,6]}}",
     6, "overlaps"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\",\"shape\":[4],"
     "\"data_offsets\":[4,8]}}",
     8, "twice"},
    {"{\"a\":3}", 0, "no description"},
    {"{\"__metadata__\":{\"k\":3}}", 0, "not a string"},
    {"{\"__metadata__\":3}", 0, "not an object"},
    {"{\"a\":{\"dtype\"", 0, "not JSON"},
    {"[]", 0, "not JSON"},
    {"{} x", 0, "not JSON"},
};

static void test_damage(void **state) {
    for (int i = 0; i < BL_COUNT(damages); i++) {
        struct bl_safetensors *file;
        write_raw(damages[i].header, strlen(damages[i].header), damages[i].data);
        int rc = bl_st_open(&file, path);
        assert_int_equal(rc, damages[i].message ? BLANCH_EINPUT : 0);
        if (!damages[i].message) {
            bl_st_close(file);
            continue;
        }
        assert_null(file);
        assert_non_null(strstr(blanch_error_message(), path));
        if (!strstr(blanch_error_message(), damages[i].message)) fail_msg("case %d: %s", i, blanch_error_message());
    }
}

static void test_bad_length(void **state) {
    struct bl_safetensors *file;
    static const uint64_t lengths[] = {3, 0, UINT64_MAX, 1ull << 62};
    for (int i = 0; i < BL_COUNT(lengths); i++) {
        write_raw("{}", lengths[i], 0);
        assert_int_equal(bl_st_open(&file, path), BLANCH_EINPUT);
    }
    assert_int_equal(bl_file_write(path, "abc", 3), 0);
    assert_int_equal(bl_st_open(&file, path), BLANCH_EINPUT);
    assert_int_equal(bl_st_open(&file, "/nonexistent/file"), BLANCH_EINPUT);
}

/* --- files ------------------------------------------------------------------------------------ */

static void test_failed_write(void **state) {
    struct bl_replace file;
    char *data, *temporary;
    size_t size;
    assert_int_equal(bl_file_write(path, "former", 6), 0);
    assert_int_equal(bl_replace_open(&file, path), 0);
    assert_int_equal(bl_replace_write(&file, "half of", 7), 0);
    assert_non_null(temporary = bl_strdup(file.temporary));
    assert_true(bl_path_exists(temporary));
    assert_int_equal(bl_replace_close(&file, BLANCH_EIO), BLANCH_EIO);
    assert_false(bl_path_exists(temporary));
    assert_int_equal(bl_file_read(path, &data, &size), 0);
    assert_string_equal(data, "former");
    free(data);
    free(temporary);
    if (!access("/dev/full", W_OK)) {
        assert_int_equal(bl_file_write("/dev/full", "x", 1), BLANCH_EIO);
        assert_non_null(strstr(blanch_error_message(), "/dev/full"));
        assert_true(bl_path_exists("/dev/full"));
    }
    assert_int_equal(bl_file_write("/nonexistent/file", "x", 1), BLANCH_EIO);
}

static void test_folders(void **state) {
    char *deep = bl_format("%s/a//b/", folder), *below = bl_format("%s/a/b/file/c", folder),
         *file = bl_format("%s/a/b/file", folder);
    assert_int_equal(bl_make_dirs(deep), 0);
    assert_int_equal(bl_make_dirs(deep), 0);
    assert_int_equal(bl_file_write(file, "", 0), 0);
    assert_int_equal(bl_make_dirs(below), BLANCH_EIO);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(deep), 0);
    deep[strlen(deep) - 3] = 0;
    assert_int_equal(rmdir(deep), 0);
    free(deep);
    free(below);
    free(file);
}

static void test_json(void **state) {
    cJSON *json = cJSON_CreateObject(), *read;
    assert_true(cJSON_AddItemToObject(json, "third", bl_json_number(1 / 3.0, 4)));
    assert_true(cJSON_AddItemToObject(json, "nan", bl_json_number(NAN, 4)));
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, "{\"third\":0.3333,\"nan\":null}");
    cJSON_free(text);
    assert_int_equal(bl_json_write(path, json), 0);
    assert_int_equal(bl_json_read(path, &read), 0);
    assert_true(cJSON_Compare(json, read, true));
    cJSON_Delete(read);
    FILE *log = fopen(path, "wb");
    assert_non_null(log);
    assert_int_equal(bl_json_line(log, json, path), 0);
    assert_int_equal(fclose(log), 0);
    assert_int_equal(bl_file_write(path, "{\n\"a\": 1,\n}", 11), 0);
    assert_int_equal(bl_json_read(path, &read), BLANCH_EINPUT);
    assert_non_null(strstr(blanch_error_message(), "line 3"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_files), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_half_precision),
        cmocka_unit_test(test_damage),   cmocka_unit_test(test_bad_length), cmocka_unit_test(test_failed_write),
        cmocka_unit_test(test_folders),  cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
