/* Folders of $XDG_CACHE_HOME/blanch, or ~/.cache/blanch: what can be had anew, at the price of time. One that another
 * user owns or can write is neither read nor written, which is said once (bl_warn), and so is one that cannot be made.
 * No file in it is trusted for its name: whoever reads checks what it holds. */
#ifndef BL_CACHE_H
#define BL_CACHE_H

#include "base/base.h"

struct bl_cache {
    char *path; // for messages; NULL: there is no cache
    int folder; // open
};

/* Opens .../blanch/NAME, makes it where it is missing, and clears away what crashes left. */
void bl_cache_open(struct bl_cache *cache, const char *name);
/* A folder that a user names, made where it is missing. BLANCH_EINPUT: it cannot be opened, or others can write it. */
int bl_cache_open_at(struct bl_cache *cache, const char *path);
void bl_cache_close(struct bl_cache *cache);
/* A file whole, malloc'd, a zero byte after it. NULL: there is none, no cache, or what has its name is not a regular
 * file that this user alone can write, of at most 256 MiB. Never waits. */
char *bl_cache_read(const struct bl_cache *cache, const char *name, size_t *size);
/* Replaces a file by parts, one after the other; nobody sees half of it. Where that fails it is said once, and no
 * error: what is cached can be had anew. */
struct bl_part {
    const void *data;
    size_t size;
};
void bl_cache_write(const struct bl_cache *cache, const char *name, const struct bl_part *parts, int count);

#endif
