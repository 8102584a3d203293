/* Cache folders. */
#include "base/cache.h"
#include "base/private.h"
#include "base/replace.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char consequence[] = "compiled programs and measurements are not kept";

/* --- the folder ------------------------------------------------------------------------------- */

static void make_parents(char *path) {
    for (char *slash = path + 1; *slash; slash++) {
        if (*slash != '/') continue;
        *slash = 0;
        if (mkdir(path, 0700)) errno = 0; // to open the last of them will tell
        *slash = '/';
    }
    if (mkdir(path, 0700)) errno = 0;
}

static void say_distrust(const char *path, const struct stat *status) {
    char *why = bl_distrust(status);
    if (why)
        bl_warn("%s %s and is not trusted: %s. Remove it, make it yours alone (chmod go-w), or set XDG_CACHE_HOME",
                path, why, consequence);
    free(why);
}

/* Opens a folder in another, where this user alone can write it. A link to it, too, is this user's own. The mode of a
 * link says nothing. */
static int step(int at, const char *name, const char *path) {
    struct stat status;
    int made = mkdirat(at, name, 0700) ? errno : 0;
    if (!fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) && S_ISLNK(status.st_mode)) {
        status.st_mode = 0;
        if (!bl_is_private(&status)) return say_distrust(path, &status), -1;
    }
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    int cause = errno == ENOENT && made ? made : errno;
    if (fd >= 0 && !fstat(fd, &status) && bl_is_private(&status)) return fd;
    if (fd < 0) {
        bl_warn("%s cannot be opened or made (%s): %s; set XDG_CACHE_HOME to a folder that can be written", path,
                strerror(cause), consequence);
        return -1;
    }
    say_distrust(path, &status);
    close(fd);
    return -1;
}

static char *base_folder(void) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base && *base) return bl_strdup(base);
    if (home && *home) return bl_format("%s/.cache", home);
    bl_warn("neither XDG_CACHE_HOME nor HOME is set: %s", consequence);
    return NULL;
}

void bl_cache_open(struct bl_cache *cache, const char *name) {
    char *base = base_folder(), *all = base ? bl_format("%s/blanch", base) : NULL;
    *cache = (struct bl_cache){.path = all ? bl_format("%s/%s", all, name) : NULL, .folder = -1};
    int folder = -1, above = -1;
    if (cache->path) {
        make_parents(base);
        above = open(base, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
        if (above < 0) bl_warn("%s cannot be opened or made (%s): %s", base, strerror(errno), consequence);
    }
    if (above >= 0) folder = step(above, "blanch", all);
    if (folder >= 0) cache->folder = step(folder, name, cache->path);
    if (folder >= 0) close(folder);
    if (above >= 0) close(above);
    if (cache->folder >= 0)
        bl_replace_clear(cache->folder, NULL);
    else
        free(cache->path), cache->path = NULL;
    free(base), free(all);
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
    if (code) bl_warn("%s cannot be written (%s): %s", cache->path, strerror(cause), consequence);
}
