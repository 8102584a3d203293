/* Printing what comes from outside, and errors. */
#include "base/text.h"
#include "cli.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *bl_shown(const char *text) {
    static struct {
        char *data;
        size_t size;
    } ring[8];
    static int next;
    const int at = next++ % BL_COUNT(ring);
    size_t need = bl_text_show(NULL, 0, text) + 1;
    if (need > ring[at].size) {
        char *larger = bl_realloc(ring[at].data, need);
        if (!larger) return "(out of host memory)";
        ring[at].data = larger, ring[at].size = need;
    }
    bl_text_show(ring[at].data, need, text);
    return ring[at].data;
}

void bl_print_number(double value, int width, const char *format) {
    char text[32];
    snprintf(text, sizeof text, format, value);
    printf(" %*s", width, isnan(value) ? "-" : text);
}

/* The message's later lines (a compiler's log) stay out of the one line that an error is. */
void bl_print_error(int code) {
    const char *message = blanch_error_message();
    if (!*message) message = blanch_error_text(code);
    fflush(stdout); // what was printed before stands before it
    fprintf(stderr, "blanch: %.*s\n", (int)strcspn(message, "\n"), message);
    const char *more = strchr(message, '\n');
    if (!more || !more[1] || !getenv("BLANCH_VERBOSE")) return;
    for (const char *line = more + 1, *end; *line; line = *end ? end + 1 : end) {
        end = line + strcspn(line, "\n");
        char *copy = bl_format("%.*s", (int)(end - line), line);
        if (copy) fprintf(stderr, "%s\n", bl_shown(copy));
        free(copy);
    }
}
