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

/* Over NFS only what is open for writing can be locked, which no directory is. */
static bool knows_no_locks(int error) {
    return error == ENOLCK || error == ENOTSUP || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL ||
           error == EBADF;
}

static int refuse(const char *dir, const char *command) {
    return bl_fail(BLANCH_EUSAGE, "another `blanch %s` works on %s; wait for it or give another --out", command, dir);
}

/* Its owner may have removed it as unused before the lock was free. */
static bool is_there(int fd, const char *dir) {
    struct stat locked, there;
    return !fstat(fd, &locked) && !stat(dir, &there) && locked.st_ino == there.st_ino && locked.st_dev == there.st_dev;
}

int bl_lock_take(struct bl_lock *lock, const char *dir, const char *command) {
    int code = 0, fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *lock = (struct bl_lock){0};
    if (fd < 0) return bl_fail(BLANCH_EUSAGE, "--out %s: %s", dir, strerror(errno));
    if (!flock(fd, LOCK_EX | LOCK_NB))
        code = is_there(fd, dir) ? 0 : refuse(dir, command);
    else if (errno == EWOULDBLOCK)
        code = refuse(dir, command);
    else if (!(lock->unsupported = knows_no_locks(errno)))
        code = bl_fail(BLANCH_EIO, "--out %s cannot be locked: %s", dir, strerror(errno));
    if (code)
        close(fd);
    else
        lock->taken = true, lock->descriptor = fd;
    return code;
}

void bl_lock_release(struct bl_lock *lock) {
    if (lock->taken) close(lock->descriptor);
    *lock = (struct bl_lock){0};
}

/* --- entries -------------------------------------------------------------------------------- */

int bl_directory_used(const char *path, bool (*passed)(const char *name)) {
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return 0;
    if (!dir) return bl_fail(BLANCH_EUSAGE, "--out %s: %s", path, strerror(errno));
    int used = 0;
    for (struct dirent *entry; errno = 0, !used && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        used = strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !passed(name);
    }
    if (errno) used = bl_fail(BLANCH_EUSAGE, "--out %s: %s", path, strerror(errno));
    closedir(dir);
    return used;
}

static bool is_aside(const char *name) {
    char end = 0;
    int number, length = 0;
    return sscanf(name, "log.%d.jsonl%n%c", &number, &length, &end) == 1 && length && !name[length];
}

bool bl_is_left_over(const char *name) {
    return bl_replace_is_temporary(name) || is_aside(name);
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
