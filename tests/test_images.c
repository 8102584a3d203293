/* Image files: each kind against what PIL makes of it (reference/images.py); cut off at every length; what is no file
 * of pixels; how much memory is taken. */
#include "datasets.h"
#include "internal.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifdef BL_HAVE_JPEG
enum { LOSSY = 0 };
#else
enum { LOSSY = 6 }; // levels by which stb_image's JPEG differs
#endif

static cJSON *cases;

/* --- helpers ---------------------------------------------------------------------------------- */

static const char *text(const cJSON *item, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItem(item, key));
}

static size_t from_hex(const char *hex, uint8_t **bytes) {
    size_t size = strlen(hex) / 2;
    *bytes = malloc(size + 1);
    assert_non_null(*bytes);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        (*bytes)[i] = (uint8_t)byte;
    }
    return size;
}

static size_t write_case(const char *path, const cJSON *item) {
    uint8_t *bytes;
    size_t size = from_hex(text(item, "file"), &bytes);
    write_file(path, bytes, size);
    free(bytes);
    return size;
}

static bool is_lossy(const cJSON *item) {
    return cJSON_IsTrue(cJSON_GetObjectItem(item, "lossy"));
}

/* What is read rightly with libjpeg and libpng alone may be refused without them, but for a reason; stb_image takes no
 * bytes before a JPEG's marker. */
static bool needs_library(const char *message) {
#if defined(BL_HAVE_JPEG) && defined(BL_HAVE_PNG)
    return false;
#else
    return strstr(message, "is not read without lib") || strstr(message, "expected marker");
#endif
}

/* stb_image notices nothing where a JPEG that is damaged ends as it should. */
static bool goes_unnoticed(const cJSON *item) {
#ifdef BL_HAVE_JPEG
    return false;
#else
    return !strcmp(text(item, "refused"), "the JPEG is damaged");
#endif
}

static void compare(const cJSON *item, const struct bl_pixels *pixels, int tolerance) {
    uint8_t *wanted;
    const char *name = text(item, "name");
    size_t size = from_hex(text(item, "rgb"), &wanted);
    if (pixels->width != (int)cJSON_GetObjectItem(item, "width")->valuedouble ||
        (size_t)pixels->width * (size_t)pixels->height * 3 != size || pixels->channels != 3)
        fail_msg("%s: %dx%d", name, pixels->width, pixels->height);
    for (size_t i = 0; i < size; i++)
        if (abs(pixels->data[i] - wanted[i]) > tolerance)
            fail_msg("%s: value %zu is %d, not %d", name, i, pixels->data[i], wanted[i]);
    free(wanted);
}

/* --- kinds ------------------------------------------------------------------------------------ */

static void check_case(const cJSON *item) {
    const char *name = text(item, "name"), *refused = text(item, "refused"), *path = in("images", "case");
    struct bl_pixels pixels;
    int width, height;
    write_case(path, item);
    int code = bl_image_read(path, &pixels);
    if (code && code != BLANCH_EINPUT) fail_msg("%s: %s", name, blanch_error_message());
    if (!code && refused && !goes_unnoticed(item)) fail_msg("%s is read", name);
    if (code && !strstr(blanch_error_message(), refused ? refused : "") && !needs_library(blanch_error_message()))
        fail_msg("%s: %s", name, blanch_error_message());
    if (code && !refused && !needs_library(blanch_error_message())) fail_msg("%s: %s", name, blanch_error_message());
    if (code) return;
    if (!refused) compare(item, &pixels, is_lossy(item) ? LOSSY : 0);
    assert_int_equal(bl_image_size(path, &width, &height), 0);
    assert_true(width == pixels.width && height == pixels.height);
    bl_pixels_free(&pixels);
}

static void test_kinds(void **state) {
    const cJSON *item;
    cJSON_ArrayForEach(item, cases) check_case(item);
    assert_true(cJSON_GetArraySize(cases) > 150);
}

/* Nothing is made up where a file ends early: of every length, it is refused or gives the same pixels. */
static void cut_everywhere(const cJSON *item) {
    const char *path = in("images", "cut");
    struct bl_pixels whole, pixels;
    size_t size = write_case(path, item);
    if (bl_image_read(path, &whole)) return;
    size_t bytes = (size_t)whole.width * (size_t)whole.height * 3;
    while (--size) {
        assert_int_equal(truncate(path, (off_t)size), 0);
        int code = bl_image_read(path, &pixels);
        if (code == BLANCH_EINPUT) continue;
        if (code || pixels.width != whole.width || memcmp(pixels.data, whole.data, bytes))
            fail_msg("%s: read otherwise of %zu bytes", text(item, "name"), size);
        bl_pixels_free(&pixels);
    }
    bl_pixels_free(&whole);
}

