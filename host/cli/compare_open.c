/* What a comparison opens before it trains: devices, data, a network and a session for each run. */
#include "compare.h"
#include "train/open.h"
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>

static int open_device(struct bl_compare *c, const char *spec) {
    int code = blanch_device_open(&c->device[c->devices], spec, c->common.max_alloc);
    if (code) return code;
    const char *name = blanch_device_info(c->device[c->devices])->name;
    bool taken = false;
    for (int d = 0; d < c->devices; d++) taken |= !strcmp(c->label[d], name);
    // kept for the end, when the networks may leave no memory to measure them
    if ((code = bl_limits_get(c->device[c->devices], false, &(struct bl_limits){0}))) {
        blanch_device_close(c->device[c->devices]);
        return code;
    }
    snprintf(c->label[c->devices], sizeof c->label[0], taken ? "%s (%s)" : "%s", name, spec);
    c->devices++;
    return 0;
}

int bl_compare_open_devices(struct bl_compare *c) {
    if (!c->device_list) return open_device(c, c->common.device);
    char *list = bl_strdup(c->device_list), *rest = NULL;
    int code = list ? 0 : BLANCH_ENOMEM;
    for (char *spec = list ? strtok_r(list, ",", &rest) : NULL; spec && !code; spec = strtok_r(NULL, ",", &rest)) {
        if (c->devices == BL_COMPARE_DEVICES) {
            code = bl_fail(BLANCH_EUSAGE, "--devices takes at most %d devices", BL_COMPARE_DEVICES);
            break;
        }
        code = open_device(c, spec);
    }
    free(list);
    if (!code && !c->devices) code = bl_fail(BLANCH_EUSAGE, "--devices names no device; `blanch devices` lists them");
    return code;
}

/* On each device for itself. */
static int choose_blocks(struct bl_compare *c, struct bl_compare_run *run, struct bl_network_options *network) {
    const struct bl_blocks_options options = {run->dev, c->data, &c->view, network, run->budget};
    bl_progress_line(NULL, "--block auto: steps with one block for all layers are measured");
    int code = bl_blocks_choose(&run->blocks, &options);
    if (code) return code;
    bl_progress_line(NULL, "%s", run->blocks.summary);
    bl_blocks_apply(&run->blocks, &network->nd);
    if (run->blocks.exact) run->budget = -1;
    return 0;
}

static int open_run(struct bl_compare *c, int device, const struct bl_compare_setting *setting) {
    if (c->model->task != BL_CLASSIFY)
        return bl_fail(BLANCH_EUSAGE, "%s generates images, and comparisons judge by accuracy: train it with each norm",
                       c->model->name);
    struct bl_compare_run *run = &c->run[c->runs++];
    struct bl_network_options network = {
        .model = c->common.model,
        .definition = c->model,
        .norm = setting->norm,
        .nd = setting->nd,
        .batch = c->common.batch,
        .classes = bl_dataset_classes(c->data),
        .channels = c->view.channels,
        .height = c->view.height,
        .width = c->view.width,
        .seed = (uint64_t)c->common.seed,
        .optimiser = setting->optimiser,
        .recompute = c->recompute,
        .precision = setting->precision,
        .loss.pairs = c->view.mixup > 0 || c->view.cutmix > 0,
    };
    run->dev = c->device[device];
    run->device = c->label[device];
    run->setting = setting;
    run->budget = setting->budget;
    int code = run->budget >= 0 ? bl_model_check_budget(c->model) : 0;
    if (!code)
        code = setting->norm == BLANCH_ND && setting->nd.block == BL_BLOCK_AUTO ? choose_blocks(c, run, &network) : 0;
    if (run->budget >= 0) network.nd.refresh = BL_REFRESH_SCHEDULED;
    if (!code) code = bl_network_create(&run->net, run->dev, &network);
    return code ? bl_fail_in(code, "%s with %s", c->common.model, bl_compare_name(setting)) : 0;
}

/* Its last step is what the budgets of the same device compare with. */
static int last_step_ms(void *context, const struct bl_batch *batch, double *ms) {
    const struct bl_compare_run *run = context;
    *ms = run->last_ms;
    return 0;
}

/* The comparison's own batch norm is a budget's baseline where it has one. */
static int open_session(struct bl_compare *c, struct bl_compare_run *run) {
    const struct bl_loader_options loader = {
        .split = BL_TRAIN,
        .view = c->view,
        .batch = c->common.batch,
        .training = true,
        .threads = c->common.data.workers,
        .least = c->least,
        .seed = (uint64_t)c->common.seed,
    };
    struct bl_baseline baseline = {.trained = true, .step = last_step_ms};
    struct bl_session_options options = {.ledger = true, .budget = run->budget};
    for (int b = 0; b < c->runs && !run->baseline; b++)
        if (c->run[b].dev == run->dev && c->run[b].setting->norm == BLANCH_BN) run->baseline = &c->run[b];
    baseline.context = run->baseline;
    if (run->baseline) options.baseline = &baseline;
    int code = bl_session_open(&run->session, run->net, &options);
    if (!code) code = bl_session_load(&run->session, c->data, &loader);
    if (!code && run->session.overhead && c->steps <= BL_BUDGET_WARMUP)
        bl_progress_line(NULL,
                         "blanch: --overhead-budget saves nothing here: the first %d steps refresh every layer, and "
                         "the next %d measure; give more --steps",
                         BL_BUDGET_ALL, BL_BUDGET_WARMUP - BL_BUDGET_ALL);
    return code ? bl_fail_in(code, "%s with %s", c->common.model, bl_compare_name(run->setting)) : 0;
}

