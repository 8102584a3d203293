#include "io/files.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- reading ---------------------------------------------------------------------------------- */

static int read_all(FILE *file, const char *path, size_t guess, char **data, size_t *size) {
    size_t capacity = guess + 1, used = 0;
    char *bytes = bl_malloc(capacity);
    while (bytes) {
        used += fread(bytes + used, 1, capacity - used, file);
        if (used < capacity) break;
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

int bl_file_read(const char *path, char **data, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return bl_fail(BLANCH_EINPUT, "%s: %s", path, strerror(errno));
    struct stat status;
    size_t guess = 4096;
    if (!fstat(fileno(file), &status) && S_ISREG(status.st_mode)) guess = (size_t)status.st_size;
    int code = read_all(file, path, guess, data, size);
    fclose(file);
    return code;
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
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char end = *at;
        *at = 0;
        struct stat status;
        if (mkdir(copy, 0777) && errno != EEXIST && errno != EROFS)
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

int bl_replace_open(struct bl_replace *file, const char *path) {
    struct stat status;
    bool direct = !stat(path, &status) && !S_ISREG(status.st_mode);
    *file = (struct bl_replace){.path = path, .descriptor = -1};
    if (direct) {
        file->descriptor = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        file->temporary = bl_format("%s.tmp", path);
        if (!file->temporary) return BLANCH_ENOMEM;
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (file->descriptor >= 0) return 0;
    int code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", direct ? path : file->temporary, strerror(errno));
    free(file->temporary);
    file->temporary = NULL;
    return code;
}

int bl_replace_write(struct bl_replace *file, const void *data, size_t size) {
    const char *bytes = data;
    while (size) {
        ssize_t done = write(file->descriptor, bytes, size < (1u << 30) ? size : (1u << 30));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0)
            return bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, strerror(done ? errno : ENOSPC));
        bytes += done;
        size -= (size_t)done;
    }
    return 0;
}

/* Makes the rename itself durable; file systems that cannot do that lose nothing but durability. */
static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = !slash          ? bl_strdup(".")
                   : slash == path ? bl_strdup("/")
                                   : bl_format("%.*s", (int)(slash - path), path);
    int descriptor = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        if (fsync(descriptor)) errno = 0;
        close(descriptor);
    }
    free(folder);
}

int bl_replace_close(struct bl_replace *file, int code) {
    if (!code && file->temporary && fsync(file->descriptor))
        code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, strerror(errno));
    if (close(file->descriptor) && !code)
        code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, strerror(errno));
    if (!code && file->temporary && rename(file->temporary, file->path))
        code = bl_fail(BLANCH_EIO, "%s: cannot be replaced: %s", file->path, strerror(errno));
    if (code && file->temporary)
        unlink(file->temporary);
    else if (file->temporary)
        sync_folder(file->path);
    free(file->temporary);
    *file = (struct bl_replace){.descriptor = -1};
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

int bl_json_read(const char *path, cJSON **json) {
    char *text;
    size_t size;
    int code = bl_file_read(path, &text, &size);
    if (code) return code;
    const char *end = text;
    *json = cJSON_ParseWithOpts(text, &end, true);
    if (!*json && !(code = bl_memory_lacked()))
        code = bl_fail(BLANCH_EINPUT, "%s: line %d is not JSON", path, line_of(text, end));
    free(text);
    return code;
}

int bl_json_write(const char *path, const cJSON *json) {
    struct bl_replace file;
    char *text = bl_json_print(json, true);
    if (!text) return bl_fail(BLANCH_ENOMEM, "%s: out of memory for its JSON", path);
    int code = bl_replace_open(&file, path);
    if (!code) {
        code = bl_replace_write(&file, text, strlen(text));
        if (!code) code = bl_replace_write(&file, "\n", 1);
        code = bl_replace_close(&file, code);
    }
    free(text);
    return code;
}

int bl_json_line(void *file, cJSON *json, const char *path) {
    char *text = bl_json_print(json, false);
    int code = 0;
    if (!text)
        code = bl_fail(BLANCH_ENOMEM, "%s: out of memory for a line", path);
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
