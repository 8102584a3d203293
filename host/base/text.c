#include "base/text.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Neither surrogates nor longer forms than needed, as Unicode defines it. */
int bl_utf8(const char *text, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    if (*bytes < 0x80) return *code = *bytes, *bytes != 0;
    int length = *bytes >= 0xf8 ? 0 : *bytes >= 0xf0 ? 4 : *bytes >= 0xe0 ? 3 : *bytes >= 0xc0 ? 2 : 0;
    *code = length ? *bytes & (0x7fu >> length) : 0;
    for (int i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0;
        *code = *code << 6 | (bytes[i] & 0x3f);
    }
    bool right = *code >= least[length] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
    return right ? length : 0;
}

bool bl_text_hidden(uint32_t code) {
    static const struct {
        uint32_t first, last;
    } hidden[] = {{0, 0x1f},        {0x7f, 0x9f},     {0x61c, 0x61c},   {0x200e, 0x200f}, {0x2028, 0x202e},
                  {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code >= hidden[i].first && code <= hidden[i].last) return true;
    return false;
}

int bl_text_hex(const char *digits) {
    static const char known[] = "0123456789ABCDEF";
    const char *high = *digits ? strchr(known, digits[0]) : NULL;
    const char *low = high && digits[1] ? strchr(known, digits[1]) : NULL;
    return low ? (int)((high - known) * 16 + (low - known)) : -1;
}

size_t bl_text_show(char *out, size_t size, const char *text) {
    size_t length = 0, end = 0; // end: of what is whole in out
    for (int bytes; *text; text += bytes ? bytes : 1) {
        char piece[16];
        uint32_t code;
        bytes = bl_utf8(text, &code);
        if (!bytes || (bytes == 1 && bl_text_hidden(code)))
            snprintf(piece, sizeof piece, "\\x%02X", (unsigned char)*text);
        else if (bl_text_hidden(code))
            snprintf(piece, sizeof piece, code > 0xffff ? "\\U%08X" : "\\u%04X", (unsigned)code);
        else
            snprintf(piece, sizeof piece, "%.*s", bytes, text);
        size_t more = strlen(piece);
        if (end == length && length + more < size) {
            memcpy(out + end, piece, more);
            end += more;
        }
        length += more;
    }
    if (size) out[end] = 0;
    return length;
}

size_t bl_text_decimal(const char *text, double *value) {
    const char *first = text + (*text == '-');
    char *end;
    bool number = isdigit((unsigned char)first[*first == '.']), hexadecimal = *first == '0' && (first[1] | 32) == 'x';
    if (!number || hexadecimal) return 0;
    *value = strtod(text, &end);
    return (size_t)(end - text);
}

size_t bl_text_whole(const char *text, long long *value) {
    char *end;
    if (!isdigit((unsigned char)text[*text == '-'])) return 0;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno ? 0 : (size_t)(end - text);
}

size_t bl_text_fit(const char *text, size_t size) {
    size_t length = strlen(text), end = 0;
    if (length < size) return length;
    for (uint32_t code; size;) {
        int bytes = bl_utf8(text + end, &code);
        size_t next = end + (size_t)(bytes ? bytes : 1);
        if (next >= size) break;
        end = next;
    }
    return end;
}

/* --- what was meant --------------------------------------------------------------------------- */

static int smallest(int a, int b, int c) {
    int least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein's distance, of words up to BL_MAX_WORD, where two letters that have changed places count one. */
static int distance(const char *a, const char *b) {
    int n = (int)strlen(b), row[BL_MAX_WORD + 1], former[BL_MAX_WORD + 1] = {0};
    if (n > BL_MAX_WORD || strlen(a) > BL_MAX_WORD) return INT_MAX;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0], before = 0; // before: of the row before the last, two to the left
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int above = row[j];
            const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            if (swapped && before + 1 < row[j]) row[j] = before + 1;
            before = former[j - 1], former[j - 1] = diagonal, diagonal = above;
        }
        former[n] = diagonal;
    }
    return row[n];
}

const char *bl_nearest(const char *word, const char *const *names) {
    const char *best = NULL;
    int limit = (int)strlen(word) / 3 + 1, least = limit + 1;
    for (int i = 0; names[i]; i++) {
        int d = distance(word, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}
