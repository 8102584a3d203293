/* The results of a comparison as one JSON document. */
#include "compare.h"
#include "io/files.h"
#include "optim/optim.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CURVE_POINTS = 120 };

static void add_number(cJSON *object, const char *key, double value, int digits) {
    if (isfinite(value)) cJSON_AddItemToObject(object, key, bl_json_number(value, digits));
}

/* --- what was asked for ----------------------------------------------------------------------- */

static cJSON *device_json(const struct blanch_device_info *info, const char *label) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", label);
    cJSON_AddStringToObject(json, "kind",
                            info->kind == BLANCH_CPU   ? "cpu"
                            : info->kind == BLANCH_GPU ? "gpu"
                                                       : "accelerator");
    cJSON_AddStringToObject(json, "platform", info->platform_name);
    cJSON_AddStringToObject(json, "vendor", info->vendor);
    cJSON_AddStringToObject(json, "version", info->version);
    cJSON_AddStringToObject(json, "driver", info->driver);
    cJSON_AddNumberToObject(json, "compute_units", info->compute_units);
    cJSON_AddNumberToObject(json, "clock_mhz", info->clock_mhz);
    cJSON_AddNumberToObject(json, "memory_bytes", (double)info->global_memory);
    cJSON_AddNumberToObject(json, "max_alloc_bytes", (double)info->max_alloc);
    return json;
}

/* Without what the optimiser has no use for: 0 by its defaults, and still. */
static void add_optimiser(cJSON *json, const struct bl_compare *c) {
    const struct bl_optimiser *optimiser;
    if (bl_optimiser_find(c->common.optimiser, &optimiser)) return;
    const struct blanch_update *u = &c->update, *d = &optimiser->defaults;
    const struct {
        const char *key;
        float value, usual;
    } numbers[] = {{"lr", u->lr, d->lr},          {"momentum", u->momentum, d->momentum},
                   {"beta1", u->beta1, d->beta1}, {"weight_decay", u->weight_decay, d->weight_decay},
                   {"beta2", u->beta2, d->beta2}, {"eps", u->eps, d->eps}};
    cJSON_AddStringToObject(json, "optimiser", optimiser->name);
    for (int i = 0; i < BL_COUNT(numbers); i++)
        if (numbers[i].value != 0 || numbers[i].usual != 0)
            cJSON_AddItemToObject(json, numbers[i].key, bl_json_number((double)numbers[i].value, 6));
    if (u->nesterov) cJSON_AddTrueToObject(json, "nesterov");
}