static void test_cut_off(void **state) {
    const cJSON *item;
    cJSON_ArrayForEach(item, cases) cut_everywhere(item);
}

static void test_names(void **state) {
    static const char *const images[] = {"a.jpg", "a.JPEG", "a.jpe", "a.png", "a.bmp",  "a.Gif",
                                         "a.tga", "a.pbm",  "a.pgm", "a.ppm", "a.b.pnm"};
    static const char *const others[] = {"jpg", "a.webp", "a.tif", "a.txt", "a.jpg.part", "a."};
    for (int i = 0; i < BL_COUNT(images); i++) assert_true(bl_image_named(images[i]));
    for (int i = 0; i < BL_COUNT(others); i++) assert_false(bl_image_named(others[i]));
}

/* --- memory ----------------------------------------------------------------------------------- */

static void refused_for(const char *path, const char *reason) {
    struct bl_pixels pixels;
    int width, height;
    assert_int_equal(bl_image_read(path, &pixels), BLANCH_EINPUT);
    if (!strstr(blanch_error_message(), reason)) fail_msg("%s", blanch_error_message());
    assert_null(pixels.data);
    assert_int_equal(bl_image_size(path, &width, &height), BLANCH_EINPUT);
}

/* None of these holds the reader up, or takes memory. */
static void test_no_file_of_pixels(void **state) {
    const char *path = in("images", "pipe.png");
    assert_int_equal(mkfifo(path, 0600), 0);
    refused_for(path, "not a regular file");
    path = in("images", "zero.png");
    assert_int_equal(symlink("/dev/zero", path), 0);
    refused_for(path, "not a regular file");
    refused_for(in("images", ""), "not a regular file");
    path = in("images", "sparse.png");
    write_file(path, "\x89PNG", 4);
    assert_int_equal(truncate(path, (off_t)3 << 30), 0);
    refused_for(path, "too large");
    write_file(path, "", 0);
    refused_for(path, "empty");
}

enum { SIDE = 13377, READERS = 4 }; // about the largest square: 512 MiB

static void *read_large(void *path) {
    struct bl_pixels pixels;
    bool ok = !bl_image_read(path, &pixels) && pixels.width == SIDE && pixels.data[(size_t)SIDE * SIDE * 3 - 1] == 255;
    bl_pixels_free(&pixels);
    return ok ? path : NULL;
}

static long peak_mib(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_maxrss >> 10;
}

/* In a process of its own: what others took does not count. */
static int measure_memory(const char *path) {
    pthread_t threads[READERS];
    const cJSON *item;
    long before = peak_mib();
    cJSON_ArrayForEach(item, cases) if (text(item, "refused")) check_case(item);
    if (peak_mib() > before + 32) return 1;
    uint8_t *bits = calloc((SIDE + 7) / 8, SIDE);
    FILE *file = fopen(path, "wb");
    if (!bits || !file) return 2;
    fprintf(file, "P4 %d %d\n", SIDE, SIDE);
    fwrite(bits, (SIDE + 7) / 8, SIDE, file);
    fclose(file);
    free(bits);
    for (int i = 0; i < READERS; i++)
        if (pthread_create(&threads[i], NULL, read_large, (void *)path)) return 3;
    for (int i = 0; i < READERS; i++) {
        void *read;
        pthread_join(threads[i], &read);
        if (!read) return 4;
    }
    return peak_mib() < before + 1536 ? 0 : 5; // two at a time, not all
}

static void test_memory(void **state) {
    int status;
    pid_t child = fork();
    if (!child) _exit(measure_memory(in("images", "large.pbm")));
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- set-up ----------------------------------------------------------------------------------- */

static int set_up_cases(void **state) {
    uint8_t *bytes;
    size_t size;
    if (set_up(state) || bl_data_read(REFERENCE_DIR "/images.json", &bytes, &size)) return -1;
    cases = cJSON_ParseWithLength((const char *)bytes, size);
    free(bytes);
    make_folder(in("images", ""));
    return cases ? 0 : -1;
}

static int tear_down_cases(void **state) {
    cJSON_Delete(cases);
    return tear_down(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds), cmocka_unit_test(test_cut_off),
                                       cmocka_unit_test(test_names), cmocka_unit_test(test_no_file_of_pixels),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, set_up_cases, tear_down_cases);
}
