/* What Windows does otherwise than POSIX, through the functions that hide it: the files that runs and caches are made
 * of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/path.h"
#include "io/directory.h"
#include "io/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/file.h>
#include <unistd.h>

static char folder[] = "/blanch-windows-XXXXXX", path[128];

static void write_text(const char *to, const char *text) {
    assert_int_equal(bl_file_write(to, text, strlen(text)), 0);
}

static void assert_text(const char *from, const char *expected) {
    char *text;
    size_t size;
    assert_int_equal(bl_file_read(from, &text, &size), 0);
    assert_string_equal(text, expected);
    free(text);
}

static int count_entries(const char *of) {
    DIR *dir = opendir(of);
    int count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    assert_int_equal(closedir(dir), 0);
    return count;
}

static void test_what_is_written_is_what_was_given(void **state) {
    write_text(path, "one\ntwo\r\n\x1a three");
    assert_text(path, "one\ntwo\r\n\x1a three");
    FILE *log = bl_log_open(path);
    assert_non_null(log);
    assert_true(fputs("four\n", log) >= 0 && !fclose(log));
    assert_text(path, "one\ntwo\r\n\x1a three"
                      "four\n");
}

/* Who reads the former one reads on; where the file system has no such renaming, the former stays, whole. */
static void test_what_is_open_is_replaced_or_stays(void **state) {
    char former[4] = "";
    write_text(path, "old");
    FILE *reader = fopen(path, "r");
    assert_non_null(reader);
    const int code = bl_file_write(path, "new", 3);
    if (code) assert_int_equal(code, BLANCH_EIO);
    assert_text(path, code ? "old" : "new");
    assert_int_equal(fread(former, 1, 3, reader), 3);
    assert_string_equal(former, "old");
    assert_int_equal(fclose(reader), 0);
    assert_int_equal(count_entries(folder), 1);
    write_text(path, "new");
    assert_text(path, "new");
}

static void test_what_is_given_up_leaves_the_former(void **state) {
    struct bl_replace file;
    write_text(path, "old");
    assert_int_equal(bl_replace_open(&file, path), 0);
    assert_int_equal(bl_replace_write(&file, "new", 3), 0);
    assert_int_equal(count_entries(folder), 2);
    assert_int_equal(bl_replace_close(&file, BLANCH_EIO), BLANCH_EIO);
    assert_text(path, "old");
    assert_int_equal(count_entries(folder), 1);
}

/* One whose process lives stays, since it is locked. */
static void test_a_crash_s_temporary_files_go(void **state) {
    struct bl_replace file;
    char left[160];
    snprintf(left, sizeof left, "%s.0123456789abcdef.tmp", path);
    fclose(fopen(left, "w"));
    assert_int_equal(bl_replace_open(&file, path), 0);
    assert_int_not_equal(access(left, F_OK), 0);
    bl_replace_clear_path(folder);
    assert_int_equal(bl_replace_write(&file, "kept", 4), 0);
    assert_int_equal(bl_replace_close(&file, 0), 0);
    assert_text(path, "kept");
}

static void test_a_folder_has_one_user(void **state) {
    struct bl_lock lock, other;
    assert_int_equal(bl_lock_take(&lock, folder, "train"), 0);
    assert_false(lock.unsupported);
    assert_int_equal(bl_lock_take(&other, folder, "train"), BLANCH_EUSAGE);
    write_text(path, "by its user");
    assert_int_equal(bl_directory_used(folder, bl_is_left_over), 1);
    assert_int_equal(remove(path), 0);
    bl_lock_release(&lock);
    assert_int_equal(bl_lock_take(&lock, folder, "train"), 0);
    bl_lock_release(&lock);
}

