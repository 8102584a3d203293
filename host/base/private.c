/* Whose files and folders are. */
#include "base/private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_of_another(const struct stat *status) {
    return status->st_uid != geteuid() && status->st_uid != 0;
}

bool bl_is_private(const struct stat *status) {
    return !is_of_another(status) && !(status->st_mode & (S_IWGRP | S_IWOTH));
}

char *bl_distrust(const struct stat *status) {
    if (is_of_another(status)) return bl_format("belongs to another user (%ld)", (long)status->st_uid);
    return bl_format("may be written by others (mode %04o)", (unsigned)status->st_mode & 07777);
}

void bl_folder_warn(const char *path) {
    struct stat status;
    if (stat(path, &status) || !S_ISDIR(status.st_mode) || bl_is_private(&status)) return;
    char *why = bl_distrust(&status);
    if (why) bl_warn("%s %s: what it holds is not trusted, and may change meanwhile (SECURITY.md)", path, why);
    free(why);
}

bool bl_is_trap(const char *path) {
    struct stat target, here;
    if (stat(path, &target) || S_ISREG(target.st_mode) || S_ISDIR(target.st_mode)) return false;
    return !lstat(path, &here) && is_of_another(&here);
}

bool bl_is_planted(const char *path) {
    struct stat target, here;
    if (lstat(path, &here) || !is_of_another(&here)) return false;
    if (!S_ISLNK(here.st_mode)) return !S_ISREG(here.st_mode) && !S_ISDIR(here.st_mode);
    return stat(path, &target) || target.st_uid != here.st_uid || bl_is_trap(path);
}

DIR *bl_folder_list(int folder) {
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = again >= 0 ? fdopendir(again) : NULL;
    int cause = errno;
    if (!list && again >= 0) close(again);
    errno = cause;
    return list;
}
