#include "io/files.h"
#include "base/path.h"
#include "base/private.h"
#include "io/document.h"
#include "io/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- reading ---------------------------------------------------------------------------------- */

static const size_t most_json = (size_t)256 << 20; // bytes; parsed, it takes a dozen times as many

static int read_all(FILE *file, const char *path, size_t guess, size_t most, char **data, size_t *size) {
    size_t capacity = (guess < most ? guess : most) + 1, used = 0;
    char *bytes = bl_malloc(capacity);
    while (bytes) {
        used += fread(bytes + used, 1, capacity - used, file);
        if (used < capacity) break;
        if (used > most) {
            free(bytes);
            return bl_fail(BLANCH_EINPUT, "%s: more than %zu bytes; that is not read", path, most);
        }
        char *larger = bl_realloc(bytes, capacity *= 2);
        if (!larger) free(bytes);
        bytes = larger;
    }
    if (!bytes) return bl_fail(BLANCH_ENOMEM, "%s: out of memory after %zu bytes", path, used);
    if (ferror(file)) {
        free(bytes);
        return bl_fail(BLANCH_EINPUT, "%s: %s", path, strerror(errno));
    }
    bytes[used] = 0;
    *data = bytes;
    *size = used;
    return 0;
}

enum way { PLAIN, PIPED, UNLINKED }; // a pipe is waited for where it may be one; a link is not followed

/* What is not PIPED cannot keep this process waiting. */
static int open_to_read(const char *path, enum way way, FILE **file, struct stat *status) {
    if (bl_is_planted(path))
        return bl_fail(BLANCH_EINPUT, "%s: another user put a link, pipe or device in its place: it is not read", path);
    int code = 0,
        fd = open(path, O_RDONLY | O_CLOEXEC | (way == PIPED ? 0 : O_NONBLOCK) | (way == UNLINKED ? O_NOFOLLOW : 0));
    if (fd < 0 || fstat(fd, status))
        code = bl_fail(BLANCH_EINPUT, "%s: %s", path,
                       way == UNLINKED && errno == ELOOP ? "it is a link" : strerror(errno));
    else if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode))
        code = bl_fail(BLANCH_EINPUT, "%s: a device, not a file", path);
    else if (way != PIPED && !S_ISREG(status->st_mode) && !S_ISDIR(status->st_mode))
        code = bl_fail(BLANCH_EINPUT, "%s: a pipe, not a file", path);
    else if (!(*file = fdopen(fd, "rb")))
        code = bl_fail(BLANCH_EINPUT, "%s: %s", path, strerror(errno));
    if (code && fd >= 0) close(fd);
    return code;
}

static int read_up_to(const char *path, enum way way, size_t most, char **data, size_t *size) {
    FILE *file;
    struct stat status;
    int code = open_to_read(path, way, &file, &status);
    if (code) return code;
    const bool regular = S_ISREG(status.st_mode);
    code = read_all(file, path, regular ? (size_t)status.st_size : 4096, most, data, size);
    fclose(file);
    return code;
}

int bl_file_read(const char *path, char **data, size_t *size) {
    return read_up_to(path, PLAIN, SIZE_MAX / 4, data, size);
}

int bl_file_read_beside(const char *path, const char *name, char **data, size_t *size) {
    if (!bl_path_is_name(name))
        return bl_fail(BLANCH_EINPUT, "%s: '%s' is not the name of a file beside it", path, name);
    char *full = bl_format("%.*s%s", (int)(bl_path_name(path) - path), path, name);
    int code = full ? read_up_to(full, UNLINKED, SIZE_MAX / 4, data, size) : BLANCH_ENOMEM;
    free(full);
    return code;
}