static void add_settings(cJSON *json, const struct bl_compare *c) {
    char date[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    cJSON_AddStringToObject(json, "kind", "compare");
    cJSON_AddStringToObject(json, "blanch", BLANCH_VERSION);
    cJSON_AddStringToObject(json, "date", date);
    cJSON_AddStringToObject(json, "model", c->common.model);
    cJSON_AddNumberToObject(json, "batch", c->common.batch);
    cJSON_AddStringToObject(json, "data", c->data_spec);
    cJSON_AddStringToObject(json, "augment", bl_augment_name(c->view.augment));
    cJSON_AddNumberToObject(json, "steps", (double)c->steps);
    if (c->epochs) cJSON_AddNumberToObject(json, "epochs", c->epochs);
    if (c->recompute) cJSON_AddNumberToObject(json, "recompute", c->recompute);
    add_optimiser(json, c);
    cJSON_AddStringToObject(json, "schedule", c->schedule_text);
    cJSON_AddNumberToObject(json, "seed", (double)c->common.seed);
    cJSON *devices = cJSON_AddArrayToObject(json, "devices");
    for (int d = 0; d < c->devices; d++)
        cJSON_AddItemToArray(devices, device_json(blanch_device_info(c->device[d]), c->label[d]));
}

static void add_nd(cJSON *settings, const struct bl_nd_attrs *nd) {
    cJSON_AddNumberToObject(settings, "block", nd->block);
    cJSON_AddNumberToObject(settings, "iterations", nd->n_iter);
    cJSON_AddItemToObject(settings, "eps", bl_json_number((double)nd->eps, 4));
    cJSON_AddItemToObject(settings, "momentum", bl_json_number((double)nd->momentum, 4));
    cJSON_AddNumberToObject(settings, "sampling_stride", nd->cov_sampling_stride[0]);
    cJSON_AddBoolToObject(settings, "freeze", nd->freeze != 0);
    if (nd->refresh > 1) cJSON_AddNumberToObject(settings, "refresh", nd->refresh);
}

/* Of the ND convolution with the largest block (the first ones are limited by the image's channels), and of the linear
 * layer. */
static cJSON *settings_of(const struct bl_compare_run *run) {
    const struct blanch_network *net = run->net;
    cJSON *settings = cJSON_CreateObject();
    const struct bl_nd_attrs *largest = NULL, *linear = NULL;
    for (int i = 0; i < bl_graph_nodes(net->graph); i++) {
        const struct bl_node *node = bl_graph_node(net->graph, i);
        if (!strcmp(node->op->name, "nd_linear")) linear = &((const struct bl_nd_linear_attrs *)node->attrs)->nd;
        if (strcmp(node->op->name, "nd_conv2d")) continue;
        const struct bl_nd_attrs *nd = &((const struct bl_nd_conv_attrs *)node->attrs)->nd;
        if (!largest || nd->block > largest->block) largest = nd;
    }
    if (largest || linear) add_nd(settings, largest ? largest : linear);
    if (linear) cJSON_AddNumberToObject(settings, "block_fc", linear->block);
    if (run->budget >= 0) cJSON_AddItemToObject(settings, "overhead_budget_pct", bl_json_number(100 * run->budget, 5));
    return settings;
}

cJSON *bl_compare_config(const struct bl_compare *c) {
    cJSON *json = cJSON_CreateObject(), *runs;
    add_settings(json, c);
    cJSON *view = cJSON_AddObjectToObject(json, "view");
    cJSON_AddNumberToObject(view, "channels", c->view.channels);
    cJSON_AddNumberToObject(view, "size", c->view.size);
    cJSON *mean = cJSON_AddArrayToObject(view, "mean"), *deviation = cJSON_AddArrayToObject(view, "deviation");
    for (int i = 0; i < c->view.channels && i < 3; i++) {
        cJSON_AddItemToArray(mean, bl_json_number((double)c->view.mean[i], 7));
        cJSON_AddItemToArray(deviation, bl_json_number((double)c->view.deviation[i], 7));
    }
    runs = cJSON_AddArrayToObject(json, "runs");
    for (int r = 0; r < c->runs; r++) {
        cJSON *run = cJSON_CreateObject();
        cJSON_AddStringToObject(run, "device", c->run[r].device);
        cJSON_AddStringToObject(run, "norm", bl_norm_name(c->run[r].norm));
        cJSON_AddStringToObject(run, "setting", c->run[r].setting);
        cJSON_AddItemToObject(run, "settings", settings_of(&c->run[r]));
        cJSON_AddItemToArray(runs, run);
    }
    return json;
}

/* --- a run ------------------------------------------------------------------------------------ */

/* Steps without recording tell what a step costs; where too few were run, the recorded ones do. */
static const struct bl_samples *step_samples(const struct bl_compare_run *run) {
    return run->wall[0].count ? &run->wall[0] : &run->wall[1];
}

static double mean_loss(const struct bl_compare_run *run, size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; i++) sum += run->loss.value[i];
    return to > from ? sum / (double)(to - from) : NAN;
}

static cJSON *curve_of(const struct bl_compare_run *run) {
    cJSON *curve = cJSON_CreateArray();
    size_t count = run->loss.count, points = count < CURVE_POINTS ? count : CURVE_POINTS;
    for (size_t p = 0; p < points; p++) {
        size_t from = p * count / points, to = (p + 1) * count / points;
        cJSON *point = cJSON_CreateObject();
        cJSON_AddItemToObject(point, "step", bl_json_number(0.5 * (double)(from + 1 + to), 8));
        cJSON_AddItemToObject(point, "seconds", bl_json_number(run->seconds.value[(from + to) / 2], 5));
        cJSON_AddItemToObject(point, "loss", bl_json_number(mean_loss(run, from, to), 5));
        cJSON_AddItemToArray(curve, point);
    }
    return curve;
}

static double at_epoch(const cJSON *epochs, int index, const char *key) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(epochs, index), key);
    return cJSON_IsNumber(value) ? value->valuedouble : NAN;
}

/* The best test accuracy that every network reached; NAN where none was measured. */
static double common_accuracy(const struct bl_compare *c) {
    double common = INFINITY;
    for (int r = 0; r < c->runs; r++) {
        double best = -INFINITY;
        for (int e = 0; e < cJSON_GetArraySize(c->run[r].epochs); e++)
            best = fmax(best, at_epoch(c->run[r].epochs, e, "test_top1"));
        common = fmin(common, best);
    }
    return isfinite(common) ? common : NAN;
}

