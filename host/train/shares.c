/* Which rank has how many images of a batch, by measured speed. */
#include "train/ranks.h"
#include "sched/shares.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIMED = 3, REVIEW = 100 };                          // steps
static const double gain_alike = 0.25, gain_unlike = 0.10; // of a step's time, for which shares change

static int ranks_of(const struct run *run) {
    return run->ranks->ranks;
}

/* --- what is asked for, or recorded --------------------------------------------------------------- */

static int parse(const struct run *run, const char *text, int *share) {
    const char *at = text;
    for (int k = 0; k < ranks_of(run); k++) {
        char *end;
        const long value = strtol(at, &end, 10);
        const char wanted = k + 1 < ranks_of(run) ? ',' : 0;
        if (end == at || *end != wanted || value < 1 || value > 1 << 20)
            return bl_fail(BLANCH_EUSAGE,
                           "--shares takes auto, equal, or a number of 1 or more for each of %d ranks, "
                           "separated by commas, not '%s'",
                           ranks_of(run), text);
        share[k] = (int)value, at = end + 1;
    }
    return 0;
}

/* Of a run on the same devices. */
static bool read_recorded(const struct run *run, int *share) {
    const cJSON *ranks = cJSON_GetObjectItemCaseSensitive(run->config.json, "ranks");
    if (!run->o.resume || cJSON_GetArraySize(ranks) != ranks_of(run)) return false;
    for (int k = 0; k < ranks_of(run); k++) {
        const cJSON *row = cJSON_GetArrayItem(ranks, k), *of = cJSON_GetObjectItemCaseSensitive(row, "share");
        const char *device = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "device"));
        if (!device || strcmp(device, bl_ranks_at(run->ranks, k)->device) || !cJSON_IsNumber(of) || of->valuedouble < 1)
            return false;
        share[k] = (int)of->valuedouble;
    }
    return true;
}

/* --- measuring ---------------------------------------------------------------------------------- */

static int fill(struct bl_batch *batch, const struct bl_network_options *o) {
    const size_t values = (size_t)batch->count * (size_t)o->channels * (size_t)o->height * (size_t)o->width;
    float *images = bl_calloc(values, sizeof *images);
    int32_t *labels = bl_calloc((size_t)batch->count, sizeof *labels);
    uint32_t word[4];
    batch->images = images, batch->labels = labels;
    if (!images || !labels) return BLANCH_ENOMEM;
    for (size_t i = 0; i < values; i++) {
        if (i % 4 == 0) bl_philox(1, BL_RANDOM_DATA, i / 4, 0, word);
        images[i] = 2 * bl_uniform(word[i % 4]) - 1;
    }
    for (int i = 0; i < batch->count; i++) labels[i] = i % o->classes;
    return 0;
}

/* The best of a few steps on made-up images; active false: the others do. */
static int time_steps(const struct run *run, struct blanch_network *net, bool active, double *ms) {
    struct bl_batch batch = {.count = net->options.batch};
    const struct bl_step wanted = {.batch = &batch, .update = &run->o.update, .finish = true};
    struct bl_stepped stepped;
    int code = fill(&batch, &net->options);
    for (int i = 0; i <= TIMED && !code; i++) {
        if (i == 1) code = bl_run_wait_for_all(run); // the first one builds kernels
        if (code || !active) continue;
        code = bl_session_step(net->session, &wanted, &stepped);
        if (i && !code) *ms = *ms > 0 ? fmin(*ms, stepped.wall_ms) : stepped.wall_ms;
        bl_stepped_release(&stepped);
    }
    free((void *)batch.images), free((void *)batch.labels);
    return code;
}

static int gather_speeds(const struct run *run, int images, double ms, double *speed) {
    const struct bl_collectives *all = bl_staged_table(run->staged);
    const double own = ms > 0 ? 1e3 * images / ms : 0;
    return all->gather_host(all->context, &own, 1, speed);
}

/* With all ranks at work, then without those that are slow. */
static int measure(const struct run *run, struct blanch_network *net, double *speed, double *alone, bool *keep) {
    const int images = net->options.batch, ranks = ranks_of(run);
    double ms = 0;
    int code = time_steps(run, net, true, &ms);
    if (!code) code = gather_speeds(run, images, ms, speed);
    if (code || !bl_shares_doubt(speed, ranks, keep)) return code;
    ms = 0;
    code = time_steps(run, net, keep[run->ranks->rank], &ms);
    if (!code) code = gather_speeds(run, images, ms, alone);
    if (!code && bl_shares_help(speed, alone, ranks, keep))
        for (int k = 0; k < ranks; k++) keep[k] = true;
    return code;
}

static int measure_shares(struct run *run, double *speed, double *alone, bool *keep) {
    struct blanch_network *net = NULL;
    struct bl_network_options options = run->o.network;
    options.batch = (options.batch + ranks_of(run) - 1) / ranks_of(run);
    options.accumulate = 0;
    if (options.batch < 2) options.batch = 2;
    int code = bl_network_create(&net, run->dev, &options);
    if (!code) code = measure(run, net, speed, alone, keep);
    blanch_network_free(net);
    if (!code) bl_shares_of(speed, ranks_of(run), run->o.network.batch, run->share);
    return code;
}

/* --- choosing ----------------------------------------------------------------------------------- */

