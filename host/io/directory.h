/* A directory of results: one process at a time, and what a killed one leaves there. */
#ifndef BL_DIRECTORY_H
#define BL_DIRECTORY_H

#include "base/base.h"

/* A file that is locked while its process lives, however that ends, and holds the process's number; one that ends in
 * order takes it away. Children do not inherit it. */
struct bl_lock {
    char *path; // NULL: nothing is locked
    int descriptor;
    bool unsupported; // the file system knows no locks: nobody is kept out
};
/* Locks DIR/NAME; DIR exists. BLANCH_EUSAGE: another process has it; the line names DIR, the process, and `command`. */
int bl_lock_take(struct bl_lock *lock, const char *dir, const char *name, const char *command);
void bl_lock_release(struct bl_lock *lock); // of zeros: nothing

/* 1: dir has entries beside those that `passed` accepts and temporary files that a crash left, which go; 0: it has
 * none, or does not exist; BLANCH_EUSAGE: it cannot be looked at. */
int bl_directory_used(const char *dir, bool (*passed)(const char *name));
bool bl_is_left_over(const char *name); // the lock, logs that were put aside
/* Puts DIR/log.jsonl aside, if there is one, as DIR/log.N.jsonl with the first N that is free; N returned, 0: there was
 * none. BLANCH_EIO. */
int bl_log_put_aside(const char *dir);

#endif
