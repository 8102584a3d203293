/* JSON to and from text. A string of a document may hold any bytes but NUL, as names of files do. The text holds UTF-8
 * alone: a byte that is none is written as the four characters \xNN (its backslash is doubled, as JSON has it), a
 * backslash that would be read as the beginning of such as \x5C; reading turns both back. What bl_text_hidden names is
 * written as \uNNNN. */
#ifndef BL_JSON_H
#define BL_JSON_H

#include "base/base.h"
#include <cjson/cJSON.h>

/* malloc'd; NULL with the message set: no memory, for json NULL too, or some was lacking as it was made, and keys are
 * missing. cJSON does not tell; its memory is bl_malloc's, so bl_memory_lacked does, also why a text is no JSON. */
char *bl_json_print(const cJSON *json, bool indented);
/* Of size bytes, all of them but blanks at the end; NULL: it is no JSON, or a string in it holds a NUL. *end, where
 * given, is where reading stopped. */
cJSON *bl_json_parse(const char *text, size_t size, const char **end);

#endif
