/* Files and JSON: small helpers over the system and cJSON. */
#ifndef BL_FILES_H
#define BL_FILES_H

#include "base/base.h"
#include <cjson/cJSON.h>

int bl_file_read(const char *path, char **data, size_t *size);          // malloc'd, a NUL after it; BLANCH_EINPUT
int bl_file_write(const char *path, const void *data, size_t size);     // atomically, through PATH.tmp and rename; BLANCH_EIO
bool bl_path_exists(const char *path);
int bl_make_dirs(const char *path);                                     // like mkdir -p
int bl_json_read(const char *path, cJSON **json);
int bl_json_write(const char *path, const cJSON *json);
/* One line to an open log, flushed; the json is deleted. */
int bl_json_line(void *file /* FILE* */, cJSON *json, const char *path);
/* Number with at most digits significant digits, so that files stay readable. */
cJSON *bl_json_number(double value, int digits);

#endif