/* Before anything is run, and again where what the networks take is known. */
static int check_steps(struct bl_compare *c) {
    const uint32_t images = bl_dataset_count(c->data, BL_TRAIN);
    if (c->epochs) c->steps = (int64_t)c->epochs * bl_epoch_batches(images, c->common.batch, c->least);
    if (c->steps >= BL_COMPARE_LEAST) return 0;
    if (!c->epochs)
        return bl_fail(BLANCH_EUSAGE, "a comparison needs at least %d steps, not %lld", BL_COMPARE_LEAST,
                       (long long)c->steps);
    return bl_fail(BLANCH_EUSAGE,
                   "a comparison needs at least %d steps, and %d epoch%s of %u images in batches of %d %s %lld; give "
                   "more --epochs or a smaller --batch",
                   BL_COMPARE_LEAST, c->epochs, c->epochs == 1 ? "" : "s", images, c->common.batch,
                   c->steps == 1 ? "is" : "are", (long long)c->steps);
}

/* All networks see the same batches: those that each of them takes. */
static int plan_steps(struct bl_compare *c) {
    const uint32_t images = bl_dataset_count(c->data, BL_TRAIN), rest = images % (uint32_t)c->common.batch;
    if (!images) return bl_fail(BLANCH_EINPUT, "%s holds no training images", c->data_spec);
    for (int r = 0; r < c->runs; r++) {
        int least = bl_network_least_batch(c->run[r].net);
        if (least > c->least) c->least = least;
    }
    if (c->drop_last) c->least = c->common.batch;
    int64_t batches = bl_epoch_batches(images, c->common.batch, c->least);
    if (!batches)
        return bl_fail(BLANCH_EUSAGE, "%s holds %u training images, and a batch takes %d%s: none is left", c->data_spec,
                       images, c->least, c->drop_last ? " with --drop-last" : " or more");
    if (rest && rest < (uint32_t)c->least)
        bl_progress_line(NULL, "the last batch of an epoch, of %u, is left out: %s", rest,
                         c->drop_last ? "--drop-last" : "a layer would have one value per channel, or one sample");
    int code = check_steps(c);
    c->whole = (int)((uint32_t)c->common.batch < images ? (uint32_t)c->common.batch : images);
    for (int s = 0; s < c->settings && !code; s++) {
        c->setting[s].schedule.steps = c->steps;
        c->setting[s].schedule.epoch_steps = batches;
        code = bl_schedule_check(&c->setting[s].schedule);
    }
    return code;
}

static void say_changes(const struct bl_compare *c) {
    const struct bl_network_options *o = &c->run[0].net->options;
    char changes[400];
    bl_model_changes(c->model, o->channels, o->classes, changes, sizeof changes);
    if (*changes) bl_progress_line(NULL, "%s", changes);
}

int bl_compare_open_runs(struct bl_compare *c) {
    const bool nd = bl_compare_has(c, BLANCH_ND);
    int code = 0;
    for (int d = 0; d < c->devices && !code; d++) code = bl_first_use_open(&c->use, c->device[d]);
    if (!nd || (!bl_compare_has(c, BLANCH_BN) && !bl_compare_has(c, BLANCH_NONE))) bl_common_say_unused(&c->common, nd);
    if (!code && c->devices * c->settings > BL_COMPARE_RUNS)
        code = bl_fail(BLANCH_EUSAGE, "%d networks at once are too many: at most %d", c->devices * c->settings,
                       BL_COMPARE_RUNS);
    for (int d = 0; d < c->devices && !code; d++)
        for (int s = 0; s < c->settings && !code; s++) code = open_run(c, d, &c->setting[s]);
    if (!code) code = plan_steps(c);
    if (!code) say_changes(c);
    for (int r = 0; r < c->runs && !code; r++) code = open_session(c, &c->run[r]);
    return code;
}

static int open_images(struct bl_compare *c) {
    const struct bl_common_data *d = &c->common.data;
    const struct bl_run_division division = {(uint64_t)c->common.seed, d->val_split, d->split_file};
    int code = bl_run_data_open(&c->data, &(struct bl_run_config){0}, c->data_spec, &division);
    return !code && d->cache ? bl_dataset_cache(c->data, d->cache) : code;
}

static int choose_view(struct bl_compare *c, const struct bl_network_options *input) {
    struct bl_common_data *d = &c->common.data;
    int code = bl_view_choose(&c->view, c->data, input, d->augment, &d->normalise);
    if (!code) code = bl_policy_parse(d->auto_augment, &c->view.policy);
    c->view.erase = isnan(d->random_erase) ? 0 : d->random_erase;
    c->view.mixup = isnan(d->mixup) ? 0 : d->mixup, c->view.cutmix = isnan(d->cutmix) ? 0 : d->cutmix;
    return code ? code : bl_view_check(&c->view);
}

int bl_compare_open_data(struct bl_compare *c) {
    struct bl_network_options input = {.model = c->common.model};
    int code = bl_model_open(&c->model, c->common.model);
    if (!code) code = bl_model_size(c->model, c->common.size, &input.height, &input.width);
    if (!code) code = open_images(c);
    if (!code) code = bl_dataset_trainable(c->data);
    if (!code) code = check_steps(c);
    if (!code && c->epochs) code = bl_dataset_check(c->data);
    if (code) return code;
    input.channels = bl_dataset_channels(c->data);
    return choose_view(c, &input);
}
