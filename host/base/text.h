/* Text from outside: names of files, classes, layers and devices, settings, dates of documents. It may hold any bytes.
 * Each medium has one function that makes it harmless: bl_text_show for a terminal (and with it every message),
 * bl_json_print (io/json.h) for JSON, bl_html_text and bl_csv_text (report/html.h) for pages and tables. */
#ifndef BL_TEXT_H
#define BL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the UTF-8 character at text, 1 to 4, and its code point; 0: no character, the first byte stands for
 * itself. text ends with a NUL, which is none. */
int bl_utf8(const char *text, uint32_t *code);
/* Does something to whoever shows it: controls (C0, DEL, C1), what turns the direction of writing, separators of lines,
 * marks that nobody sees. */
bool bl_text_hidden(uint32_t code);
/* A value 0 to 255 of two digits 0-9A-F; -1: they are none. */
int bl_text_hex(const char *digits);

/* One line of UTF-8 that a terminal shows as it stands: hidden characters become \xNN or \uNNNN, bytes that are no
 * UTF-8 \xNN. As snprintf: at most size bytes with the NUL, cut between characters; returns the length of the whole. */
size_t bl_text_show(char *out, size_t size, const char *text);
/* The length of a decimal number, or of a whole one, that text starts with, and its value; 0: there is none, or (whole)
 * it does not fit. As options take them: no blank before it, no "+", no hexadecimal, no "inf". */
size_t bl_text_decimal(const char *text, double *value);
size_t bl_text_whole(const char *text, long long *value);
/* The length of what of text fits into size bytes with a NUL without cutting a character. */
size_t bl_text_fit(const char *text, size_t size);

/* The name that a mistyped word most likely meant; NULL: none is near, as of words beyond BL_MAX_WORD. names ends with
 * NULL. */
enum { BL_MAX_WORD = 32 };
const char *bl_nearest(const char *word, const char *const *names);

#endif
