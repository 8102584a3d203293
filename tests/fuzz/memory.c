/* Files that are memory: the linker puts these functions (--wrap) in place of the system's, which have two names each
 * where files may be larger than an int says. */
#include "fuzz.h"
#include "base/cache.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = MEMORY_FILES, DESCRIPTORS = 1 << 20 };
struct file {
    const char *name;
    const void *data;
    size_t size;
    FILE *stream; // last opened
};
static struct file files[FILES];
static const char folder[] = IN_MEMORY "/";
size_t memory_written;
bool input_read;

void memory_file(const char *name, const void *data, size_t size) {
    int i = 0;
    while (i < FILES - 1 && files[i].name && strcmp(files[i].name, name)) i++;
    files[i] = (struct file){.name = name, .data = size ? data : "", .size = size};
    if (!data) files[i].data = NULL;
}

void memory_clear(void) {
    memset(files, 0, sizeof files);
}

static struct file *find(const char *path) {
    for (int i = 0; i < FILES && files[i].name; i++)
        if (files[i].data && !strcmp(path, files[i].name)) return &files[i];
    errno = ENOENT;
    return NULL;
}

static bool is_inside(const char *path) {
    return !strncmp(path, folder, sizeof folder - 1);
}

/* What follows the folder's path and a slash in the name of file i, or NULL. */
static const char *below(int i, const char *path) {
    const char *name = files[i].name;
    const size_t length = strlen(path);
    if (!name || length < sizeof folder - 1) return name;
    path += sizeof folder - 1;
    const size_t inner = length - (sizeof folder - 1);
    return !strncmp(name, path, inner) && name[inner] == '/' ? name + inner + 1 : NULL;
}

static bool is_folder(const char *path) {
    for (int i = 0; i < FILES; i++)
        if (files[i].data && below(i, path)) return true;
    return false;
}

static int status_of(const struct file *file, struct stat *status) {
    static uid_t own;
    if (!own) own = geteuid(); // a folder of another user's is warned of
    *status = (struct stat){.st_mode = file ? S_IFREG | 0600 : S_IFDIR | 0700, .st_nlink = 1, .st_uid = own};
    status->st_size = file ? (off_t)file->size : 0;
    return 0;
}

static FILE *stream_of(struct file *file) {
    FILE *stream = file ? fmemopen((void *)file->data, file->size, "rb") : NULL;
    for (int i = 0; i < FILES; i++)
        if (files[i].stream == stream) files[i].stream = NULL; // closed since
    if (stream) file->stream = stream;
    return stream;
}

#define ALSO(name) __attribute__((alias(#name)))

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode) ALSO(__wrap_fopen);
FILE *__wrap_fopen(const char *path, const char *mode) {
    return is_inside(path) ? stream_of(find(path + sizeof folder - 1)) : __real_fopen(path, mode);
}

/* What closes such a number without a stream is told that it is none (EBADF), which nothing of it needs to know. */
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...) ALSO(__wrap_open);
int __wrap_open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!is_inside(path)) return __real_open(path, flags, mode);
    const struct file *file = find(path + sizeof folder - 1);
    return file ? DESCRIPTORS + (int)(file - files) : -1;
}

FILE *__real_fdopen(int descriptor, const char *mode);
FILE *__wrap_fdopen(int descriptor, const char *mode);
FILE *__wrap_fdopen(int descriptor, const char *mode) {
    return descriptor < DESCRIPTORS ? __real_fdopen(descriptor, mode) : stream_of(&files[descriptor - DESCRIPTORS]);
}

static int number_of(const FILE *stream) {
    for (int i = 0; i < FILES; i++)
        if (stream && files[i].stream == stream) return DESCRIPTORS + i;
    return -1;
}

int __real_fileno(FILE *stream);
int __wrap_fileno(FILE *stream);
int __wrap_fileno(FILE *stream) {
    const int number = number_of(stream);
    return number < 0 ? __real_fileno(stream) : number;
}

/* Memory is read byte by byte without a buffer. */
int __real_setvbuf(FILE *stream, char *buffer, int mode, size_t size);
int __wrap_setvbuf(FILE *stream, char *buffer, int mode, size_t size);
int __wrap_setvbuf(FILE *stream, char *buffer, int mode, size_t size) {
    return number_of(stream) < 0 ? __real_setvbuf(stream, buffer, mode, size) : 0;
}

int __real_fstat(int descriptor, struct stat *status);
int __wrap_fstat(int descriptor, struct stat *status);
int __wrap_fstat64(int descriptor, struct stat *status) ALSO(__wrap_fstat);
int __wrap_fstat(int descriptor, struct stat *status) {
    if (descriptor < DESCRIPTORS) return __real_fstat(descriptor, status);
    return status_of(&files[descriptor - DESCRIPTORS], status);
}

