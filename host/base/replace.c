/* Files that take another's place whole. */
#include "base/replace.h"
#include "base/path.h"
#include "base/private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

enum { DIGITS = 16, TRIES = 100 };
static const char ending[] = ".tmp";

/* --- what a crash left ------------------------------------------------------------------------ */

/* NAME.HEX.tmp, of any name where it is NULL. */
static bool is_temporary(const char *text, const char *name) {
    size_t length = strlen(text), tail = 1 + DIGITS + sizeof ending - 1;
    if (length <= tail) return false;
    const char *dot = text + length - tail;
    if (*dot != '.' || strspn(dot + 1, "0123456789abcdef") != DIGITS || strcmp(dot + 1 + DIGITS, ending)) return false;
    return !name || (strlen(name) == length - tail && !strncmp(text, name, length - tail));
}

/* Who writes it holds its lock. */
static void clear_one(int folder, const char *name) {
    struct stat status;
    int fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && status.st_uid == geteuid() && !flock(fd, LOCK_EX | LOCK_NB) &&
        unlinkat(folder, name, 0))
        errno = 0; // it took its name meanwhile, or stays
    close(fd);
}

bool bl_replace_is_temporary(const char *name) {
    return is_temporary(name, NULL);
}

void bl_replace_clear(int folder, const char *name) {
    DIR *list = bl_folder_list(folder);
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (is_temporary(entry->d_name, name)) clear_one(folder, entry->d_name);
    if (list) closedir(list);
}

void bl_replace_clear_path(const char *folder) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    bl_replace_clear(fd, NULL);
    close(fd);
}

/* --- the temporary file ----------------------------------------------------------------------- */

/* The folder that a path names a file of; -1 where it cannot be listed. */
static int folder_of(const char *path) {
    size_t length = (size_t)(bl_path_name(path) - path);
    char *folder = length ? bl_format("%.*s", (int)length, path) : bl_strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    return fd;
}

/* A name that exists already is not taken, so the clock will do where the system has no random numbers. */
static uint64_t random_word(void) {
    uint64_t word;
    double now = bl_now();
    return getentropy(&word, sizeof word) ? bl_hash(BL_HASH_START, &now, sizeof now) : word;
}

/* false: another process took it for what a crash left, before it was locked. Some file systems have no locks: there
 * nothing is ever taken for that. */
static bool is_held(int fd) {
    struct stat status;
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) return false;
    return !fstat(fd, &status) && status.st_nlink > 0;
}

static int make_temporary(struct bl_replace *file) {
    for (int i = 0; i < TRIES; i++) {
        free(file->temporary);
        file->temporary = bl_format("%s.%0*llx%s", file->path, DIGITS, (unsigned long long)random_word(), ending);
        if (!file->temporary) return BLANCH_ENOMEM;
        file->descriptor =
            openat(file->folder, file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (file->descriptor < 0 && errno != EEXIST) break;
        if (file->descriptor < 0) continue;
        if (is_held(file->descriptor)) return 0;
        if (unlinkat(file->folder, file->temporary, 0)) errno = 0; // who took it removes it too
        close(file->descriptor);
        file->descriptor = -1;
    }
    int code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, strerror(errno));
    free(file->temporary);
    file->temporary = NULL;
    return code;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A pipe that nobody reads is not waited for. */
static int open_itself(struct bl_replace *file) {
    const int fd = file->descriptor = open(file->path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && !fcntl(fd, F_SETFL, 0)) return 0;
    const char *cause = errno == ENXIO ? "nobody reads it" : strerror(errno);
    int code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, cause);
    if (fd >= 0) close(fd);
    return code;
}

int bl_replace_open(struct bl_replace *file, const char *path) {
    struct stat status;
    *file = (struct bl_replace){.path = path, .folder = AT_FDCWD, .descriptor = -1};
    if (bl_is_trap(path))
        return bl_fail(BLANCH_EIO, "%s: cannot be written: another user put a link, pipe or device in its place", path);
    if (!stat(path, &status) && !S_ISREG(status.st_mode)) {
        return open_itself(file);
    }
    int folder = folder_of(path);
    if (folder >= 0) {
        bl_replace_clear(folder, bl_path_name(path));
        close(folder);
    }
    return make_temporary(file);
}

int bl_replace_open_in(struct bl_replace *file, int folder, const char *name) {
    *file = (struct bl_replace){.path = name, .folder = folder, .descriptor = -1, .cache = true};
    return make_temporary(file);
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
    int folder = folder_of(path);
    if (folder < 0) return;
    if (fsync(folder)) errno = 0;
    close(folder);
}

/* As if it had been made in the ordinary way. Other threads' files that are made meanwhile are private. A file system
 * without modes refuses, and leaves it as it is. */
static void set_mode(int fd) {
    mode_t mask = umask(077);
    umask(mask);
    if (fchmod(fd, 0666 & ~mask)) errno = 0;
}

static int publish(const struct bl_replace *file) {
    if (!file->cache) {
        set_mode(file->descriptor);
        if (fsync(file->descriptor))
            return bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, strerror(errno));
    }
    if (renameat(file->folder, file->temporary, file->folder, file->path))
        return bl_fail(BLANCH_EIO, "%s: cannot be replaced: %s", file->path, strerror(errno));
    if (!file->cache) sync_folder(file->path);
    return 0;
}

/* A temporary file is closed, and unlocked, when it has its name: what could fail then has been asked by fsync. */
int bl_replace_close(struct bl_replace *file, int code) {
    if (!code && file->temporary) code = publish(file);
    if (code && file->temporary && unlinkat(file->folder, file->temporary, 0)) errno = 0;
    if (close(file->descriptor) && !code && !file->temporary)
        code = bl_fail(BLANCH_EIO, "%s: cannot be written: %s", file->path, strerror(errno));
    free(file->temporary);
    *file = (struct bl_replace){.descriptor = -1};
    return code;
}