/* Seconds of training until the end of the first epoch that reaches it; NAN: none does. */
static double time_to(const cJSON *epochs, double top1) {
    double seconds = 0;
    for (int e = 0; e < cJSON_GetArraySize(epochs); e++) {
        seconds += at_epoch(epochs, e, "train_s");
        if (at_epoch(epochs, e, "test_top1") >= top1) return seconds;
    }
    return NAN;
}

/* Beside the median: what some steps alone do (a refresh of the whitening) shows here. NAN where there are no samples.
 */
static double mean_of(const struct bl_samples *samples, size_t from) {
    double sum = 0;
    for (size_t i = from; i < samples->count; i++) sum += samples->value[i];
    return samples->count > from ? sum / (double)(samples->count - from) : NAN;
}

static void add_budget(cJSON *json, const struct bl_compare_run *run) {
    const struct bl_budget *b = bl_overhead_budget(run->session.overhead);
    cJSON *budget = cJSON_AddObjectToObject(json, "budget");
    add_number(budget, "budget_pct", 100 * run->budget, 5);
    cJSON_AddStringToObject(budget, "yardstick",
                            run->baseline ? "the comparison's batch norm" : "a network of its own");
    if (b->planned) {
        add_number(budget, "held_pct", 100 * bl_budget_held(b), 5);
        add_number(budget, "least_pct", 100 * bl_budget_floor(b), 5);
    }
    cJSON_AddItemToObject(budget, "decisions", cJSON_Duplicate(run->decisions, true));
}

static cJSON *run_json(const struct bl_compare *c, const struct bl_compare_run *run) {
    cJSON *json = cJSON_CreateObject();
    const struct bl_samples *steps = step_samples(run);
    double ms = bl_samples_quantile(steps, 0.5), inference = bl_samples_quantile(&run->inference, 0.5);
    cJSON_AddStringToObject(json, "device", run->device);
    cJSON_AddStringToObject(json, "norm", bl_norm_name(run->norm));
    cJSON_AddStringToObject(json, "setting", run->setting);
    cJSON_AddItemToObject(json, "settings", settings_of(run));
    cJSON_AddNumberToObject(json, "parameters", (double)bl_graph_trainable(run->net->graph));
    add_number(json, "step_ms", ms, 6);
    add_number(json, "step_ms_quartile1", bl_samples_quantile(steps, 0.25), 6);
    add_number(json, "step_ms_quartile3", bl_samples_quantile(steps, 0.75), 6);
    add_number(json, "mean_ms", mean_of(&run->all, 0), 6);
    add_number(json, "min_ms", bl_samples_quantile(steps, 0), 6);
    add_number(json, "images_per_s", 1e3 * c->common.batch / ms, 6);
    add_number(json, "inference_ms", inference, 6);
    add_number(json, "inference_images_per_s", 1e3 * c->common.batch / inference, 6);
    add_number(json, "recorded_step_ms", bl_samples_quantile(&run->wall[1], 0.5), 6);
    add_number(json, "recording_cost",
               bl_samples_quantile(&run->wall[1], 0.5) / bl_samples_quantile(&run->wall[0], 0.5), 4);
    double target = c->target > 0 ? (double)c->target : common_accuracy(c);
    add_number(json, "target_top1", target, 6);
    add_number(json, "target_s", time_to(run->epochs, target), 6);
    if (bl_ledger_steps(run->session.ledger)) add_number(json, "coverage", bl_ledger_covered(run->session.ledger), 4);
    cJSON_AddNumberToObject(json, "timed_steps", (double)steps->count);
    cJSON_AddNumberToObject(json, "recorded_steps", (double)run->wall[1].count);
    size_t tenth = run->loss.count / 10 ? run->loss.count / 10 : 1;
    add_number(json, "last_loss", mean_loss(run, run->loss.count - tenth, run->loss.count), 6);
    if (run->session.overhead) add_budget(json, run);
    bl_ledger_add_totals(run->session.ledger, json);
    cJSON_AddItemToObject(json, "layers", bl_ledger_layers(run->session.ledger));
    cJSON_AddItemToObject(json, "epochs", cJSON_Duplicate(run->epochs, true));
    cJSON_AddItemToObject(json, "curve", curve_of(run));
    return json;
}

