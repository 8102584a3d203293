/* The results of a comparison. */
#include "train/about.h"
#include "compare.h"
#include "io/files.h"
#include "optim/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what was asked for ----------------------------------------------------------------------- */

static int position_of(const struct bl_compare *c, const struct blanch_device *dev) {
    int at = 0;
    while (at < c->devices - 1 && c->device[at] != dev) at++;
    return at;
}

/* Without what the optimiser has no use for: 0 by its defaults, and still. */
static int fill_update(const struct bl_compare_setting *setting, struct bl_update_result *to) {
    const struct bl_optimiser *optimiser;
    int code = bl_optimiser_find(setting->optimiser, &optimiser);
    if (code) return code;
    const struct blanch_update *u = &setting->update, *d = &optimiser->defaults;
    const struct {
        double *to;
        float value, usual;
    } numbers[] = {{&to->lr, u->lr, d->lr},          {&to->momentum, u->momentum, d->momentum},
                   {&to->beta1, u->beta1, d->beta1}, {&to->weight_decay, u->weight_decay, d->weight_decay},
                   {&to->beta2, u->beta2, d->beta2}, {&to->eps, u->eps, d->eps}};
    snprintf(to->optimiser, sizeof to->optimiser, "%s", optimiser->name);
    snprintf(to->schedule, sizeof to->schedule, "%s", setting->schedule_text);
    for (int i = 0; i < BL_COUNT(numbers); i++)
        *numbers[i].to = numbers[i].value != 0 || numbers[i].usual != 0 ? (double)numbers[i].value : NAN;
    to->nesterov = u->nesterov ? 1 : NAN;
    to->warmup = setting->schedule.warmup ? (double)setting->schedule.warmup : NAN;
    return 0;
}

static int add_run(const struct bl_compare *c, const struct bl_compare_run *run, struct bl_result *result) {
    struct bl_run_result *to = bl_result_add_run(result, position_of(c, run->dev));
    if (!to) return BLANCH_ENOMEM;
    snprintf(to->norm, sizeof to->norm, "%s", bl_norm_name(run->setting->norm));
    snprintf(to->setting, sizeof to->setting, "%s", run->setting->label);
    bl_nd_result_fill(&to->nd, run->net->graph, &run->setting->nd);
    if (run->setting->budget >= 0) to->nd.overhead_budget_pct = 100 * run->setting->budget;
    if (run->blocks.layers && !(to->blocks = bl_blocks_json(run->net->graph))) return BLANCH_ENOMEM;
    to->blocks_exact = run->blocks.exact;
    int code = bl_network_hash(run->net, to->network_hash);
    return code ? code : fill_update(run->setting, &to->update);
}

int bl_compare_asked(const struct bl_compare *c, struct bl_result *result) {
    result->header = bl_header_now("compare", blanch_device_info(c->device[0]));
    snprintf(result->model, sizeof result->model, "%s", c->common.model);
    snprintf(result->augment, sizeof result->augment, "%s", bl_augment_name(c->view.augment));
    result->batch = c->common.batch;
    result->steps = (double)c->steps;
    if (c->epochs) result->epochs = c->epochs;
    if (c->recompute) result->recompute = c->recompute;
    if (c->own.precision)
        snprintf(result->precision, sizeof result->precision, "%s", bl_precision_name(c->own.precision));
    result->seed = (double)c->common.seed;
    result->settings = bl_options_json(c->common.options);
    if (!result->settings || !(result->data = bl_strdup(c->data_spec))) return BLANCH_ENOMEM;
    for (int d = 0; d < c->devices; d++) {
        struct bl_device_result *device = bl_result_add_device(result, c->label[d]);
        if (!device) return BLANCH_ENOMEM;
        bl_device_result_fill(device, blanch_device_info(c->device[d]));
    }
    int code = fill_update(&c->own, &result->update);
    for (int r = 0; r < c->runs && !code; r++) code = add_run(c, &c->run[r], result);
    return code;
}

