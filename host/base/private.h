/* Whose files and folders are: what another user owns or can write is not trusted (SECURITY.md). */
#ifndef BL_PRIVATE_H
#define BL_PRIVATE_H

#include "base/base.h"
#include <dirent.h>
#include <sys/stat.h>

/* Only this user and root can change it: they own it, and neither group nor others may write. */
bool bl_is_private(const struct stat *status);
/* malloc'd: what keeps a file or folder from being private, as in "belongs to user 1001". */
char *bl_distrust(const struct stat *status);
/* Warns, once for each folder, where one is not private. What is no folder is passed over. */
void bl_folder_warn(const char *path);
/* What stands at path, not followed, is a pipe, a device or a link to one that another user put there: to open it could
 * take without end. Of root's and this user's own, such as /dev/stdout, false. */
bool bl_is_trap(const char *path);
/* The same of what is to be read, and also a link that another user put to a file that is not that user's. */
bool bl_is_planted(const char *path);
/* What an open folder holds, from its beginning, to be closed with closedir; NULL with errno set. */
DIR *bl_folder_list(int folder);

#endif
