/* Files and JSON: small helpers over the system and cJSON. */
#ifndef BL_FILES_H
#define BL_FILES_H

#include "base/base.h"
#include <cjson/cJSON.h>

int bl_file_read(const char *path, char **data, size_t *size); // malloc'd, a NUL after it; BLANCH_EINPUT
int bl_file_write(const char *path, const void *data,
                  size_t size); // atomically, through PATH.tmp and rename; BLANCH_EIO
bool bl_path_exists(const char *path); // or cannot be looked at, which opening it tells
int bl_make_dirs(const char *path);               // like mkdir -p; BLANCH_EIO
int bl_json_read(const char *path, cJSON **json); // BLANCH_EINPUT
/* The text of a document, malloc'd; NULL with the message set: no memory, or some was lacking as it was made, and keys
 * are missing. cJSON does not tell; its memory is bl_malloc's, so bl_memory_lacked does, also why a text is no JSON. */
char *bl_json_print(const cJSON *json, bool formatted);
int bl_json_write(const char *path, const cJSON *json);
/* One line to an open log, flushed; the json is deleted, also on failure. */
int bl_json_line(void *file /* FILE* */, cJSON *json, const char *path);
/* Number with at most digits significant digits, so that files stay readable. NaN and infinities become null. */
cJSON *bl_json_number(double value, int digits);
cJSON *bl_json_float(float value); // the shortest text that reads back as the same float

/* Writing a file in pieces so that the former one survives any failure: data go to PATH.tmp, which bl_replace_close
 * syncs and renames. What exists and is not a regular file (a device, a pipe) is written directly. path must outlive
 * it. */
struct bl_replace {
    const char *path;
    char *temporary;
    int descriptor;
};
int bl_replace_open(struct bl_replace *file, const char *path);
int bl_replace_write(struct bl_replace *file, const void *data, size_t size);
/* Always called after a successful open. code: how writing went; unless 0, the new file is given up. Returns code or
 * BLANCH_EIO. */
int bl_replace_close(struct bl_replace *file, int code);

#endif
