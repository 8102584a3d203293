/* Files and JSON: small helpers over the system and cJSON. */
#ifndef BL_FILES_H
#define BL_FILES_H

#include "base/cache.h"
#include "base/replace.h"
#include <cjson/cJSON.h>
#include <stdio.h>

/* malloc'd, a NUL after it. BLANCH_EINPUT: also of what is no regular file, without waiting for it, and of what another
 * user put in its place (bl_is_planted). */
int bl_file_read(const char *path, char **data, size_t *size);
/* The same of a file in path's folder, by its bare name; links are not followed. */
int bl_file_read_beside(const char *path, const char *name, char **data, size_t *size);
int bl_file_write(const char *path, const void *data, size_t size);  // atomically, as bl_replace; BLANCH_EIO
bool bl_path_exists(const char *path);                               // or cannot be looked at, which opening it tells
bool bl_same_file(const char *a, const char *b);                     // both are there, and are one
int bl_make_dirs(const char *path);                                  // like mkdir -p; BLANCH_EIO
int bl_json_read(const char *path, cJSON **json);                    // BLANCH_EINPUT, of more than 256 MiB too
int bl_json_read_given(const char *path, cJSON **json);              // of a path of the command line: a pipe too
int bl_json_read_small(const char *path, size_t most, cJSON **json); // of at most so many bytes
int bl_json_write(const char *path, const cJSON *json);
/* A file of a cache, to be deleted; NULL: none that is JSON. */
cJSON *bl_json_cached(const struct bl_cache *cache, const char *name);
void bl_json_cache(const struct bl_cache *cache, const char *name, const cJSON *json);
/* A log to append lines to, made where it is missing; links are not followed: what they lead to would be changed.
 * NULL with the message set. */
FILE *bl_log_open(const char *path);
/* One line to an open log, flushed; the json is deleted, also on failure. */
int bl_json_line(void *file /* FILE* */, cJSON *json, const char *path);
/* Number with at most digits significant digits, so that files stay readable. NaN and infinities become null. */
cJSON *bl_json_number(double value, int digits);
cJSON *bl_json_float(float value); // the shortest text that reads back as the same float

#endif
