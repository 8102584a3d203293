#include "io/json.h"
#include "base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- cJSON's memory, and what it does not tell -------------------------------------------------- */

/* Before there is any JSON and any thread. */
__attribute__((constructor)) static void hook(void) {
    cJSON_Hooks hooks = {.malloc_fn = bl_malloc, .free_fn = free};
    cJSON_InitHooks(&hooks);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* What is read as a byte: "xNN" behind a backslash, of one that can be no UTF-8, or of the backslash itself. */
static bool is_byte(const char *text) {
    int value = *text == 'x' ? bl_text_hex(text + 1) : -1;
    return value >= 0x80 || value == '\\';
}

/* One character of cJSON's text to `to` (room for 12), or a pair that a backslash begins; returns how much was read. */
static int put(const char *text, char **to) {
    uint32_t code;
    int bytes = bl_utf8(text, &code);
    if (!bytes)
        *to += sprintf(*to, "\\\\x%02X", (unsigned char)*text);
    else if (*text == '\\' && text[1] == '\\' && is_byte(text + 2))
        *to += sprintf(*to, "\\\\x5C"), bytes = 2;
    else if (*text == '\\' || !bl_text_hidden(code) || *text == '\n' || *text == '\t') // blanks between members
        memcpy(*to, text, (size_t)(bytes = *text == '\\' ? 2 : bytes)), *to += bytes;
    else if (code > 0xffff)
        *to += sprintf(*to, "\\u%04X\\u%04X", 0xd7c0 + (unsigned)(code >> 10), 0xdc00 + (unsigned)(code & 0x3ff));
    else
        *to += sprintf(*to, "\\u%04X", (unsigned)code);
    return bytes ? bytes : 1;
}

char *bl_json_print(const cJSON *json, bool indented) {
    char *text = !json ? NULL : indented ? cJSON_Print(json) : cJSON_PrintUnformatted(json), piece[16];
    if (bl_memory_lacked() || !text) {
        free(text);
        return bl_fail(BLANCH_ENOMEM, "out of host memory for JSON"), NULL;
    }
    size_t length = 0;
    for (const char *at = text; *at;) {
        char *to = piece;
        at += put(at, &to);
        length += (size_t)(to - piece);
    }
    if (length == strlen(text)) return text; // nothing got longer: nothing changes
    char *all = bl_malloc(length + 1), *to = all;
    for (const char *at = text; all && *at;) at += put(at, &to);
    if (all) *to = 0;
    free(text);
    return all;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* In place: it never gets longer. */
static void restore_bytes(char *text) {
    char *to = text ? strchr(text, '\\') : NULL;
    for (const char *from = to; from && (*to = *from); from++, to++) {
        if (*from != '\\' || !is_byte(from + 1)) continue;
        *to = (char)bl_text_hex(from + 2);
        from += 3;
    }
}

static void restore_all(cJSON *json) {
    for (; json; json = json->next) {
        restore_bytes(json->string);
        if (cJSON_IsString(json)) restore_bytes(json->valuestring);
        restore_all(json->child);
    }
}

/* A C string would end there, and two that differ would be one. */
static const char *find_nul(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (!text[i]) return text + i;
        if (text[i] != '\\') continue;
        if (i + 6 <= size && !memcmp(text + i, "\\u0000", 6)) return text + i;
        i++; // what it escapes
    }
    return NULL;
}

cJSON *bl_json_parse(const char *text, size_t size, const char **end) {
    const char *stopped = find_nul(text, size);
    cJSON *json = stopped ? NULL : cJSON_ParseWithLengthOpts(text, size, &stopped, false);
    size_t rest = json ? (size_t)(text + size - stopped) : 0;
    while (rest && strchr(" \t\r\n", text[size - rest])) rest--;
    if (end) *end = rest ? text + size - rest : stopped;
    if (rest) {
        cJSON_Delete(json);
        return NULL;
    }
    restore_all(json);
    return json;
}
