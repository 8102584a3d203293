/* Measuring on first use: within a few seconds, said once. */
#include "cli/tune.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show(void *context, int done, int total, const char *text) {
    struct bl_first_use *use = context;
    if (use->quiet) return;
    if (!use->said)
        fprintf(stderr,
                "measuring engines for new shapes, for at most %d s; kept for later runs (--no-tune: by rule)\n",
                BL_FIRST_USE_SECONDS);
    use->said = true;
    if (!use->progress) use->progress = bl_progress_start("tune", total);
    bl_progress_step(use->progress, done, "%s", text);
}

static void refused(void *context, const char *line) {
    struct bl_first_use *use = context;
    if (!use->quiet) bl_progress_line(use->progress, "%s", line);
}

void bl_first_use_bounds(struct bl_first_use *use, bool no_tune, bool *wanted) {
    const char *off = getenv("BLANCH_TUNE");
    *wanted = !no_tune && !(off && !strcmp(off, "0"));
    use->bounds = (struct bl_tune_bounds){.seconds = BL_FIRST_USE_SECONDS,
                                          .candidate = 1,
                                          .brief = true,
                                          .stop = &bl_train_stop,
                                          .progress = show,
                                          .refused = refused,
                                          .context = use};
}

int bl_first_use_open(struct bl_first_use *use, bool no_tune) {
    bool wanted;
    bl_first_use_bounds(use, no_tune, &wanted);
    return wanted ? bl_tuner_create(&use->tuner) : 0;
}

int bl_first_use_network(struct bl_first_use *use, struct blanch_network **net, struct blanch_device *dev,
                         const struct blanch_network_options *options) {
    if (!use->tuner) return blanch_network_create(net, dev, options);
    int code = bl_tune_create(use->tuner, net, dev, options, &use->bounds, &use->report);
    use->bounds.seconds = BL_FIRST_USE_SECONDS - use->report.seconds;
    bl_progress_end(use->progress);
    use->progress = NULL;
    if (use->report.warning[0]) fprintf(stderr, "blanch: %s\n", use->report.warning);
    use->report.warning[0] = 0;
    return code;
}

void bl_first_use_close(struct bl_first_use *use) {
    bl_progress_end(use->progress);
    bl_tuner_free(use->tuner);
    use->tuner = NULL, use->progress = NULL;
}