static int are_alike(struct run *run) {
    const struct bl_collectives *all = bl_staged_table(run->staged);
    const struct blanch_device_info *info = blanch_device_info(run->dev);
    const uint64_t name = bl_hash(BL_HASH_START, info->name, strlen(info->name));
    const double own[] = {(double)(uint32_t)name, info->compute_units, info->clock_mhz};
    double *others = bl_calloc((size_t)ranks_of(run), sizeof own);
    int code = others ? all->gather_host(all->context, own, BL_COUNT(own), others) : BLANCH_ENOMEM;
    run->alike = true;
    for (int i = BL_COUNT(own); i < BL_COUNT(own) * ranks_of(run) && !code; i++)
        run->alike &= others[i] == others[i % BL_COUNT(own)];
    free(others);
    return code;
}

/* The ranks that are left out have nothing to do any more. */
static int leave_out(struct run *run, const double *speed, const double *alone, const bool *keep) {
    const int ranks = ranks_of(run);
    double with = 0, without = 0;
    int kept = 0;
    for (int k = 0; k < ranks; k++) with += speed[k], without += keep[k] ? alone[k] : 0, kept += keep[k];
    for (int k = 0; k < ranks; k++)
        bl_run_tell(run, BL_TRAIN_STARTED, "rank %d: %s: %.0f images/s%s", k, bl_ranks_at(run->ranks, k)->device,
                    speed[k], keep[k] ? "" : ", left out");
    if (kept < ranks)
        bl_run_tell(run, BL_TRAIN_STARTED, "all ranks: %.0f images/s; without those left out %.0f", with, without);
    if (kept == ranks) return 0;
    for (int k = 0, to = 0; k < ranks; k++)
        if (keep[k]) run->share[to++] = run->share[k];
    bl_staged_close(run->staged);
    run->staged = NULL;
    int code = bl_ranks_keep(run->ranks, keep, &run->left_out);
    return code || run->left_out ? code : bl_staged_open(&run->staged, &run->ranks->all);
}

int bl_run_share(struct run *run) {
    const char *asked = run->o.shares;
    if (!run->ranks) return 0;
    const size_t ranks = (size_t)ranks_of(run);
    if (!(run->share = bl_calloc(ranks, sizeof *run->share))) return BLANCH_ENOMEM;
    for (size_t k = 0; k < ranks; k++) run->share[k] = 1;
    run->shares_fixed = asked && strcmp(asked, "auto") != 0;
    if (run->shares_fixed) return strcmp(asked, "equal") ? parse(run, asked, run->share) : 0;
    int code = are_alike(run);
    if (code || run->alike || read_recorded(run, run->share)) return code;
    double *speed = bl_calloc(2 * ranks, sizeof *speed);
    bool *keep = bl_calloc(ranks, sizeof *keep);
    code = speed && keep ? measure_shares(run, speed, speed + ranks, keep) : BLANCH_ENOMEM;
    if (!code) code = leave_out(run, speed, speed + ranks, keep);
    free(speed), free(keep);
    return code;
}

/* --- again, when speeds have changed -------------------------------------------------------------- */

static int log_shares(struct run *run, const double *speed) {
    cJSON *line = bl_run_log_line("shares");
    cJSON_AddNumberToObject(line, "step", (double)run->position.step);
    cJSON_AddItemToObject(line, "shares", cJSON_CreateIntArray(run->share, ranks_of(run)));
    cJSON_AddItemToObject(line, "images_per_s", cJSON_CreateDoubleArray(speed, ranks_of(run)));
    bl_run_tell(run, BL_TRAIN_STARTED, "step %lld: the batch is shared anew, as the devices' speeds have changed",
                (long long)run->position.step);
    return bl_run_log(run, line);
}

/* No more than each rank's network takes. */
static int take_shares(struct run *run, const int *share) {
    struct bl_division_of part = run->part;
    part.share = share;
    const struct bl_collectives *all = bl_staged_table(run->staged);
    double wrong = bl_divide_most(&part, run->o.network.batch) > run->net->options.batch;
    int code = all->sum_host(all->context, &wrong, 1);
    if (code || wrong > 0) return code;
    bl_loader_close(run->session.loader);
    run->session.loader = NULL;
    memcpy(run->share, share, (size_t)ranks_of(run) * sizeof *share);
    const struct bl_loader_options loading = bl_run_loading(run);
    return bl_session_load(&run->session, run->data, &loading);
}

int bl_run_review_shares(struct run *run, const struct bl_stepped *stepped) {
    if (!run->ranks || run->shares_fixed) return 0;
    run->busy_ms += stepped->busy_ms, run->busy_images += stepped->batch.count;
    if (run->position.step % REVIEW) return 0;
    const int ranks = ranks_of(run), batch = run->o.network.batch;
    double *speed = bl_calloc((size_t)ranks, sizeof *speed);
    int *share = bl_calloc((size_t)ranks, sizeof *share);
    int code = speed && share ? gather_speeds(run, (int)run->busy_images, run->busy_ms, speed) : BLANCH_ENOMEM;
    bool known = !code;
    for (int k = 0; k < ranks && !code; k++) known &= speed[k] > 0;
    run->busy_ms = 0, run->busy_images = 0;
    if (known) {
        bl_shares_of(speed, ranks, batch, share);
        const double now = bl_shares_time(speed, run->share, ranks, batch),
                     then = bl_shares_time(speed, share, ranks, batch);
        if (now > (1 + (run->alike ? gain_alike : gain_unlike)) * then) {
            code = take_shares(run, share);
            if (!code) code = log_shares(run, speed);
        }
    }
    free(speed), free(share);
    return code;
}
