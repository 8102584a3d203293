/* Measuring on first use: within a few seconds, said once. */
#include "cli/tune.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show(void *context, int done, int total, const char *text) {
    struct bl_first_use *use = context;
    if (use->quiet) return;
    if (!text) {
        bl_progress_end(use->progress);
        use->progress = NULL;
        return;
    }
    if (!use->said)
        fprintf(stderr,
                "measuring engines for new shapes, for at most %d s; kept for later runs (--no-tune: by rule)\n",
                BL_FIRST_USE_SECONDS);
    use->said = true;
    if (!use->progress) use->progress = bl_progress_start("tune", total);
    bl_progress_step(use->progress, done, "%s", text);
}

static void say(void *context, const char *line) {
    struct bl_first_use *use = context;
    if (!use->quiet) bl_progress_line(use->progress, "%s", line);
}

void bl_first_use_init(struct bl_first_use *use, bool no_tune) {
    const char *off = getenv("BLANCH_TUNE");
    use->wanted = !no_tune && !(off && !strcmp(off, "0"));
    use->bounds = (struct bl_tune_bounds){.seconds = BL_FIRST_USE_SECONDS,
                                          .candidate = BL_FIRST_USE_CANDIDATE,
                                          .build = BL_FIRST_USE_BUILD,
                                          .progress = show,
                                          .said = say,
                                          .context = use};
}

int bl_first_use_open(struct bl_first_use *use, struct blanch_device *dev) {
    return use->wanted ? bl_tuner_open(dev, &use->bounds) : 0;
}
