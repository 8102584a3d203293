/* Directories of results. */
#include "io/directory.h"
#include "io/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the lock ------------------------------------------------------------------------------- */

static int refuse(const struct bl_lock *lock, const char *dir, const char *command) {
    char owner[32] = "";
    ssize_t size = pread(lock->descriptor, owner, sizeof owner - 1, 0);
    owner[size > 0 ? size : 0] = 0;
    owner[strspn(owner, "0123456789")] = 0;
    return bl_fail(BLANCH_EUSAGE, "another `blanch %s`%s%s%s works on %s; wait for it or give another --out", command,
                   *owner ? " (process " : "", owner, *owner ? ")" : "", dir);
}

static bool knows_no_locks(int error) {
    return error == ENOLCK || error == ENOTSUP || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL;
}

/* Its owner takes the file away: what was locked may be a file that is gone by then. 1: so it is. */
static int is_gone(const struct bl_lock *lock) {
    struct stat locked, there;
    if (fstat(lock->descriptor, &locked)) return bl_fail(BLANCH_EIO, "%s: %s", lock->path, strerror(errno));
    return stat(lock->path, &there) || locked.st_ino != there.st_ino || locked.st_dev != there.st_dev;
}

static int sign(const struct bl_lock *lock) {
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (!ftruncate(lock->descriptor, 0) && pwrite(lock->descriptor, text, (size_t)length, 0) == length) return 0;
    return bl_fail(BLANCH_EIO, "%s: %s", lock->path, strerror(errno));
}

/* 1: the file that was locked is gone. */
static int try_lock(struct bl_lock *lock, const char *dir, const char *command) {
    lock->descriptor = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock->descriptor < 0) return bl_fail(BLANCH_EIO, "%s: %s", lock->path, strerror(errno));
    if (!flock(lock->descriptor, LOCK_EX | LOCK_NB)) return is_gone(lock);
    if (errno == EWOULDBLOCK) return refuse(lock, dir, command);
    lock->unsupported = knows_no_locks(errno);
    return lock->unsupported ? 0 : bl_fail(BLANCH_EIO, "%s: %s", lock->path, strerror(errno));
}

static void forget(struct bl_lock *lock) {
    if (lock->descriptor >= 0) close(lock->descriptor);
    free(lock->path);
    *lock = (struct bl_lock){.descriptor = -1};
}

int bl_lock_take(struct bl_lock *lock, const char *dir, const char *name, const char *command) {
    int code;
    *lock = (struct bl_lock){.path = bl_format("%s/%s", dir, name), .descriptor = -1};
    if (!lock->path) return BLANCH_ENOMEM;
    while ((code = try_lock(lock, dir, command)) > 0) close(lock->descriptor);
    if (!code) code = sign(lock);
    if (code) forget(lock);
    return code;
}

void bl_lock_release(struct bl_lock *lock) {
    if (!lock->path) return;
    unlink(lock->path); // while it is locked: nobody else's
    forget(lock);
}

/* --- entries -------------------------------------------------------------------------------- */

int bl_directory_used(const char *path, bool (*passed)(const char *name)) {
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return 0;
    if (!dir) return bl_fail(BLANCH_EUSAGE, "--out %s: %s", path, strerror(errno));
    bl_replace_clear_path(path);
    int used = 0;
    for (struct dirent *entry; !used && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        used = strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !passed(name);
    }
    closedir(dir);
    return used;
}

static bool is_aside(const char *name) {
    char end = 0;
    int number, length = 0;
    return sscanf(name, "log.%d.jsonl%n%c", &number, &length, &end) == 1 && length && !name[length];
}

bool bl_is_left_over(const char *name) {
    return !strcmp(name, "lock") || is_aside(name);
}

/* --- logs ----------------------------------------------------------------------------------- */

int bl_log_put_aside(const char *dir) {
    char *from = bl_format("%s/log.jsonl", dir), *to = NULL;
    int number = 0, code = from ? 0 : BLANCH_ENOMEM;
    while (!code && (!number || bl_path_exists(to))) {
        free(to);
        if (!(to = bl_format("%s/log.%d.jsonl", dir, ++number))) code = BLANCH_ENOMEM;
    }
    if (!code && rename(from, to)) {
        number = 0;
        if (errno != ENOENT) code = bl_fail(BLANCH_EIO, "%s cannot be renamed to %s: %s", from, to, strerror(errno));
    }
    free(from);
    free(to);
    return code ? code : number;
}
