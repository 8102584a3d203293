/* Choosing block and samples of each convolution, and the record of the choice. Each layer stands on a ladder of
 * settings, each rung cheaper than the one above. All begin at the top; while the step is beyond the budget, the layer
 * that saves the most a rung goes down; what is left over then lets layers go up again. */
#include "train/blocks.h"
#include "io/document.h"
#include "io/files.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "ops/nd/schedule.h"
#include "train/baseline.h"
#include "train/session.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the record ------------------------------------------------------------------------------- */

enum { MOST_LAYERS = 5000, MOST_BLOCK = 4096 };

static cJSON *layer_json(int block, int cov_samples) {
    cJSON *json = cJSON_CreateObject();
    char text[24];
    cJSON_AddNumberToObject(json, "block", block);
    bl_cov_samples_text(cov_samples, text);
    if (cov_samples) cJSON_AddStringToObject(json, "cov_samples", text);
    return json;
}

cJSON *bl_blocks_json(const struct bl_graph *graph) {
    cJSON *json = NULL;
    for (int i = 0; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        const struct bl_nd_attrs *nd = bl_node_nd(node);
        if (!nd || !nd->chosen) continue;
        if (!json) json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, node->name, layer_json(nd->block, nd->cov_samples));
    }
    return json;
}

static int read_layer(const cJSON *item, const char *where, struct blanch_nd_layer *layer) {
    const cJSON *samples = cJSON_GetObjectItemCaseSensitive(item, "cov_samples");
    const double block = bl_json_get(item, "block");
    const int length = snprintf(layer->name, sizeof layer->name, "%s", item->string);
    if (length >= (int)sizeof layer->name || !(block >= 1 && block <= MOST_BLOCK) || block != floor(block) ||
        (samples && !cJSON_IsString(samples)))
        return bl_fail(BLANCH_EINPUT, "%s: \"blocks\" has no block from 1 to %d, or no samples, for %s", where,
                       MOST_BLOCK, item->string);
    layer->block = (int)block;
    if (samples && bl_cov_samples_parse(samples->valuestring, &layer->cov_samples))
        return bl_fail_in(BLANCH_EINPUT, "%s", where);
    return 0;
}

int bl_blocks_read(const cJSON *json, const char *where, struct blanch_nd_layer **layers, int *count) {
    const int size = cJSON_GetArraySize(json);
    const cJSON *item;
    int code = 0;
    *layers = NULL, *count = 0;
    if (!cJSON_IsObject(json) || size < 1 || size > MOST_LAYERS)
        return bl_fail(BLANCH_EINPUT, "%s: \"blocks\" does not name 1 to %d layers", where, MOST_LAYERS);
    if (!(*layers = bl_calloc((size_t)size, sizeof **layers))) return BLANCH_ENOMEM;
    cJSON_ArrayForEach(item, json) if (!code) code = read_layer(item, where, &(*layers)[(*count)++]);
    if (code) free(*layers), *layers = NULL, *count = 0;
    return code;
}

int bl_blocks_of_weights(const char *path, struct blanch_nd_options *nd, struct blanch_nd_layer **layers) {
    struct bl_safetensors *file = NULL;
    int count = 0, code = bl_st_open(&file, path);
    const char *text = code ? NULL : bl_st_meta(file, "blocks");
    cJSON *json = text ? bl_json_parse(text, strlen(text), NULL) : NULL;
    *layers = NULL;
    if (text) code = !json && bl_memory_lacked() ? BLANCH_ENOMEM : bl_blocks_read(json, path, layers, &count);
    if (!code && count && (nd->block > 0 || nd->cov_samples))
        code = bl_fail(BLANCH_EUSAGE,
                       "%s has a block and samples for each layer: leave --block, --cov-samples and "
                       "--nd-preset out",
                       path);
    if (!code && count) nd->layer = *layers, nd->layers = count;
    if (code) free(*layers), *layers = NULL;
    cJSON_Delete(json);
    bl_st_close(file);
    return code;
}

/* --- the ladder ------------------------------------------------------------------------------- */

enum { RUNGS = 4, PAIRS = 3 }; // pairs: of a step of batch norm and one of the network, for each rung
static const int ladder_block[RUNGS] = {64, 64, 32, 16}, ladder_samples[RUNGS] = {0, -4, -4, -4};

struct layer {
    int node;                              // of the graph, whatever the rung
    struct blanch_nd_layer setting[RUNGS]; // as the network makes of a rung
    int64_t samples[RUNGS];                // of a matrix
    bool same[RUNGS];                      // as the rung above
    double cost[RUNGS];                    // a step's whitening, in steps of batch norm
    int rung;                              // chosen
};
struct choice {
    const struct bl_blocks_options *options;
    struct bl_batch batch;
    struct bl_baseline baseline;
    struct layer *layer;
    int layers, rungs;                                // that were measured
    double rest[RUNGS * PAIRS], bn_ms[RUNGS * PAIRS]; // of a step without these layers' whitening; of batch norm
    int pairs;
};

