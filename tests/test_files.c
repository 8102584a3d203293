/* Files that take another's place, what crashes leave, what other users put there; caches and their entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka.h needs those above
#include <cmocka.h>

#include "base/cache.h"
#include "base/private.h"
#include "cl/entry.h"
#include "io/files.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/blanch-files-XXXXXX", path[64], warned[512];
static int warnings;

static void keep_warning(void *context, const char *line) {
    snprintf(warned, sizeof warned, "%s", line);
    warnings++;
}

static int mode_of(const char *file) {
    struct stat status;
    return lstat(file, &status) ? -1 : (int)(status.st_mode & 07777);
}

static int count_files(void) {
    DIR *list = opendir(folder);
    int count = -2; // . and ..
    assert_non_null(list);
    while (readdir(list)) count++;
    closedir(list);
    return count;
}

static void begin(struct bl_replace *file) {
    assert_int_equal(bl_replace_open(file, path), 0);
    assert_int_equal(bl_replace_write(file, "new", 3), 0);
}

/* --- replacing -------------------------------------------------------------------------------- */

static void test_temporary_is_private(void **state) {
    static const mode_t masks[] = {022, 0, 077};
    struct bl_replace file, second;
    const mode_t before = umask(0);
    for (int i = 0; i < BL_COUNT(masks); i++) {
        umask(masks[i]);
        begin(&file), begin(&second);
        assert_int_equal(mode_of(file.temporary), 0600);
        assert_string_not_equal(file.temporary, second.temporary);
        assert_int_equal(bl_replace_close(&file, 0), 0);
        assert_int_equal(bl_replace_close(&second, 0), 0);
        assert_int_equal(mode_of(path), (int)(0666 & ~masks[i]));
        assert_int_equal(umask(before), masks[i]);
        assert_int_equal(count_files(), 1);
    }
    assert_int_equal(unlink(path), 0);
}

