/* Paths as the system writes them, and the user's own folders. */
#ifndef BL_PATH_H
#define BL_PATH_H

#include "base/base.h"

extern const char bl_separators[]; // characters that may stand between two names
/* The last name of a path: what stands behind the last separator. */
const char *bl_path_name(const char *path);
/* It names something in a folder and leads nowhere else. */
bool bl_path_is_name(const char *name);

/* Where programs keep what can be had anew, and what they were given: $XDG_CACHE_HOME or ~/.cache, $XDG_DATA_HOME or
 * ~/.local/share; on Windows %LOCALAPPDATA% in place of both in the home. malloc'd; NULL with the message set: no
 * variable says, or there is no memory. */
char *bl_cache_home(void);
char *bl_data_home(void);

#endif
