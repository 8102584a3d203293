/* Text and numbers for a page. */
#include "html.h"
#include "io/files.h"
#include "base/text.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(struct bl_html *html, const char *text, size_t length) {
    if (html->error) return;
    void *data = html->data;
    html->error = bl_grow(&data, &html->capacity, html->size + length + 1, 1);
    html->data = data;
    if (html->error) return;
    memcpy(html->data + html->size, text, length);
    html->size += length;
    html->data[html->size] = 0;
}

void bl_html(struct bl_html *html, const char *format, ...) {
    char small[512];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    if (length < (int)sizeof small) {
        append(html, small, (size_t)(length > 0 ? length : 0));
    } else {
        char *large = bl_calloc((size_t)length + 1, 1);
        if (!large)
            html->error = BLANCH_ENOMEM;
        else
            vsnprintf(large, (size_t)length + 1, format, again);
        if (large) append(html, large, (size_t)length);
        free(large);
    }
    va_end(again);
    va_end(arguments);
}

static void append_escaped(struct bl_html *html, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '&':
            append(html, "&amp;", 5);
            break;
        case '<':
            append(html, "&lt;", 4);
            break;
        case '>':
            append(html, "&gt;", 4);
            break;
        case '"':
            append(html, "&quot;", 6);
            break;
        case '\'':
            append(html, "&#39;", 5);
            break;
        default:
            append(html, text, 1);
        }
    }
}

void bl_html_text(struct bl_html *html, const char *text) {
    char small[256];
    size_t length = text ? bl_text_show(small, sizeof small, text) : 0;
    if (!length) return;
    char *large = length < sizeof small ? NULL : bl_malloc(length + 1);
    if (large)
        bl_text_show(large, length + 1, text);
    else if (length >= sizeof small)
        html->error = BLANCH_ENOMEM;
    append_escaped(html, large ? large : small);
    free(large);
}

void bl_html_said(struct bl_html *html, const char *text) {
    char part[600];
    for (bool code = false; *text; code = !code) {
        const size_t length = strcspn(text, "`");
        snprintf(part, sizeof part, "%.*s", (int)length, text);
        if (code) bl_html(html, "<code>");
        bl_html_text(html, part);
        if (code) bl_html(html, "</code>");
        text += length + (text[length] == '`');
    }
}

void bl_html_cell(struct bl_html *html, double value, const char *text) {
    bl_html(html, "<td data-v=\"%.6g\">%s</td>", isfinite(value) ? value : -1, text);
}

void bl_html_share(struct bl_html *html, enum bl_limit limit, double part) {
    const char *beyond = bl_limit_beyond(limit, part);
    bl_html_cell(html, part, beyond ? beyond : bl_fixed(100 * part, 1));
}

static char *ring(void) {
    static char buffers[16][40];
    static int next;
    return buffers[next++ % 16];
}

static int decimals(double value) {
    double size = fabs(value);
    return size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
}

/* Longer numbers are nothing that was measured; they take the room of others. */
static bool is_long(double value) {
    return !(fabs(value) < 1e15);
}

const char *bl_short(double value) {
    if (!isfinite(value)) return "–";
    char *out = ring();
    snprintf(out, 40, "%.3g", value);
    return out;
}

const char *bl_fixed(double value, int digits) {
    if (is_long(value)) return bl_short(value);
    char *out = ring();
    snprintf(out, 40, "%.*f", digits, value);
    return out;
}

const char *bl_whole(double value) {
    if (is_long(value)) return bl_short(value);
    char digits[32], *out = ring(), *to = out;
    int length = snprintf(digits, sizeof digits, "%.0f", fabs(value));
    if (value < 0 && strcmp(digits, "0")) to += sprintf(to, "−");
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return out;
}

const char *bl_ms(double ms) {
    if (!isfinite(ms)) return "–";
    if (fabs(ms) >= 999.5) return bl_whole(ms);
    char *out = ring();
    snprintf(out, 40, "%.*f", decimals(ms), ms);
    return out;
}

const char *bl_signed_ms(double ms) {
    if (!isfinite(ms)) return "–";
    char *out = ring();
    if (fabs(ms) < 0.005) return "0";
    snprintf(out, 40, "%s%s", ms < 0 ? "−" : "+", bl_ms(fabs(ms)));
    return out;
}

const char *bl_percent(double percent) {
    if (!isfinite(percent)) return "–";
    char *out = ring();
    double size = fabs(percent);
    if (size < 0.05) return "0\u00a0%";
    const char *sign = percent < 0 ? "−" : "+";
    if (is_long(size))
        snprintf(out, 40, "%s%.3g\u00a0%%", sign, size);
    else
        snprintf(out, 40, "%s%.*f\u00a0%%", sign, size < 9.95 ? 1 : 0, size);
    return out;
}

/* --- heads of columns in cells -------------------------------------------------------------------- */

enum { MAX_COLUMNS = 48, MAX_HEAD = 64 };

/* The text of the cell that starts at `from`, without its tags. */
static const char *cell_text(const char *from, char *text) {
    size_t used = 0;
    bool tag = true; // within the cell's own
    const char *at = from;
    for (; *at && strncmp(at, "</th>", 5); at++) {
        if (*at == '<')
            tag = true;
        else if (*at == '>')
            tag = false;
        else if (!tag && used < MAX_HEAD - 1)
            text[used++] = *at;
    }
    text[used] = 0;
    if (used == MAX_HEAD - 1) { // no half of a character, nor of an escaped one
        text[bl_text_fit(text, MAX_HEAD - 1)] = 0;
        char *escape = strrchr(text, '&');
        if (escape && !strchr(escape, ';')) *escape = 0;
    }
    return at;
}

void bl_html_label_cells(struct bl_html *html) {
    struct bl_html out = {0};
    char head[MAX_COLUMNS][MAX_HEAD];
    int heads = 0, column = 0;
    const char *at = html->data, *copied = at;
    if (html->error) return;
    for (; *at; at++) {
        if (*at != '<') continue;
        if (!strncmp(at, "<table", 6))
            heads = 0;
        else if (!strncmp(at, "<tr", 3))
            column = 0;
        else if (!strncmp(at, "<th", 3) && (at[3] == '>' || at[3] == ' ') && heads < MAX_COLUMNS)
            at = cell_text(at, head[heads++]);
        else if (!strncmp(at, "<td", 3) && column < MAX_COLUMNS) {
            append(&out, copied, (size_t)(at + 3 - copied));
            copied = at + 3;
            if (column < heads) bl_html(&out, " data-h=\"%s\"", head[column]);
            column++;
        }
    }
    append(&out, copied, (size_t)(at - copied));
    free(html->data);
    *html = out;
}

void bl_html_begin(struct bl_html *html, const char *title) {
    bl_html(html, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                  "<link rel=\"icon\" href=\"data:,\"><title>Blanch: ");
    bl_html_text(html, title);
    bl_html(html, "</title>\n<style>%s</style></head>\n<body><main>\n", bl_report_style);
}

int bl_html_end(struct bl_html *html, const char *path, int code) {
    bl_html(html, "</main>\n<script>%s</script></body></html>\n", bl_report_script);
    bl_html_label_cells(html);
    if (!code) code = html->error ? html->error : bl_file_write(path, html->data, html->size);
    free(html->data);
    *html = (struct bl_html){0};
    return code;
}