cJSON *bl_compare_config(const struct bl_compare *c, const struct bl_result *asked) {
    cJSON *json = bl_result_config_json(asked);
    cJSON_AddItemToObject(json, "view", bl_view_json(&c->view));
    cJSON_AddItemToObject(json, "data_found", bl_run_data_json(c->data));
    return json;
}

/* --- a run ------------------------------------------------------------------------------------ */

/* Steps without recording tell what a step costs; where too few were run, the recorded ones do. */
static const struct bl_samples *step_samples(const struct bl_compare_run *run) {
    return run->wall[0].count ? &run->wall[0] : &run->wall[1];
}

/* Beside the median: what some steps alone do (a refresh of the whitening) shows here. NAN where there are no samples.
 */
static double mean_of(const struct bl_samples *samples, size_t from) {
    double sum = 0;
    for (size_t i = from; i < samples->count; i++) sum += samples->value[i];
    return samples->count > from ? sum / (double)(samples->count - from) : NAN;
}

/* The best test accuracy that every network reached, batch norm at its best rate; NAN where none was measured. */
static double common_accuracy(const struct bl_result *result) {
    double common = INFINITY;
    for (int r = 0; r < result->runs; r++) {
        const struct bl_run_result *run = &result->run[r];
        double best = -INFINITY;
        if (run->best == 0 || !isnan(run->diverged_after)) continue;
        for (int e = 0; e < run->epochs; e++) best = fmax(best, bl_held_top1(&run->epoch[e]));
        common = fmin(common, best);
    }
    return isfinite(common) ? common : NAN;
}

/* Seconds of training until the end of the first epoch that reaches it; NAN: none does. */
static double time_to(const struct bl_run_result *run, double top1) {
    double seconds = 0;
    for (int e = 0; e < run->epochs; e++) {
        seconds += run->epoch[e].train_s;
        if (bl_held_top1(&run->epoch[e]) >= top1) return seconds;
    }
    return NAN;
}

static void fill_budget(const struct bl_compare_run *run, struct bl_budget_result *budget) {
    const struct bl_budget *b = bl_overhead_budget(run->session.overhead);
    budget->budget_pct = 100 * run->setting->budget;
    budget->held_pct = b->planned ? 100 * bl_budget_held(b) : NAN;
    budget->least_pct = b->planned ? 100 * bl_budget_floor(b) : NAN;
    snprintf(budget->baseline, sizeof budget->baseline, "%s",
             run->baseline ? "the comparison's batch norm" : "a network of its own");
}

static int fill_curve(const struct bl_compare_run *run, struct bl_run_result *to) {
    size_t count = run->loss.count;
    struct bl_step_sample *samples = bl_calloc(count + 1, sizeof *samples);
    if (!samples) return BLANCH_ENOMEM;
    for (size_t i = 0; i < count; i++)
        samples[i] = (struct bl_step_sample){(double)i + 1, run->seconds.value[i], run->loss.value[i]};
    int code = bl_result_set_curve(to, samples, count);
    free(samples);
    return code;
}

static void fill_times(const struct bl_compare *c, const struct bl_compare_run *run, struct bl_run_result *to) {
    const struct bl_samples *steps = step_samples(run);
    to->parameters = (double)bl_graph_trainable(run->net->graph);
    to->step_ms = bl_samples_quantile(steps, 0.5);
    to->step_ms_quartile1 = bl_samples_quantile(steps, 0.25);
    to->step_ms_quartile3 = bl_samples_quantile(steps, 0.75);
    to->mean_ms = mean_of(&run->all, 0);
    to->min_ms = bl_samples_quantile(steps, 0);
    to->images_per_s = 1e3 * c->whole / to->step_ms;
    to->inference_ms = bl_samples_quantile(&run->inference, 0.5);
    to->inference_images_per_s = 1e3 * c->whole / to->inference_ms;
    to->recorded_step_ms = bl_samples_quantile(&run->wall[1], 0.5);
    to->recording_cost = to->recorded_step_ms / bl_samples_quantile(&run->wall[0], 0.5);
    to->timed_steps = (double)steps->count;
    to->recorded_steps = (double)run->wall[1].count;
}