int __real_stat(const char *path, struct stat *status);
int __wrap_stat(const char *path, struct stat *status);
int __wrap_stat64(const char *path, struct stat *status) ALSO(__wrap_stat);
int __wrap_stat(const char *path, struct stat *status) {
    if (!strcmp(path, IN_MEMORY)) return status_of(NULL, status);
    if (!is_inside(path)) return __real_stat(path, status);
    const struct file *file = find(path + sizeof folder - 1);
    return file || is_folder(path) ? status_of(file, status) : -1;
}

int __real_lstat(const char *path, struct stat *status);
int __wrap_lstat(const char *path, struct stat *status);
int __wrap_lstat64(const char *path, struct stat *status) ALSO(__wrap_lstat);
int __wrap_lstat(const char *path, struct stat *status) {
    return strncmp(path, IN_MEMORY, sizeof IN_MEMORY - 1) ? __real_lstat(path, status) : __wrap_stat(path, status);
}

/* One is open at a time. */
static struct {
    char *path;
    int next;
    struct dirent entry;
} listed;

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path) {
    if (strcmp(path, IN_MEMORY) && !is_inside(path)) return __real_opendir(path);
    if (listed.path) abort();
    listed.path = part_text((struct part){(const uint8_t *)path, strlen(path)});
    listed.next = 0;
    return (DIR *)&listed;
}

/* A file's kind is not told, as by some file systems; a folder is listed once for each of its files. */
struct dirent *__real_readdir(DIR *stream);
struct dirent *__wrap_readdir(DIR *stream);
struct dirent *__wrap_readdir64(DIR *stream) ALSO(__wrap_readdir);
struct dirent *__wrap_readdir(DIR *stream) {
    if (stream != (DIR *)&listed) return __real_readdir(stream);
    while (listed.next < FILES) {
        const char *name = files[listed.next].data ? below(listed.next, listed.path) : NULL;
        const size_t length = name ? strcspn(name, "/") : 0;
        listed.next++;
        if (!length || length >= sizeof listed.entry.d_name) continue;
        memcpy(listed.entry.d_name, name, length);
        listed.entry.d_name[length] = 0;
        listed.entry.d_type = name[length] ? DT_DIR : DT_UNKNOWN;
        return &listed.entry;
    }
    return NULL;
}

int __real_closedir(DIR *stream);
int __wrap_closedir(DIR *stream);
int __wrap_closedir(DIR *stream) {
    if (stream != (DIR *)&listed) return __real_closedir(stream);
    free(listed.path);
    listed.path = NULL;
    return 0;
}

char *__wrap_bl_cache_read(const struct bl_cache *cache, const char *name, size_t *size);
char *__wrap_bl_cache_read(const struct bl_cache *cache, const char *name, size_t *size) {
    (void)cache;
    const struct file *file = find(name);
    return file ? (*size = file->size, part_text((struct part){file->data, file->size})) : NULL;
}

int __real_bl_file_write(const char *path, const void *data, size_t size);
int __wrap_bl_file_write(const char *path, const void *data, size_t size);
int __wrap_bl_file_write(const char *path, const void *data, size_t size) {
    if (!is_inside(path)) return __real_bl_file_write(path, data, size);
    memory_written = size;
    return 0;
}

void expect(int code) {
    static const int codes[] = {
#define CODE(name, code, text) BLANCH_E##name,
        BLANCH_ERRORS(CODE)
#undef CODE
    };
    bool known = !code;
    for (int i = 0; i < BL_COUNT(codes); i++) known |= code == codes[i];
    const char *message = blanch_error_message();
    const char *control = message;
    while ((unsigned char)*control >= ' ' && *control != 0x7f) control++;
    if (known && (!code || (*message && !*control))) return;
    fprintf(stderr, "code %d, message '%s'\n", code, message);
    abort();
}

void expect_read(int code) {
    expect(code);
    input_read |= !code;
}

struct part next_part(struct part *rest) {
    const uint8_t *zero = rest->size ? memchr(rest->data, 0, rest->size) : NULL;
    struct part part = {rest->data, zero ? (size_t)(zero - rest->data) : rest->size};
    size_t passed = part.size + (zero != NULL);
    rest->data += passed, rest->size -= passed;
    return part;
}

char *part_text(struct part part) {
    char *text = malloc(part.size + 1);
    if (!text) abort();
    if (part.size) memcpy(text, part.data, part.size);
    text[part.size] = 0;
    return text;
}