static double median(const double *values, int count) {
    double copy[RUNGS * PAIRS];
    memcpy(copy, values, (size_t)count * sizeof *copy);
    return bl_quantile(copy, count, 0.5);
}

/* --- measuring -------------------------------------------------------------------------------- */

static int list_layers(struct choice *c, const struct bl_graph *graph) {
    if (!(c->layer = bl_calloc((size_t)bl_graph_nodes(graph) + 1, sizeof *c->layer))) return BLANCH_ENOMEM;
    for (int i = 0; i < bl_graph_nodes(graph); i++)
        if (!strcmp(bl_graph_node(graph, i)->op->name, "nd_conv2d")) c->layer[c->layers++].node = i;
    return 0;
}

/* A rung that makes nothing else of a layer than the one above is that one to it. */
static void take_settings(struct choice *c, const struct bl_graph *graph, int rung) {
    for (int i = 0; i < c->layers; i++) {
        struct layer *layer = &c->layer[i];
        const struct bl_node *node = bl_graph_node(graph, layer->node);
        struct blanch_nd_layer *setting = &layer->setting[rung];
        snprintf(setting->name, sizeof setting->name, "%s", node->name);
        setting->block = bl_node_nd(node)->block;
        setting->cov_samples = bl_node_nd(node)->cov_samples;
        layer->samples[rung] = bl_whitening_look(node->whitening, c->batch.count).samples;
        layer->same[rung] = rung && layer->setting[rung - 1].block == setting->block &&
                            layer->samples[rung - 1] == layer->samples[rung];
        if (layer->same[rung]) *setting = layer->setting[rung - 1];
    }
}

/* The parameters stay what they are, but the update is made and timed. */
static int step(struct bl_session *session, const struct bl_batch *batch, double *ms) {
    struct blanch_update still = bl_graph_optimiser(session->net->graph)->defaults;
    still.lr = still.weight_decay = 0;
    const struct bl_step wanted = {.batch = batch, .update = &still, .record = true};
    struct bl_stepped stepped;
    int code = bl_session_step(session, &wanted, &stepped);
    *ms = stepped.wall_ms;
    bl_stepped_release(&stepped);
    return code ? code : bl_check_interrupted();
}

static int make_pairs(struct choice *c, struct bl_session *session, int rung) {
    const struct bl_batch *batch = &c->batch;
    double ms, bn_ms, *cost = bl_calloc((size_t)c->layers * PAIRS + 1, sizeof *cost); // (layers, PAIRS)
    int code = cost ? step(session, batch, &ms) : BLANCH_ENOMEM;                      // its kernels are new
    for (int pair = 0; pair < PAIRS && !code; pair++) {
        code = c->baseline.step(c->baseline.context, batch, &bn_ms);
        if (!code) code = step(session, batch, &ms);
        for (int i = 0; i < c->layers && !code; i++) {
            const double own = bl_overhead_whitening_ms(session->ledger, c->layer[i].node);
            cost[i * PAIRS + pair] = own / bn_ms;
            ms -= own;
        }
        c->rest[c->pairs] = ms / bn_ms;
        c->bn_ms[c->pairs] = bn_ms;
        c->pairs += !code;
    }
    for (int i = 0; i < c->layers && !code; i++) {
        struct layer *layer = &c->layer[i];
        layer->cost[rung] = layer->same[rung] ? layer->cost[rung - 1] : median(cost + i * PAIRS, PAIRS);
    }
    free(cost);
    return code;
}