static void fill_targets(const struct bl_compare *c, struct bl_result *result) {
    const double target = c->target > 0 ? (double)c->target : common_accuracy(result);
    for (int r = 0; r < result->runs; r++) {
        result->run[r].target_top1 = target;
        result->run[r].target_s = time_to(&result->run[r], target);
    }
}

static int fill_run(const struct bl_compare *c, struct bl_compare_run *run, struct bl_run_result *to) {
    size_t tenth = run->loss.count / 10 ? run->loss.count / 10 : 1;
    const struct bl_samples last = {run->loss.value, run->loss.count, 0};
    to->epoch = run->result.epoch, to->epochs = run->result.epochs;
    to->budget.decision = run->result.budget.decision, to->budget.decisions = run->result.budget.decisions;
    run->result = (struct bl_run_result){0}; // its lists are the result's now
    fill_times(c, run, to);
    if (run->diverged) to->diverged_after = (double)run->steps;
    to->coverage = bl_ledger_steps(run->session.ledger) ? bl_ledger_covered(run->session.ledger) : NAN;
    to->last_loss = run->diverged || last.count < tenth ? NAN : mean_of(&last, last.count - tenth);
    if (run->session.overhead) fill_budget(run, &to->budget);
    int code = bl_ledger_measured(run->session.ledger, &to->step);
    return code ? code : fill_curve(run, to);
}

/* --- pairs ------------------------------------------------------------------------------------ */

/* Rates change no times: of several runs with batch norm the first speaks for all. */
static int bn_beside(const struct bl_compare *c, int nd) {
    for (int r = 0; r < c->runs; r++)
        if (c->run[r].dev == c->run[nd].dev && c->run[r].setting->norm == BLANCH_BN && !c->run[r].diverged) return r;
    return -1;
}

static int add_pair(const struct bl_compare *c, int a, int b, struct bl_result *result) {
    const struct bl_compare_run *bn_run = &c->run[a], *nd_run = &c->run[b];
    const struct bl_run_result *bn = &result->run[a], *nd = &result->run[b];
    struct bl_pair_result *pair = bl_result_add_pair(result, bn->device);
    if (!pair) return BLANCH_ENOMEM;
    snprintf(pair->setting, sizeof pair->setting, "%s", nd->setting);
    pair->nd = nd->nd;
    pair->bn_step_ms = bn->step_ms;
    pair->nd_step_ms = nd->step_ms;
    pair->overhead_pct = bl_percent_more(nd->step_ms, bn->step_ms);
    pair->bn_mean_ms = bn->mean_ms;
    pair->nd_mean_ms = nd->mean_ms;
    pair->overhead_mean_pct = bl_percent_more(nd->mean_ms, bn->mean_ms);
    if (nd_run->session.overhead) {
        pair->overhead_bound_pct =
            bl_percent_more(mean_of(&nd_run->all, nd_run->warmup), mean_of(&bn_run->all, bn_run->warmup));
        pair->bound_steps = (double)(nd_run->all.count - nd_run->warmup);
    }
    pair->bn_inference_ms = bn->inference_ms;
    pair->nd_inference_ms = nd->inference_ms;
    return bl_pair_rows(pair, bn_run->net->graph, &bn->step, nd_run->net->graph, &nd->step);
}

int bl_compare_result(struct bl_compare *c, struct bl_result *result) {
    int code = bl_compare_asked(c, result);
    if (c->done < c->steps) result->interrupted_after = (double)c->done;
    for (int r = 0; r < c->runs && !code; r++) code = fill_run(c, &c->run[r], &result->run[r]);
    bl_rates_mark(result);
    fill_targets(c, result);
    for (int r = 0; r < c->runs && !code; r++) {
        const int bn = bn_beside(c, r);
        if (bn >= 0 && c->run[r].setting->norm == BLANCH_ND && !c->run[r].diverged) code = add_pair(c, bn, r, result);
    }
    return code;
}