/* --- pairs: the rows of two networks side by side ----------------------------------------------- */

struct rows { // a network's nodes gathered under the layers they count to
    const struct bl_compare_run *run;
    int nodes, *owner; // per node: the node it counts to
};

static bool is_layer(const struct bl_node *node) {
    const char *op = node->op->name;
    return !strcmp(op, "conv2d") || !strcmp(op, "nd_conv2d") || !strcmp(op, "linear") || !strcmp(op, "nd_linear");
}

static bool is_activation(const struct bl_node *node) {
    return node->op->phase_forward == BL_ACTIVATION;
}

static struct bl_node *layer_under(const struct bl_graph *graph, const struct bl_node *node) {
    while (node && is_activation(node)) node = bl_graph_producer(graph, node->in[0]);
    return (struct bl_node *)node;
}

/* The layer that a batch norm counts to: the one it follows, else the first that it feeds, directly or through an
 * activation, else none. */
static int owner_of_norm(const struct bl_graph *graph, const struct bl_node *norm) {
    const struct bl_node *before = bl_graph_producer(graph, norm->in[0]);
    if (before && is_layer(before)) return before->index;
    for (int i = norm->index + 1; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        if (is_layer(node) && layer_under(graph, bl_graph_producer(graph, node->in[0])) == norm) return i;
    }
    return norm->index;
}

static int rows_of(struct rows *rows, const struct bl_compare_run *run) {
    const struct bl_graph *graph = run->net->graph;
    rows->run = run;
    rows->nodes = bl_graph_nodes(graph);
    rows->owner = bl_calloc((size_t)rows->nodes + 1, sizeof *rows->owner);
    if (!rows->owner) return BLANCH_ENOMEM;
    for (int i = 0; i < rows->nodes; i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        rows->owner[i] = !strcmp(node->op->name, "batchnorm2d") ? owner_of_norm(graph, node) : i;
    }
    rows->owner[rows->nodes] = rows->nodes;
    return 0;
}

static double gather(const struct rows *rows, int owner, double *phases) {
    double sum = 0;
    memset(phases, 0, BL_PHASES * sizeof *phases);
    for (int i = 0; owner >= 0 && i <= rows->nodes; i++) {
        if (rows->owner[i] != owner) continue;
        for (int p = 0; p < BL_PHASES; p++) phases[p] += bl_ledger_ms(rows->run->session.ledger, i, p);
    }
    for (int p = 0; p < BL_PHASES; p++) sum += phases[p];
    return sum;
}

static const struct bl_node *node_at(const struct rows *rows, int index) {
    return index >= 0 && index < rows->nodes ? bl_graph_node(rows->run->net->graph, index) : NULL;
}

static cJSON *phases_json(const double *phases) {
    cJSON *json = cJSON_CreateObject();
    for (int p = 0; p < BL_PHASES; p++)
        if (phases[p] > 0) cJSON_AddItemToObject(json, bl_phase_names[p], bl_json_number(phases[p], 5));
    return json;
}

/* a and b: positions in the two networks; -1: it has no such row. */
static void add_row(cJSON *layers, const struct rows *bn, int a, const struct rows *nd, int b) {
    const struct bl_node *left = node_at(bn, a), *right = node_at(nd, b);
    double before[BL_PHASES], after[BL_PHASES];
    double bn_ms = gather(bn, a, before), nd_ms = gather(nd, b, after);
    if (bn_ms <= 0 && nd_ms <= 0) return;
    cJSON *layer = cJSON_CreateObject();
    bool step = a == bn->nodes;
    cJSON_AddStringToObject(layer, "name", step ? "(step)" : right ? right->name : left->name);
    cJSON_AddStringToObject(layer, "bn_name", step ? "(step)" : left ? left->name : "");
    cJSON_AddStringToObject(layer, "op", step ? "(step)" : left ? left->op->name : right->op->name);
    cJSON_AddItemToObject(layer, "bn_ms", bl_json_number(bn_ms, 5));
    cJSON_AddItemToObject(layer, "nd_ms", bl_json_number(nd_ms, 5));
    cJSON_AddItemToObject(layer, "overhead_ms", bl_json_number(nd_ms - bn_ms, 5));
    cJSON_AddItemToObject(layer, "bn_phases", phases_json(before));
    cJSON_AddItemToObject(layer, "nd_phases", phases_json(after));
    cJSON_AddItemToArray(layers, layer);
}

