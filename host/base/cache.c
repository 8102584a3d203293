/* Cache folders. */
#include "base/cache.h"
#include "base/path.h"
#include "base/private.h"
#include "base/replace.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char consequence[] =
    "compiled programs and measurements are not kept; set XDG_CACHE_HOME to a folder of your own";

/* --- the folder ------------------------------------------------------------------------------- */

/* Whether it is there the opening tells; returned is the error by which it may be missing, 0: none. */
static int make_path(char *path) {
    int refused = 0;
    for (char *end = path + 1;; end++) {
        const char before = *end;
        if (before && !strchr(bl_separators, before)) continue;
        *end = 0;
        if (mkdirat(AT_FDCWD, path, 0700) && errno != EEXIST && !refused) refused = errno;
        *end = before;
        if (!before) return refused;
    }
}

/* -1 with errno set: to `refused`, where the folder is missing since it could not be made. */
static int open_folder(int at, const char *name, int refused, struct stat *status) {
    const int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        if (refused && errno == ENOENT) errno = refused;
        return -1;
    }
    if (!fstat(fd, status)) return fd;
    const int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

static void say_distrust(const char *path, const struct stat *status) {
    char *why = bl_distrust(status);
    if (why) bl_warn("%s %s and is not trusted (remove it, or chmod go-w): %s", path, why, consequence);
    free(why);
}

/* path: .../blanch/NAME. It is said once of all in .../blanch. */
static void say_failure(const char *path, int cause) {
    bl_warn("%.*s cannot be used (%s): %s", (int)(strrchr(path, '/') - path), path, strerror(cause), consequence);
}

static bool is_link_of_another(int at, const char *name, struct stat *status) {
    if (fstatat(at, name, status, AT_SYMLINK_NOFOLLOW) || !S_ISLNK(status->st_mode)) return false;
    status->st_mode = 0; // that of a link says nothing
    return !bl_is_private(status);
}

/* Opens a folder in another, made where it is missing. -1 with errno set, to 0 where it is not trusted, which is said.
 */
static int step(int at, const char *name, const char *path) {
    struct stat status;
    const int refused = mkdirat(at, name, 0700) && errno != EEXIST ? errno : 0;
    const bool led = is_link_of_another(at, name, &status);
    const int fd = led ? -1 : open_folder(at, name, refused, &status);
    if (!led && (fd < 0 || bl_is_private(&status))) return fd;
    say_distrust(path, &status);
    if (fd >= 0) close(fd);
    errno = 0;
    return -1;
}

/* $XDG_CACHE_HOME itself may hold folders of others, but nobody else may exchange this user's in it. As step. */
static int open_base(char *base) {
    struct stat status;
    const int refused = make_path(base), fd = open_folder(AT_FDCWD, base, refused, &status);
    if (fd < 0 || !(status.st_mode & S_IWOTH) || status.st_mode & S_ISVTX) return fd;
    say_distrust(base, &status);
    close(fd);
    errno = 0;
    return -1;
}

void bl_cache_open(struct bl_cache *cache, const char *name) {
    char *base = bl_cache_home(), *root = base ? bl_format("%s/blanch", base) : NULL;
    if (!base) bl_warn("%s: %s", blanch_error_message(), consequence);
    *cache = (struct bl_cache){.path = root ? bl_format("%s/%s", root, name) : NULL, .folder = -1};
    if (cache->path) {
        const int above = open_base(base);
        const int within = above >= 0 ? step(above, "blanch", root) : -1;
        cache->folder = within >= 0 ? step(within, name, cache->path) : -1;
        if (cache->folder < 0 && errno) say_failure(cache->path, errno);
        if (within >= 0) close(within);
        if (above >= 0) close(above);
    }
    if (cache->folder >= 0)
        bl_replace_clear(cache->folder, NULL);
    else
        free(cache->path), cache->path = NULL;
    free(base), free(root);
}

int bl_cache_open_at(struct bl_cache *cache, const char *path) {
    struct stat status;
    *cache = (struct bl_cache){.path = bl_strdup(path), .folder = -1};
    if (!cache->path) return BLANCH_ENOMEM;
    const int refused = make_path(cache->path);
    cache->folder = open_folder(AT_FDCWD, path, refused, &status);
    int code = cache->folder < 0 ? bl_fail(BLANCH_EINPUT, "%s: %s", path, strerror(errno)) : 0;
    char *why = code ? NULL : bl_distrust(&status);
    if (!code && !bl_is_private(&status))
        code = bl_fail(BLANCH_EINPUT, "%s %s and is no folder to keep pictures in", path, why ? why : "is shared");
    free(why);
    if (!code)
        bl_replace_clear(cache->folder, NULL);
    else if (cache->folder >= 0)
        bl_cache_close(cache);
    else
        free(cache->path), cache->path = NULL;
    return code;
}

void bl_cache_close(struct bl_cache *cache) {
    if (cache->path) close(cache->folder);
    free(cache->path);
    *cache = (struct bl_cache){.folder = -1};
}

/* --- its files -------------------------------------------------------------------------------- */

static bool read_whole(int fd, char *data, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, data + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

char *bl_cache_read(const struct bl_cache *cache, const char *name, size_t *size) {
    static const off_t most = 256 << 20;
    struct stat status;
    char *data = NULL;
    int fd = cache->path ? openat(cache->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0) return NULL;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && bl_is_private(&status) && status.st_size <= most &&
        (data = bl_calloc((size_t)status.st_size + 1, 1)) && !read_whole(fd, data, *size = (size_t)status.st_size))
        free(data), data = NULL;
    close(fd);
    return data;
}

void bl_cache_write(const struct bl_cache *cache, const char *name, const struct bl_part *parts, int count) {
    struct bl_replace file;
    if (!cache->path) return;
    int code = bl_replace_open_in(&file, cache->folder, name), cause = errno;
    if (!code) {
        for (int i = 0; i < count && !code; i++) code = bl_replace_write(&file, parts[i].data, parts[i].size);
        cause = errno;
        bool written = !code;
        code = bl_replace_close(&file, code);
        if (written) cause = errno;
    }
    if (code) say_failure(cache->path, cause);
}
