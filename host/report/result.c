/* Results: making them, freeing them, looking something up. */
#include "report/result_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the numbers and their keys --------------------------------------------------------------- */

#define FIELD(type, name, digits)                                                                                      \
    { #name, NULL, offsetof(struct type, name), digits }
#define SHORT(type, name, short_key, digits)                                                                           \
    { #name, short_key, offsetof(struct type, name), digits }

const struct bl_result_field bl_nd_fields[] = {
    FIELD(bl_nd_result, block, BL_OR_AUTO),
    FIELD(bl_nd_result, iterations, BL_EXACT),
    FIELD(bl_nd_result, eps, 4),
    FIELD(bl_nd_result, momentum, 4),
    FIELD(bl_nd_result, sampling_stride, BL_EXACT),
    FIELD(bl_nd_result, freeze, BL_FLAG),
    FIELD(bl_nd_result, refresh, BL_EXACT),
    FIELD(bl_nd_result, block_fc, BL_EXACT),
    FIELD(bl_nd_result, overhead_budget_pct, 5),
    FIELD(bl_nd_result, whiten_channels, BL_FLAG),
    FIELD(bl_nd_result, variances, BL_FLAG),
    FIELD(bl_nd_result, cov_samples, BL_EXACT),
    {NULL},
};
const struct bl_result_field bl_update_fields[] = {
    FIELD(bl_update_result, lr, 6),
    FIELD(bl_update_result, warmup, BL_EXACT),
    FIELD(bl_update_result, momentum, 6),
    FIELD(bl_update_result, beta1, 6),
    FIELD(bl_update_result, beta2, 6),
    FIELD(bl_update_result, eps, 6),
    FIELD(bl_update_result, weight_decay, 6),
    FIELD(bl_update_result, nesterov, BL_FLAG),
    {NULL},
};
const struct bl_result_field bl_epoch_fields[] = {
    FIELD(bl_epoch_result, epoch, BL_EXACT),
    FIELD(bl_epoch_result, train_loss, 6),
    FIELD(bl_epoch_result, train_top1, 6),
    FIELD(bl_epoch_result, train_top5, 6),
    FIELD(bl_epoch_result, test_loss, 6),
    FIELD(bl_epoch_result, test_top1, 6),
    FIELD(bl_epoch_result, test_top5, 6),
    FIELD(bl_epoch_result, train_s, 6),
    FIELD(bl_epoch_result, test_s, 6),
    FIELD(bl_epoch_result, val_loss, 6),
    FIELD(bl_epoch_result, val_top1, 6),
    FIELD(bl_epoch_result, val_top5, 6),
    FIELD(bl_epoch_result, val_s, 6),
    FIELD(bl_epoch_result, train_pixel_accuracy, 6),
    FIELD(bl_epoch_result, test_pixel_accuracy, 6),
    FIELD(bl_epoch_result, test_mean_iou, 6),
    FIELD(bl_epoch_result, val_pixel_accuracy, 6),
    FIELD(bl_epoch_result, val_mean_iou, 6),
    {NULL},
};
const struct bl_result_field bl_point_fields[] = {
    FIELD(bl_curve_point, step, 8),
    FIELD(bl_curve_point, seconds, 5),
    FIELD(bl_curve_point, loss, 5),
    {NULL},
};
const struct bl_result_field bl_decision_fields[] = {
    FIELD(bl_decision_result, budget_pct, 5),
    FIELD(bl_decision_result, base_ms, 5),
    FIELD(bl_decision_result, bn_ms, 5),
    FIELD(bl_decision_result, allowance_ms, 5),
    FIELD(bl_decision_result, repay_ms, 5),
    FIELD(bl_decision_result, debt_ms, 5),
    FIELD(bl_decision_result, least_pct, 5),
    FIELD(bl_decision_result, held_pct, 5),
    FIELD(bl_decision_result, feasible, BL_FLAG),
    FIELD(bl_decision_result, step, BL_EXACT),
    {NULL},
};
const struct bl_result_field bl_decision_layer_fields[] = {
    FIELD(bl_decision_layer_result, interval, 5),
    FIELD(bl_decision_layer_result, refresh_ms, 5),
    FIELD(bl_decision_layer_result, drift, 5),
    {NULL},
};
const struct bl_result_field bl_budget_fields[] = {
    FIELD(bl_budget_result, budget_pct, 5),
    FIELD(bl_budget_result, held_pct, 5),
    FIELD(bl_budget_result, least_pct, 5),
    {NULL},
};
const struct bl_result_field bl_rank_fields[] = {
    FIELD(bl_rank_result, share, BL_EXACT),
    FIELD(bl_rank_result, step_ms, 5),
    FIELD(bl_rank_result, communicate_ms, 5),
    FIELD(bl_rank_result, communicate_hidden_ms, 5),
    FIELD(bl_rank_result, load_ms, 5),
    FIELD(bl_rank_result, wait_ms, 5),
    {NULL},
};
const struct bl_result_field bl_run_fields[] = {
    FIELD(bl_run_result, best, BL_FLAG),
    FIELD(bl_run_result, diverged_after, BL_EXACT),
    FIELD(bl_run_result, parameters, BL_EXACT),
    FIELD(bl_run_result, step_ms, 6),
    SHORT(bl_run_result, step_ms_quartile1, "quartile1_ms", 6),
    SHORT(bl_run_result, step_ms_quartile3, "quartile3_ms", 6),
    FIELD(bl_run_result, mean_ms, 6),
    FIELD(bl_run_result, min_ms, 6),
    FIELD(bl_run_result, images_per_s, 6),
    FIELD(bl_run_result, inference_ms, 6),
    FIELD(bl_run_result, inference_images_per_s, 6),
    FIELD(bl_run_result, recorded_step_ms, 6),
    FIELD(bl_run_result, recording_cost, 4),
    FIELD(bl_run_result, target_top1, 6),
    FIELD(bl_run_result, target_s, 6),
    FIELD(bl_run_result, coverage, 4),
    FIELD(bl_run_result, timed_steps, BL_EXACT),
    FIELD(bl_run_result, recorded_steps, BL_EXACT),
    FIELD(bl_run_result, last_loss, 6),
    FIELD(bl_run_result, startup_ms, 6),
    FIELD(bl_run_result, planned_bytes, BL_EXACT),
    FIELD(bl_run_result, device_bytes, BL_EXACT),
    FIELD(bl_run_result, host_bytes, BL_EXACT),
    {NULL},
};
const struct bl_result_field bl_pair_fields[] = {
    FIELD(bl_pair_result, bn_step_ms, 6),
    FIELD(bl_pair_result, nd_step_ms, 6),
    FIELD(bl_pair_result, overhead_pct, 5),
    FIELD(bl_pair_result, bn_mean_ms, 6),
    FIELD(bl_pair_result, nd_mean_ms, 6),
    FIELD(bl_pair_result, overhead_mean_pct, 5),
    FIELD(bl_pair_result, overhead_bound_pct, 5),
    FIELD(bl_pair_result, bound_steps, 8),
    FIELD(bl_pair_result, bn_inference_ms, 6),
    FIELD(bl_pair_result, nd_inference_ms, 6),
    {NULL},
};
const struct bl_result_field bl_document_fields[] = {
    FIELD(bl_result, batch, BL_EXACT),
    FIELD(bl_result, steps, BL_EXACT),
    FIELD(bl_result, epochs, BL_EXACT),
    FIELD(bl_result, recompute, BL_EXACT),
    FIELD(bl_result, seed, BL_EXACT),
    FIELD(bl_result, interrupted_after, BL_EXACT),
    {NULL},
};

void bl_fields_clear(const struct bl_result_field *fields, void *of) {
    for (; fields->key; fields++) *bl_field_of(fields, of) = NAN;
}

/* --- making ----------------------------------------------------------------------------------- */

void bl_result_init(struct bl_result *result) {
    *result = (struct bl_result){0};
    bl_fields_clear(bl_document_fields, result);
    bl_fields_clear(bl_update_fields, &result->update);
}

void bl_run_result_free(struct bl_run_result *run) {
    for (int i = 0; i < run->budget.decisions; i++) free(run->budget.decision[i].layer);
    free(run->budget.decision);
    bl_measured_free(&run->step);
    cJSON_Delete(run->blocks);
    free(run->epoch);
    free(run->curve);
    free(run->rank);
}

void bl_result_free(struct bl_result *result) {
    for (int r = 0; r < result->runs; r++) bl_run_result_free(&result->run[r]);
    for (int p = 0; p < result->pairs; p++) free(result->pair[p].row);
    cJSON_Delete(result->settings);
    bl_eval_free(result->eval);
    bl_suite_free(result->suite);
    free(result->source), free(result->data);
    free(result->device), free(result->run), free(result->pair);
    *result = (struct bl_result){0};
}

/* One more element, zeroed, at the end of a list that grows by doubling. */
static void *extend(void **list, int *count, size_t size) {
    bool full = (*count & (*count - 1)) == 0; // 0 and powers of two
    size_t capacity = (size_t)*count;
    void *data = *list;
    if (full && bl_grow(&data, &capacity, *count ? 2 * (size_t)*count : 1, size)) return NULL;
    *list = data;
    char *added = (char *)data + size * (size_t)(*count)++;
    memset(added, 0, size);
    return added;
}

struct bl_device_result *bl_result_add_device(struct bl_result *result, const char *label) {
    struct bl_device_result *device = extend((void **)&result->device, &result->devices, sizeof *device);
    if (!device) return NULL;
    snprintf(device->label, sizeof device->label, "%s", label);
    snprintf(device->facts.name, sizeof device->facts.name, "%s", label);
    device->clock_mhz = device->max_alloc_bytes = NAN;
    return device;
}

struct bl_run_result *bl_result_add_run(struct bl_result *result, int device) {
    struct bl_run_result *run = extend((void **)&result->run, &result->runs, sizeof *run);
    if (!run) return NULL;
    run->device = device;
    bl_fields_clear(bl_run_fields, run);
    bl_fields_clear(bl_nd_fields, &run->nd);
    run->update = result->update;
    bl_fields_clear(bl_budget_fields, &run->budget);
    return run;
}

struct bl_pair_result *bl_result_add_pair(struct bl_result *result, int device) {
    struct bl_pair_result *pair = extend((void **)&result->pair, &result->pairs, sizeof *pair);
    if (!pair) return NULL;
    pair->device = device;
    bl_fields_clear(bl_pair_fields, pair);
    bl_fields_clear(bl_nd_fields, &pair->nd);
    return pair;
}

struct bl_epoch_result *bl_result_add_epoch(struct bl_run_result *run) {
    struct bl_epoch_result *epoch = extend((void **)&run->epoch, &run->epochs, sizeof *epoch);
    if (epoch) bl_fields_clear(bl_epoch_fields, epoch);
    return epoch;
}

struct bl_decision_result *bl_result_add_decision(struct bl_budget_result *budget) {
    struct bl_decision_result *decision = extend((void **)&budget->decision, &budget->decisions, sizeof *decision);
    if (decision) bl_fields_clear(bl_decision_fields, decision);
    return decision;
}

void bl_device_result_fill(struct bl_device_result *device, const struct blanch_device_info *info) {
    snprintf(device->vendor, sizeof device->vendor, "%s", info->vendor);
    device->facts = bl_device_facts(info);
    device->clock_mhz = info->clock_mhz;
    device->max_alloc_bytes = (double)info->max_alloc;
}

static const struct bl_conv_attrs *conv_of(const struct bl_node *node) {
    return strcmp(node->op->name, "nd_conv2d") ? NULL : &((const struct bl_nd_conv_attrs *)node->attrs)->conv;
}

/* The option's, before a layer's own stride: patches that cover an image are closer than it says. */
static int sampling_stride(const struct bl_graph *graph) {
    int found = 0;
    for (int i = 0; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        const struct bl_conv_attrs *conv = conv_of(node);
        const int own = conv ? bl_node_nd(node)->cov_sampling_stride[0] / conv->stride[0] : 0;
        if (own > found) found = own;
    }
    return found;
}

static void fill_asked(struct bl_nd_result *result, const struct blanch_nd_options *asked) {
    const struct {
        double *to;
        int value;
    } numbers[] = {{&result->block, asked->block},
                   {&result->block_fc, asked->block_fc},
                   {&result->iterations, asked->iterations},
                   {&result->sampling_stride, asked->sampling_stride},
                   {&result->cov_samples, asked->cov_samples}};
    for (int i = 0; i < BL_COUNT(numbers); i++)
        if (numbers[i].value) *numbers[i].to = numbers[i].value;
    if (asked->whiten == BLANCH_WHITEN_CHANNELS) result->whiten_channels = 1;
}

/* The first convolutions are limited by the image's channels: the one with the largest block speaks for all. */
void bl_nd_result_fill(struct bl_nd_result *result, const struct bl_graph *graph,
                       const struct blanch_nd_options *asked) {
    const struct bl_nd_attrs *largest = NULL, *linear = NULL;
    for (int i = 0; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        const struct bl_nd_attrs *nd = bl_node_nd(node);
        if (!nd) continue;
        if (!strcmp(node->op->name, "nd_linear"))
            linear = nd;
        else if (!largest || nd->block > largest->block)
            largest = nd;
    }
    const struct bl_nd_attrs *nd = largest ? largest : linear;
    if (linear) result->block_fc = linear->block;
    if (!nd) return;
    result->block = nd->block;
    result->iterations = nd->n_iter;
    result->eps = (double)nd->eps;
    result->momentum = (double)nd->momentum;
    result->sampling_stride = largest ? sampling_stride(graph) : linear->cov_sampling_stride[0];
    result->freeze = nd->freeze != 0;
    if (nd->refresh > 1) result->refresh = nd->refresh;
    if (nd->whiten_channels) result->whiten_channels = 1;
    if (nd->variances) result->variances = 1;
    if (nd->cov_samples && !nd->chosen) result->cov_samples = nd->cov_samples;
    fill_asked(result, asked);
}

int bl_result_set_curve(struct bl_run_result *run, const struct bl_step_sample *samples, size_t count) {
    enum { POINTS = 120 };
    size_t points = count < POINTS ? count : POINTS;
    if (!points) return 0;
    if (!(run->curve = bl_calloc(points, sizeof *run->curve))) return BLANCH_ENOMEM;
    run->points = (int)points;
    for (size_t p = 0; p < points; p++) {
        size_t from = p * count / points, to = (p + 1) * count / points;
        double loss = 0;
        for (size_t i = from; i < to; i++) loss += samples[i].loss;
        run->curve[p] = (struct bl_curve_point){.step = 0.5 * (samples[from].step + samples[to - 1].step),
                                                .seconds = samples[(from + to) / 2].seconds,
                                                .loss = loss / (double)(to - from)};
    }
    return 0;
}

/* --- looking ---------------------------------------------------------------------------------- */

const struct bl_run_result *bl_result_run(const struct bl_result *result, int device, const char *norm,
                                          const char *setting) {
    const struct bl_run_result *found = NULL;
    for (int r = 0; r < result->runs; r++) {
        const struct bl_run_result *run = &result->run[r];
        if (run->device != device || strcmp(run->norm, norm) || (setting && strcmp(run->setting, setting))) continue;
        if (isnan(run->diverged_after)) return run;
        if (!found) found = run;
    }
    return found;
}

const struct bl_epoch_result *bl_last_epoch(const struct bl_run_result *run) {
    return run && run->epochs ? &run->epoch[run->epochs - 1] : NULL;
}

double bl_train_top1(const struct bl_epoch_result *epoch) {
    return isnan(epoch->train_top1) ? epoch->train_pixel_accuracy : epoch->train_top1;
}

double bl_held_top1(const struct bl_epoch_result *epoch) {
    const double held[] = {epoch->test_top1, epoch->val_top1, epoch->test_mean_iou, epoch->val_mean_iou};
    int i = 0;
    while (i < BL_COUNT(held) - 1 && isnan(held[i])) i++;
    return held[i];
}

double bl_test_top1(const struct bl_run_result *run) {
    const struct bl_epoch_result *last = bl_last_epoch(run);
    return last ? bl_held_top1(last) : NAN;
}

bool bl_same_place(const struct bl_result *a, int device, const struct bl_result *b, int other) {
    if (a == b) return device == other;
    return bl_same_device(&a->device[device].facts, &a->header.host, &b->device[other].facts, &b->header.host);
}

bool bl_same_task(const struct bl_result *a, const struct bl_result *b) {
    const char *one = *a->precision ? a->precision : "fp32", *other = *b->precision ? b->precision : "fp32";
    return !strcmp(a->model, b->model) && a->batch == b->batch && !strcmp(one, other);
}

bool bl_pair_varies(const struct bl_pair_result *pair) {
    return pair->nd.refresh > 1 || !isnan(pair->nd.overhead_budget_pct);
}

double bl_pair_overhead(const struct bl_pair_result *pair) {
    return bl_pair_varies(pair) && isfinite(pair->overhead_mean_pct) ? pair->overhead_mean_pct : pair->overhead_pct;
}

double bl_pair_row_difference(const struct bl_pair_row *row, int phase) {
    return row->nd[phase] - row->bn[phase];
}