/* A writer that is stopped, or slow, keeps its file; one that was killed leaves it to the next. */
static void test_what_a_crash_left(void **state) {
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct bl_replace file;
        begin(&file);
        if (write(ready[1], "", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(bl_file_write(path, "mine", 4), 0);
    assert_int_equal(count_files(), 2);
    bl_replace_clear_path(folder);
    assert_int_equal(count_files(), 2);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(bl_file_write(path, "mine", 4), 0);
    assert_int_equal(count_files(), 1);
    assert_int_equal(unlink(path), 0);
    close(ready[0]), close(ready[1]);
}

static void test_others_files_stay(void **state) {
    static const char *const names[] = {"file.tmp", "file.0123456789abcdeg.tmp", "file.0123456789abcdef.tmpx",
                                        ".0123456789abcdef.tmp", "else.0123456789abcdef.tmp"};
    for (int i = 0; i < BL_COUNT(names); i++) {
        char *other = bl_format("%s/%s", folder, names[i]);
        assert_int_equal(close(open(other, O_CREAT | O_WRONLY, 0600)), 0);
        assert_int_equal(bl_file_write(path, "mine", 4), 0);
        assert_true(bl_path_exists(other));
        assert_int_equal(unlink(other), 0);
        free(other);
    }
    assert_int_equal(unlink(path), 0);
}

/* A link to a file gives way to the file; the log is not opened through it. */
static void test_links(void **state) {
    char *target = bl_format("%s/target", folder), *data;
    size_t size;
    assert_int_equal(bl_file_write(target, "former", 6), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_null(bl_log_open(path));
    assert_non_null(strstr(blanch_error_message(), "it is a link"));
    assert_int_equal(bl_file_write(path, "new", 3), 0);
    assert_int_equal(bl_file_read(target, &data, &size), 0);
    assert_string_equal(data, "former");
    free(data);
    assert_int_equal(unlink(target), 0), assert_int_equal(unlink(path), 0);
    free(target);
}

/* Opening either would wait without end. */
static void test_what_others_put_there(void **state) {
    struct bl_replace file;
    char *data;
    size_t size;
    assert_false(bl_is_trap("/dev/null"));
    if (geteuid()) skip();
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            assert_int_equal(mkfifo(path, 0666), 0);
        else
            assert_int_equal(symlink("/dev/zero", path), 0);
        assert_false(bl_is_trap(path) || bl_is_planted(path));
        assert_int_equal(bl_file_read(path, &data, &size), BLANCH_EINPUT); // this user's own neither
        assert_int_equal(lchown(path, 12345, 12345), 0);
        assert_int_equal(bl_file_read(path, &data, &size), BLANCH_EINPUT);
        assert_int_equal(bl_replace_open(&file, path), BLANCH_EIO);
        assert_int_equal(unlink(path), 0);
    }
}

/* --- caches ----------------------------------------------------------------------------------- */

static const struct bl_part part = {"text", 4};

static char *cached(const char *name) {
    return bl_format("%s/blanch/test/%s", folder, name);
}

static void test_cache(void **state) {
    struct bl_cache cache;
    size_t size = 0;
    bl_cache_open(&cache, "test");
    assert_non_null(cache.path);
    assert_int_equal(mode_of(cache.path), 0700);
    assert_null(bl_cache_read(&cache, "a", &size));
    bl_cache_write(&cache, "a", &part, 1);
    char *a = cached("a"), *data = bl_cache_read(&cache, "a", &size);
    assert_non_null(data);
    assert_string_equal(data, "text"), assert_int_equal(size, 4), assert_int_equal(mode_of(a), 0600);
    free(data);
    assert_int_equal(chmod(a, 0620), 0);
    assert_null(bl_cache_read(&cache, "a", &size));
    bl_cache_write(&cache, "a", &part, 1);
    assert_non_null(data = bl_cache_read(&cache, "a", &size));
    free(data);
    if (!geteuid()) {
        assert_int_equal(chown(a, 12345, 12345), 0);
        assert_null(bl_cache_read(&cache, "a", &size));
    }
    bl_cache_close(&cache);
    assert_null(bl_cache_read(&cache, "a", &size));
    assert_int_equal(warnings, 0);
    free(a);
}

static void test_what_is_no_cached_file(void **state) {
    struct bl_cache cache;
    size_t size;
    bl_cache_open(&cache, "test");
    char *link = cached("link"), *pipe = cached("pipe"), *within = cached("folder"), *huge = cached("huge");
    assert_int_equal(symlink("a", link), 0), assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(mkdir(within, 0700), 0);
    int fd = open(huge, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0), assert_int_equal(close(fd), 0);
    char *const all[] = {link, pipe, huge, within};
    for (int i = 0; i < BL_COUNT(all); i++) {
        const char *name = strrchr(all[i], '/') + 1;
        assert_null(bl_cache_read(&cache, name, &size));
        bl_cache_write(&cache, name, &part, 1); // a folder stays, and is said to
        char *data = bl_cache_read(&cache, name, &size);
        assert_int_equal(data != NULL, all[i] != within);
        free(data), free(all[i]);
    }
    assert_int_equal(warnings, 1);
    bl_cache_close(&cache);
}

static void test_distrusted_folder(void **state) {
    char *at[] = {bl_format("%s/blanch", folder), bl_format("%s/blanch/test", folder)};
    struct bl_cache cache;
    for (int i = 0; i < BL_COUNT(at); i++) {
        assert_int_equal(chmod(at[i], 01770), 0);
        warnings = 0;
        for (int again = 0; again < 2; again++) {
            bl_cache_open(&cache, "test");
            assert_null(cache.path);
        }
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(warned, at[i])), assert_non_null(strstr(warned, "mode 1770"));
        assert_int_equal(chmod(at[i], 0700), 0);
        if (!geteuid()) {
            assert_int_equal(chown(at[i], 12345, 12345), 0);
            bl_cache_open(&cache, "test");
            assert_null(cache.path), assert_int_equal(warnings, 2), assert_non_null(strstr(warned, "(12345)"));
            assert_int_equal(chown(at[i], 0, 0), 0);
        }
        bl_cache_open(&cache, "test");
        assert_non_null(cache.path);
        bl_cache_close(&cache), free(at[i]);
    }
}

/* As on a full disk: the former files stay, nothing is left over. */
static void test_no_room(void **state) {
    const struct rlimit few = {16, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
    static const char more[64];
    struct bl_cache cache;
    size_t size;
    char *data;
    bl_cache_open(&cache, "test");
    bl_cache_write(&cache, "full", &part, 1);
    assert_int_equal(bl_file_write(path, "former", 6), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    warnings = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
    for (int i = 0; i < 2; i++) bl_cache_write(&cache, "full", &(struct bl_part){more, sizeof more}, 1);
    const int code = bl_file_write(path, more, sizeof more);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_int_equal(code, BLANCH_EIO);
    assert_int_equal(warnings, 1), assert_non_null(strstr(warned, strerror(EFBIG)));
    assert_int_equal(bl_file_read(path, &data, &size), 0);
    assert_string_equal(data, "former");
    free(data);
    assert_non_null(data = bl_cache_read(&cache, "full", &size));
    assert_string_equal(data, "text");
    free(data);
    assert_int_equal(count_files(), 2); // with the cache
    assert_int_equal(unlink(path), 0);
    bl_cache_close(&cache);
}

/* --- entries of programs ---------------------------------------------------------------------- */

static const char key[] = "options\ndevice\nsource", body[] = "\177ELF and so on";

static void test_entry(void **state) {
    struct bl_cache cache;
    size_t size, body_size;
    bl_cache_open(&cache, "test");
    bl_entry_write(&cache, "entry", key, body, sizeof body);
    char *data = bl_cache_read(&cache, "entry", &size);
    assert_non_null(data);
    const unsigned char *found = bl_entry_body(data, size, key, &body_size);
    assert_non_null(found);
    assert_int_equal(body_size, sizeof body), assert_memory_equal(found, body, body_size);
    assert_null(bl_entry_body(data, size, "options\ndevice\nsourcf", &body_size));
    assert_null(bl_entry_body(data, size, "options", &body_size));
    for (size_t i = 0; i < size; i++) {
        assert_null(bl_entry_body(data, i, key, &body_size));
        for (int bit = 1; bit < 256; bit *= 2) { // one of the user who wrote it among them
            data[i] ^= (char)bit;
            assert_null(bl_entry_body(data, size, key, &body_size));
            data[i] ^= (char)bit;
        }
    }
    free(data);
    bl_cache_close(&cache);
}

static int set_up(void **state) {
    if (!mkdtemp(folder) || setenv("XDG_CACHE_HOME", folder, 1)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    blanch_log_set(keep_warning, NULL);
    return 0;
}

static int tear_down(void **state) {
    char *command = bl_format("rm -rf '%s'", folder);
    int status = command ? system(command) : -1;
    free(command);
    return status;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_temporary_is_private),
        cmocka_unit_test(test_what_a_crash_left),
        cmocka_unit_test(test_others_files_stay),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_what_others_put_there),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_what_is_no_cached_file),
        cmocka_unit_test(test_distrusted_folder),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_entry),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
