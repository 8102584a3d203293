/* A directory of results: one process at a time, and what a killed one leaves there. */
#ifndef BL_DIRECTORY_H
#define BL_DIRECTORY_H

#include "base/base.h"

/* Of the directory itself: no file is made for it. It ends with its process, however that ends; children do not inherit
 * it. Zeros: nothing is locked. */
struct bl_lock {
    bool taken;
    bool unsupported; // the file system knows no locks: nobody is kept out
    int descriptor;
};
/* dir exists. BLANCH_EUSAGE: another process has it, the line names dir and `command`; or it cannot be opened. */
int bl_lock_take(struct bl_lock *lock, const char *dir, const char *command);
void bl_lock_release(struct bl_lock *lock); // of zeros: nothing

/* 1: dir has entries beside those that `passed` accepts; 0: it has none, or does not exist; BLANCH_EUSAGE: it cannot be
 * looked at. Nothing is changed. */
int bl_directory_used(const char *dir, bool (*passed)(const char *name));
bool bl_is_left_over(const char *name); // temporary files of a crash, logs that were put aside
/* Puts DIR/log.jsonl aside, if there is one, as DIR/log.N.jsonl with the first N that is free; N returned, 0: there was
 * none. BLANCH_EIO. */
int bl_log_put_aside(const char *dir);

#endif
