/* Writing a file in pieces so that the former one survives any failure: data go to a file beside it, PATH.HEX.tmp, of
 * an unpredictable name, which this user alone can read until it takes PATH's place. A temporary file is locked while
 * its process lives, so what a crash left behind is known for that, by any clock, and goes when PATH is written next.
 */
#ifndef BL_REPLACE_H
#define BL_REPLACE_H

#include "base/base.h"

struct bl_replace {
    const char *path;
    char *temporary;        // NULL: what exists is written itself
    int folder, descriptor; // of a cache; AT_FDCWD
    bool cache;             // what is lost costs time alone: neither is the disk waited for
};
/* path must outlive it. What exists and is not a regular file (a device, a pipe) is written directly, unless another
 * user put it there. BLANCH_EIO. */
int bl_replace_open(struct bl_replace *file, const char *path);
/* The same for a file in an open folder, a cache's. */
int bl_replace_open_in(struct bl_replace *file, int folder, const char *name);
int bl_replace_write(struct bl_replace *file, const void *data, size_t size);
/* Always called after a successful open. code: how writing went; unless 0, the new file is given up. Returns code or
 * BLANCH_EIO. */
int bl_replace_close(struct bl_replace *file, int code);
bool bl_replace_is_temporary(const char *name); // by its form
/* Removes from a folder the temporary files of processes that are no more: those of one name, or all (NULL). */
void bl_replace_clear(int folder, const char *name);
void bl_replace_clear_path(const char *folder);

#endif