/* Windows numbers no files: there one name is one file. */
bool bl_same_file(const char *a, const char *b) {
    struct stat one, other;
    if (stat(a, &one) || stat(b, &other)) return false;
    if (!one.st_ino && !other.st_ino) return !strcmp(a, b);
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool bl_path_exists(const char *path) {
    struct stat status;
    return !stat(path, &status) || (errno != ENOENT && errno != ENOTDIR);
}

/* --- writing ---------------------------------------------------------------------------------- */

int bl_make_dirs(const char *path) {
    char *copy = bl_strdup(path);
    if (!copy) return BLANCH_ENOMEM;
    int code = 0;
    for (char *at = copy; !code && *at;) {
        at += strspn(at, bl_separators);
        at += strcspn(at, bl_separators);
        char end = *at;
        *at = 0;
        struct stat status;
        if (mkdirat(AT_FDCWD, copy, 0777) && errno != EEXIST && errno != EROFS)
            code = bl_fail(BLANCH_EIO, "%s: the folder cannot be made: %s", copy, strerror(errno));
        else if (stat(copy, &status))
            code = bl_fail(BLANCH_EIO, "%s: the folder cannot be made: %s", copy, strerror(errno));
        else if (!S_ISDIR(status.st_mode))
            code = bl_fail(BLANCH_EIO, "%s: the folder cannot be made: a file is in its place", copy);
        *at = end;
    }
    free(copy);
    return code;
}

int bl_file_write(const char *path, const void *data, size_t size) {
    struct bl_replace file;
    int code = bl_replace_open(&file, path);
    return code ? code : bl_replace_close(&file, bl_replace_write(&file, data, size));
}

/* --- JSON ------------------------------------------------------------------------------------- */

static int line_of(const char *text, const char *at) {
    int line = 1;
    for (; text < at; text++) line += *text == '\n';
    return line;
}

static int read_json(const char *path, enum way way, size_t most, cJSON **json) {
    char *text;
    size_t size;
    int code = read_up_to(path, way, most, &text, &size);
    if (code) return code;
    const char *end = text;
    *json = bl_json_parse(text, size, &end);
    if (!*json && !(code = bl_memory_lacked()))
        code = bl_fail(BLANCH_EINPUT, "%s: line %d is not JSON", path, line_of(text, end));
    free(text);
    if (!code && (code = bl_document_check(*json, path))) cJSON_Delete(*json), *json = NULL;
    return code;
}

int bl_json_read(const char *path, cJSON **json) {
    return read_json(path, PLAIN, most_json, json);
}

int bl_json_read_given(const char *path, cJSON **json) {
    return read_json(path, PIPED, most_json, json);
}

int bl_json_read_small(const char *path, size_t most, cJSON **json) {
    return read_json(path, PLAIN, most, json);
}

int bl_json_write(const char *path, const cJSON *json) {
    struct bl_replace file;
    char *text = bl_json_print(json, true);
    if (!text) return bl_fail_in(BLANCH_ENOMEM, "%s", path);
    int code = bl_replace_open(&file, path);
    if (!code) {
        code = bl_replace_write(&file, text, strlen(text));
        if (!code) code = bl_replace_write(&file, "\n", 1);
        code = bl_replace_close(&file, code);
    }
    free(text);
    return code;
}

cJSON *bl_json_cached(const struct bl_cache *cache, const char *name) {
    size_t size;
    char *text = bl_cache_read(cache, name, &size);
    cJSON *json = text ? bl_json_parse(text, size, NULL) : NULL;
    free(text);
    return json;
}

void bl_json_cache(const struct bl_cache *cache, const char *name, const cJSON *json) {
    char *text = json ? bl_json_print(json, true) : NULL;
    const struct bl_part parts[] = {{text, text ? strlen(text) : 0}, {"\n", 1}};
    if (text) bl_cache_write(cache, name, parts, BL_COUNT(parts));
    free(text);
}

FILE *bl_log_open(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    struct stat status;
    const bool failed = fd < 0 || fstat(fd, &status), regular = !failed && S_ISREG(status.st_mode);
    FILE *file = regular ? fdopen(fd, "ab") : NULL;
    if (file) return file;
    bl_fail(BLANCH_EIO, "%s: cannot be written: %s", path,
            !failed && !regular ? "it is no file"
            : errno == ELOOP    ? "it is a link"
                                : strerror(errno));
    if (fd >= 0) close(fd);
    return NULL;
}

int bl_json_line(void *file, cJSON *json, const char *path) {
    char *text = bl_json_print(json, false);
    int code = 0;
    if (!text)
        code = bl_fail_in(BLANCH_ENOMEM, "%s", path);
    else if (fputs(text, file) < 0 || fputc('\n', file) < 0 || fflush(file))
        code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", path, strerror(errno));
    free(text);
    cJSON_Delete(json);
    return code;
}

cJSON *bl_json_number(double value, int digits) {
    char text[64];
    if (!isfinite(value)) return cJSON_CreateNull();
    snprintf(text, sizeof text, "%.*g", digits < 1 ? 1 : digits > 17 ? 17 : digits, value);
    return cJSON_CreateNumber(strtod(text, NULL));
}

cJSON *bl_json_float(float value) {
    char text[32];
    int digits = 6;
    while (digits < 9 && snprintf(text, sizeof text, "%.*g", digits, (double)value) > 0 && strtof(text, NULL) != value)
        digits++;
    return bl_json_number((double)value, digits);
}
