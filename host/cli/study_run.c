/* A cell of a study in its run directory, and the folder that holds them. */
#include "base/private.h"
#include "base/replace.h"
#include "cli/common.h"
#include "cli/study.h"
#include "cli/tune.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct screen {
    struct bl_progress *progress;
    const char *title;
};

static void listen(void *context, enum bl_train_event event, int64_t step, int64_t steps, const char *text) {
    struct screen *screen = context;
    if (event == BL_TRAIN_STEP) {
        if (!screen->progress) screen->progress = bl_progress_start(screen->title, steps);
        bl_progress_step(screen->progress, step, "%s", text);
    } else if (event != BL_TRAIN_DONE)
        bl_progress_line(screen->progress, "%s%s", event == BL_TRAIN_WARNING ? "warning: " : "", text);
}

static int train(const struct bl_cell_place *place, const char *folder, const struct bl_train_options *options) {
    struct bl_train_options o = *options;
    char title[64];
    struct screen screen = {NULL, title};
    struct bl_first_use use = {0};
    bl_first_use_init(&use, place->no_tune);
    snprintf(title, sizeof title, "cell %d/%d", place->number, place->count);
    if (use.wanted) o.tune = &use.bounds;
    o.out = folder;
    o.listener = listen;
    o.context = &screen;
    int code = bl_train(&o);
    bl_progress_end(screen.progress);
    return code;
}

/* A cell that diverged is a result like another: it is kept, and the rest go on. They do too where one does not fit the
 * device, which is named. */
static int keep(struct bl_cell *cell, const struct bl_cell_place *place, const char *folder, int code, int *status) {
    if (code == BLANCH_EDIVERGED) {
        char *message = bl_strdup(blanch_error_message());
        if (!message) return BLANCH_ENOMEM;
        bl_progress_line(NULL, "%s diverged: %s", place->name, message);
        code = bl_cell_record_divergence(folder, message);
        free(message);
        if (!*status) *status = bl_exit_status(BLANCH_EDIVERGED);
    } else if (code == BLANCH_ELIMIT) {
        bl_print_error(bl_fail_in(code, "%s is left out", place->name));
        *status = bl_exit_status(code);
        return 0;
    } else if (code == BLANCH_EINTERRUPTED)
        return bl_fail(code, "interrupted in %s; the same `blanch study` continues", place->name);
    if (code)
        return bl_fail_in(code, "%s (cell %d of %d, the others are not run)", place->name, place->number, place->count);
    return bl_cell_read_folder(cell, folder);
}

int bl_cell_run(struct bl_cell *cell, const struct bl_cell_place *place, const struct bl_train_options *o,
                int *status) {
    char *folder = bl_format("%s/%s", place->out, place->name);
    if (!folder) return BLANCH_ENOMEM;
    bl_progress_line(NULL, "cell %d of %d: %s%s%s", place->number, place->count, place->name,
                     cell->has_checkpoint ? ", continued" : "", place->left);
    int code = keep(cell, place, folder, train(place, folder, o), status);
    free(folder);
    return code;
}

int bl_cell_clear(const char *out, const char *name) {
    char *folder = bl_format("%s/%s", out, name);
    if (!folder) return BLANCH_ENOMEM;
    bl_replace_clear_path(folder);
    free(folder);
    return 0;
}

void bl_study_say_time(char *text, size_t size, double seconds) {
    if (!(seconds >= 0))
        *text = 0;
    else if (seconds < 5400)
        snprintf(text, size, "; about %.0f min left in all", ceil(seconds / 60));
    else
        snprintf(text, size, "; about %.1f h left in all", seconds / 3600);
}

int bl_study_lock(struct bl_lock *lock, const char *out) {
    int code = bl_make_dirs(out);
    bl_folder_warn(out);
    if (!code) code = bl_lock_take(lock, out, "study");
    if (!code && lock->unsupported)
        bl_progress_line(NULL, "%s is on a file system without locks: no other process may use it meanwhile", out);
    return code;
}