/* Layers pair with layers, and other operations with those of the same name, in order. */
static bool pairs_with(const struct bl_node *a, const struct bl_node *b) {
    return is_layer(a) ? is_layer(b) : a->op == b->op;
}

static int partner(const struct rows *from, int index, const struct rows *in) {
    const struct bl_node *node = node_at(from, index);
    int rank = 0;
    for (int i = 0; i < index; i++) rank += from->owner[i] == i && pairs_with(node_at(from, i), node);
    for (int i = 0; i < in->nodes; i++)
        if (in->owner[i] == i && pairs_with(node_at(in, i), node) && rank-- == 0) return i;
    return -1;
}

static int pair_layers(cJSON *layers, const struct rows *bn, const struct rows *nd) {
    for (int wanted = 1; wanted >= 0; wanted--) { // layers first, then the other operations
        for (int b = 0; b < nd->nodes; b++)
            if (nd->owner[b] == b && is_layer(node_at(nd, b)) == (bool)wanted)
                add_row(layers, bn, partner(nd, b, bn), nd, b);
        for (int a = 0; a < bn->nodes; a++)
            if (bn->owner[a] == a && is_layer(node_at(bn, a)) == (bool)wanted && partner(bn, a, nd) < 0)
                add_row(layers, bn, a, nd, -1);
    }
    add_row(layers, bn, bn->nodes, nd, nd->nodes);
    return 0;
}

static int add_pair(cJSON *pairs, const struct bl_compare_run *bn, const struct bl_compare_run *nd) {
    struct rows left = {0}, right = {0};
    double a = bl_samples_quantile(step_samples(bn), 0.5), b = bl_samples_quantile(step_samples(nd), 0.5);
    int code = rows_of(&left, bn);
    if (code || (code = rows_of(&right, nd))) goto done;
    cJSON *pair = cJSON_CreateObject();
    cJSON_AddItemToArray(pairs, pair);
    cJSON_AddStringToObject(pair, "device", bn->device);
    cJSON_AddStringToObject(pair, "setting", nd->setting);
    cJSON_AddItemToObject(pair, "settings", settings_of(nd));
    add_number(pair, "bn_step_ms", a, 6);
    add_number(pair, "nd_step_ms", b, 6);
    add_number(pair, "overhead_pct", 100 * (b / a - 1), 5);
    add_number(pair, "bn_mean_ms", mean_of(&bn->all, 0), 6);
    add_number(pair, "nd_mean_ms", mean_of(&nd->all, 0), 6);
    add_number(pair, "overhead_mean_pct", 100 * (mean_of(&nd->all, 0) / mean_of(&bn->all, 0) - 1), 5);
    if (nd->session.overhead) {
        add_number(pair, "overhead_bound_pct",
                   100 * (mean_of(&nd->all, nd->warmup) / mean_of(&bn->all, bn->warmup) - 1), 5);
        add_number(pair, "bound_steps", (double)(nd->all.count - nd->warmup), 8);
    }
    add_number(pair, "bn_inference_ms", bl_samples_quantile(&bn->inference, 0.5), 6);
    add_number(pair, "nd_inference_ms", bl_samples_quantile(&nd->inference, 0.5), 6);
    code = pair_layers(cJSON_AddArrayToObject(pair, "layers"), &left, &right);
done:
    free(left.owner);
    free(right.owner);
    return code;
}

static int add_pairs(cJSON *pairs, const struct bl_compare *c) {
    int code = 0;
    for (int a = 0; a < c->runs; a++)
        for (int b = 0; b < c->runs && !code; b++)
            if (c->run[a].dev == c->run[b].dev && c->run[a].norm == BLANCH_BN && c->run[b].norm == BLANCH_ND)
                code = add_pair(pairs, &c->run[a], &c->run[b]);
    return code;
}

cJSON *bl_compare_document(const struct bl_compare *c) {
    cJSON *json = cJSON_CreateObject();
    add_settings(json, c);
    if (c->done < c->steps) cJSON_AddNumberToObject(json, "interrupted_after", (double)c->done);
    cJSON *runs = cJSON_AddArrayToObject(json, "runs");
    for (int r = 0; r < c->runs; r++) cJSON_AddItemToArray(runs, run_json(c, &c->run[r]));
    if (!add_pairs(cJSON_AddArrayToObject(json, "pairs"), c)) return json;
    cJSON_Delete(json);
    return NULL;
}