static int measure(struct choice *c, int rung) {
    struct bl_network_options network = *c->options->network;
    const struct bl_session_options wanted = {.ledger = true, .budget = -1};
    struct blanch_network *net = NULL;
    struct bl_session session = {0};
    network.nd.block = ladder_block[rung];
    if (!network.nd.cov_samples) network.nd.cov_samples = ladder_samples[rung];
    int code = bl_network_create(&net, c->options->dev, &network);
    if (!code && !c->baseline.step) code = bl_baseline_open(&c->baseline, net);
    if (!code && !c->layer) code = list_layers(c, net->graph);
    if (!code) take_settings(c, net->graph, rung);
    if (!code) code = bl_session_open(&session, net, &wanted);
    if (!code) code = make_pairs(c, &session, rung);
    bl_session_close(&session);
    blanch_network_free(net);
    c->rungs = rung + 1;
    return code ? bl_fail_in(code, "--block auto, measuring block %d", ladder_block[rung]) : 0;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* In steps of batch norm: what the step has beyond the budget. */
static double excess(const struct choice *c) {
    double sum = median(c->rest, c->pairs) - 1 - c->options->share;
    for (int i = 0; i < c->layers; i++) sum += c->layer[i].cost[c->layer[i].rung];
    return sum;
}

/* The layer that saves the most a rung, and the rung that it goes to: one that saves nothing may lead to one that
 * does. */
static struct layer *best_of(const struct choice *c, int *to) {
    struct layer *best = NULL;
    double most = 0;
    for (int i = 0; i < c->layers; i++) {
        struct layer *layer = &c->layer[i];
        for (int rung = layer->rung + 1; rung < c->rungs; rung++) {
            const double saved = (layer->cost[layer->rung] - layer->cost[rung]) / (rung - layer->rung);
            if (saved > most) most = saved, best = layer, *to = rung;
        }
    }
    return best;
}

/* What the last of the large savings leaves over. */
static void go_up(const struct choice *c) {
    for (int i = 0; i < c->layers; i++) {
        struct layer *layer = &c->layer[i];
        const int chosen = layer->rung;
        layer->rung = 0;
        while (layer->rung < chosen && excess(c) > 0) layer->rung++;
    }
}

/* Lower rungs are measured where the ones above do not suffice. */
static int choose(struct choice *c) {
    int code = measure(c, 0), to = 0;
    for (int rung = 1; rung < RUNGS && !code && excess(c) > 0; rung++) code = measure(c, rung);
    for (struct layer *layer; !code && excess(c) > 0 && (layer = best_of(c, &to));) layer->rung = to;
    if (!code && excess(c) <= 0) go_up(c);
    return code;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void add(cJSON *json, const char *key, double value) {
    cJSON_AddItemToObject(json, key, bl_json_number(value, 5));
}

static cJSON *describe(const struct choice *c) {
    const double bn_ms = median(c->bn_ms, c->pairs);
    cJSON *json = cJSON_CreateObject();
    add(json, "budget_pct", 100 * c->options->share);
    add(json, "bn_ms", bn_ms);
    add(json, "rest_ms", median(c->rest, c->pairs) * bn_ms);
    add(json, "overhead_pct", 100 * (excess(c) + c->options->share));
    cJSON_AddBoolToObject(json, "exact", excess(c) <= 0);
    cJSON *layers = cJSON_AddArrayToObject(json, "layers");
    for (int i = 0; i < c->layers; i++) {
        const struct layer *layer = &c->layer[i];
        const struct blanch_nd_layer *chosen = &layer->setting[layer->rung];
        cJSON *item = layer_json(chosen->block, chosen->cov_samples), *ms;
        cJSON_AddStringToObject(item, "name", chosen->name);
        ms = cJSON_AddArrayToObject(item, "whitening_ms");
        for (int rung = 0; rung < c->rungs; rung++)
            cJSON_AddItemToArray(ms, bl_json_number(layer->cost[rung] * bn_ms, 5));
        cJSON_AddItemToArray(layers, item);
    }
    return json;
}

static void summarise(const struct choice *c, char *text, size_t size) {
    int least = MOST_BLOCK, most = 0, capped = 0;
    for (int i = 0; i < c->layers; i++) {
        const struct blanch_nd_layer *setting = &c->layer[i].setting[c->layer[i].rung];
        if (setting->block < least) least = setting->block;
        if (setting->block > most) most = setting->block;
        capped += setting->cov_samples != 0;
    }
    snprintf(text, size,
             "--block auto: blocks of %d to %d, samples capped in %d of %d layers; %.0f %% over batch norm, %s", least,
             most, capped, c->layers, 100 * (excess(c) + c->options->share),
             excess(c) > 0 ? "so refreshes have to be fewer" : "every step exact");
}

/* --- the whole -------------------------------------------------------------------------------- */

int bl_blocks_choose(struct bl_blocks *blocks, const struct bl_blocks_options *options) {
    const struct bl_loader_options loading = {.split = BL_TRAIN,
                                              .view = *options->view,
                                              .batch = options->network->batch,
                                              .training = true,
                                              .least = 1,
                                              .seed = options->network->seed};
    struct choice c = {.options = options};
    struct bl_loader *loader = NULL;
    *blocks = (struct bl_blocks){0};
    int code = bl_loader_open(&loader, options->data, &loading);
    if (!code) code = bl_loader_next(loader, &c.batch);
    if (!code) bl_loader_wait(loader);
    if (!code) code = choose(&c);
    if (!code && !(blocks->layer = bl_calloc((size_t)c.layers + 1, sizeof *blocks->layer))) code = BLANCH_ENOMEM;
    if (!code) {
        for (int i = 0; i < c.layers; i++) blocks->layer[blocks->layers++] = c.layer[i].setting[c.layer[i].rung];
        blocks->exact = excess(&c) <= 0;
        blocks->line = describe(&c);
        summarise(&c, blocks->summary, sizeof blocks->summary);
    }
    if (c.baseline.close) c.baseline.close(c.baseline.context);
    bl_loader_close(loader);
    free(c.layer);
    return code;
}

void bl_blocks_apply(const struct bl_blocks *blocks, struct blanch_nd_options *nd) {
    nd->layer = blocks->layer;
    nd->layers = blocks->layers;
}

void bl_blocks_free(struct bl_blocks *blocks) {
    free(blocks->layer);
    cJSON_Delete(blocks->line);
    *blocks = (struct bl_blocks){0};
}