static void test_a_lock_keeps_nobody_from_reading(void **state) {
    write_text(path, "read");
    const int one = open(path, O_RDWR), other = open(path, O_RDWR);
    char text[5] = "";
    assert_int_equal(flock(one, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    assert_int_equal(read(other, text, 4), 4);
    assert_string_equal(text, "read");
    close(one);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    close(other);
}

static void test_files_are_told_apart(void **state) {
    struct stat one, other, whole;
    char second[160];
    snprintf(second, sizeof second, "%s.other", path);
    write_text(path, "12345");
    write_text(second, "12345");
    assert_int_equal(stat(path, &one), 0);
    assert_int_equal(stat(second, &other), 0);
    assert_int_equal(stat(folder, &whole), 0);
    assert_true(one.st_dev == other.st_dev && one.st_ino != other.st_ino);
    assert_true(S_ISREG(one.st_mode) && one.st_size == 5 && S_ISDIR(whole.st_mode));
    assert_int_equal(remove(second), 0);
    assert_int_equal(stat(second, &other), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(stat("NUL", &other), 0);
    assert_true(S_ISCHR(other.st_mode));
}

static void test_folders_are_no_files(void **state) {
    assert_int_equal(open(folder, O_RDONLY), -1);
    assert_int_equal(errno, EISDIR);
    write_text(path, "");
    assert_int_equal(open(path, O_RDONLY | O_DIRECTORY), -1);
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(remove(folder), -1);
    assert_int_equal(errno, ENOTEMPTY);
    assert_int_equal(bl_file_write("a<b", "", 0), BLANCH_EIO);
    assert_non_null(strstr(blanch_error_message(), "Invalid argument"));
    assert_false(bl_path_exists("a<b"));
}

static void test_paths(void **state) {
    assert_string_equal(bl_path_name("C:\\runs/mine\\best.safetensors"), "best.safetensors");
    assert_string_equal(bl_path_name("best.safetensors"), "best.safetensors");
    assert_true(bl_path_is_name("a b.json"));
    static const char *const led[] = {"", ".", "..", "a/b", "a\\b", "..\\a", "C:a", "a:stream"};
    for (int i = 0; i < BL_COUNT(led); i++) assert_false(bl_path_is_name(led[i]));
    char deep[160];
    snprintf(deep, sizeof deep, "%s\\deep/er", folder);
    assert_int_equal(bl_make_dirs(deep), 0);
    assert_int_equal(bl_make_dirs(deep), 0);
    assert_int_equal(remove(deep), 0);
    deep[strlen(folder) + 5] = 0;
    assert_int_equal(remove(deep), 0);
}

static void test_patterns(void **state) {
    static const struct {
        const char *pattern, *text;
        int matches;
    } rows[] = {
        {"layer*.weight", "layer1.0.weight", 1},
        {"layer*.weight", "layer1.0.bias", 0},
        {"*", "", 1},
        {"", "a", 0},
        {"a?c", "abc", 1},
        {"a?c", "ac", 0},
        {"conv[1-3]", "conv2", 1},
        {"conv[1-3]", "conv4", 0},
        {"conv[!1-3]", "conv4", 1},
        {"a[]b", "a[]b", 1},
        {"\\*", "*", 1},
        {"\\*", "a", 0},
        {"**b*", "aab", 1},
    };
    for (int i = 0; i < BL_COUNT(rows); i++)
        if ((fnmatch(rows[i].pattern, rows[i].text, 0) == 0) != rows[i].matches)
            fail_msg("'%s' of '%s'", rows[i].pattern, rows[i].text);
}

static int set_up(void **state) {
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int tear_down(void **state) {
    return remove(path) || remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_what_was_given),
        cmocka_unit_test(test_what_is_open_is_replaced_or_stays),
        cmocka_unit_test(test_what_is_given_up_leaves_the_former),
        cmocka_unit_test(test_a_crash_s_temporary_files_go),
        cmocka_unit_test(test_a_folder_has_one_user),
        cmocka_unit_test(test_a_lock_keeps_nobody_from_reading),
        cmocka_unit_test(test_files_are_told_apart),
        cmocka_unit_test(test_folders_are_no_files),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
