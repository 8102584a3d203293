/* Progress on standard error: a bar on a terminal, plain lines elsewhere. */
#include "base/text.h"
#include "cli.h"
#include "dataset.h"
#include "process.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bl_progress {
    char *title;
    int64_t total, first, done; // first: where this process began (a resumed run does not begin at 0)
    double started, shown;      // seconds; shown 0: never
    bool terminal, begun;
    char note[160];
};

static const double bar_interval = 0.1, line_interval = 5; // seconds

struct bl_progress *bl_progress_start(const char *title, int64_t total) {
    struct bl_progress *progress = bl_calloc(1, sizeof *progress);
    if (!progress) return NULL;
    progress->title = bl_strdup(title);
    progress->total = total > 0 ? total : 1;
    progress->started = bl_now();
    progress->terminal = isatty(STDERR_FILENO) == 1;
    return progress;
}

static void format_time(char *text, size_t size, double seconds) {
    long s = seconds < 0 ? 0 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
}

static int terminal_columns(void) {
    const int columns = bl_terminal_columns();
    return columns > 20 ? columns : 80;
}

static void time_left(const struct bl_progress *p, char *text, size_t size) {
    double elapsed = bl_now() - p->started;
    int64_t here = p->done - p->first;
    if (here <= 0)
        snprintf(text, size, "-");
    else
        format_time(text, size, elapsed / (double)here * (double)(p->total - p->done));
}

/* The bar takes what the words leave of the line. */
static void show_bar(const struct bl_progress *p, const char *left) {
    enum { LEAST = 6, MOST = 30 };
    char words[800], bar[MOST + 1];
    snprintf(words, sizeof words, "%lld/%lld  %s left  %s", (long long)p->done, (long long)p->total, left,
             bl_shown(p->note));
    int columns = terminal_columns() - 1, title = p->title ? (int)strlen(p->title) : 0;
    int cells = columns - (int)strlen(words) - title - 4;
    cells = cells < LEAST ? LEAST : cells > MOST ? MOST : cells;
    int full = (int)((double)cells * (double)p->done / (double)p->total);
    for (int i = 0; i < cells; i++) bar[i] = i < full ? '#' : '.';
    bar[cells] = 0;
    int room = columns - cells - title - 4;
    fprintf(stderr, "\r%s [%s] %.*s\033[K", p->title ? p->title : "", bar,
            room > 0 ? (int)bl_text_fit(words, (size_t)room + 1) : 0, words);
    fflush(stderr);
}

static void show(struct bl_progress *p) {
    char left[32];
    time_left(p, left, sizeof left);
    if (p->terminal)
        show_bar(p, left);
    else
        fprintf(stderr, "%s %lld/%lld, %s left  %s\n", p->title ? p->title : "", (long long)p->done,
                (long long)p->total, left, bl_shown(p->note));
    p->shown = bl_now();
}

void bl_progress_step(struct bl_progress *progress, int64_t done, const char *format, ...) {
    if (!progress) return;
    if (!progress->begun) {
        progress->begun = true;
        progress->first = done > 0 ? done - 1 : 0;
    }
    progress->done = done < progress->total ? done : progress->total;
    if (format) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(progress->note, sizeof progress->note, format, arguments);
        va_end(arguments);
    }
    double since = bl_now() - (progress->shown > 0 ? progress->shown : progress->started);
    if (since >= (progress->terminal ? bar_interval : line_interval) || done >= progress->total) show(progress);
}

void bl_progress_line(struct bl_progress *progress, const char *format, ...) {
    bool bar = progress && progress->terminal && progress->shown > 0;
    char text[8192], shown[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bl_text_show(shown, sizeof shown, text);
    fprintf(stderr, "%s%s\n", bar ? "\r\033[K" : "", shown);
    if (bar) show(progress);
}

void bl_progress_end(struct bl_progress *progress) {
    if (!progress) return;
    if (progress->terminal && progress->shown > 0) fputs("\r\033[K", stderr); // a bar is no result: it goes
    free(progress->title);
    free(progress);
}

void bl_say_data(struct bl_dataset *data, const char *spec) {
    char *found = bl_dataset_describe(data);
    bl_progress_line(NULL, "%s: %s", spec, found ? found : "");
    free(found);
    for (const char *message; (message = bl_dataset_message(data));) bl_progress_line(NULL, "warning: %s", message);
}
