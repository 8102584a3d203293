/* Ranges of layers' inputs, by a pass over images in evaluation, watched. Means of batches' extremes, so that a single
 * far value widens a range by its share alone. */
#include "train/calibrate.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct watch {
    struct bl_calibration *calibration;
    struct bl_graph *graph;
    float *values;
    size_t capacity;
};

static struct bl_calibrated *layer_of(struct bl_calibration *c, const struct bl_node *node) {
    for (int i = 0; i < c->layers; i++)
        if (c->layer[i].node == node) return &c->layer[i];
    return NULL;
}

static int look(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    struct watch *w = context;
    struct bl_calibrated *layer = layer_of(w->calibration, node);
    if (!layer) return 0;
    const struct blanch_tensor *x = node->in[0];
    const size_t count = (size_t)(run->n * x->c * x->h * x->w);
    void *room = w->values;
    int code = bl_grow(&room, &w->capacity, count, sizeof *w->values);
    w->values = room;
    if (!code) code = bl_tensor_read(w->graph, node->in[0], run->n, w->values);
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < count && !code; i++) {
        if (!isfinite(w->values[i]))
            return bl_fail(BLANCH_EDIVERGED, "%s: what enters it is not finite, so it has no range", node->name);
        least = fmin(least, (double)w->values[i]);
        most = fmax(most, (double)w->values[i]);
    }
    layer->least += least, layer->most += most;
    return code;
}

static int list_layers(struct bl_calibration *c, const struct bl_graph *graph) {
    const int nodes = bl_graph_nodes(graph);
    if (!(c->layer = bl_calloc((size_t)nodes, sizeof *c->layer))) return BLANCH_ENOMEM;
    for (int i = 0; i < nodes; i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        if (node->op->role == BL_ROLE_LAYER && !node->idle) c->layer[c->layers++].node = node;
    }
    return 0;
}

/* Slice by slice, as the network takes images. */
static int pass(struct blanch_network *net, const struct bl_batch *batch, struct watch *w) {
    const int slice = (int)bl_graph_in(net->graph)->n,
              each = net->options.channels * net->options.height * net->options.width;
    const struct bl_visitor visitor = {.context = w, .before = look};
    int code = 0;
    for (int first = 0; first < batch->count && !code; first += slice) {
        const int here = batch->count - first < slice ? batch->count - first : slice;
        code = bl_tensor_write_nhwc(bl_graph_in(net->graph), here, batch->images + (size_t)first * (size_t)each);
        if (!code) code = bl_graph_watch(net->graph, here, &visitor);
        w->calibration->batches++;
    }
    w->calibration->images += batch->count;
    return code;
}

int bl_calibrate(struct bl_calibration *calibration, struct blanch_network *net, struct bl_dataset *data,
                 enum bl_split split, const struct bl_view *view, int images) {
    const struct bl_loader_options options = {.split = split, .view = *view, .batch = net->options.batch, .epochs = 1};
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    struct watch w = {calibration, net->graph};
    *calibration = (struct bl_calibration){0};
    int code = list_layers(calibration, net->graph);
    if (!code) code = bl_loader_open(&loader, data, &options);
    while (!code && calibration->images < images && !(code = bl_loader_next(loader, &batch)) && batch.whole) {
        if (batch.count > images - calibration->images) batch.count = images - calibration->images;
        code = pass(net, &batch, &w);
        if (!code) code = bl_check_interrupted();
    }
    bl_loader_close(loader);
    free(w.values);
    if (!code && !calibration->images)
        code = bl_fail(BLANCH_EINPUT, "there is no image to find the ranges of 8 bits by");
    return code;
}

void bl_calibration_free(struct bl_calibration *calibration) {
    free(calibration->layer);
    *calibration = (struct bl_calibration){0};
}

bool bl_calibration_input(void *context, const struct bl_node *node, struct bl_fake_quantize_attrs *attrs) {
    const struct bl_calibration *c = context;
    for (int i = 0; i < c->layers; i++) {
        const struct bl_calibrated *layer = &c->layer[i];
        if (strcmp(layer->node->name, node->name)) continue;
        const double least = fmin(0, layer->least / c->batches), most = fmax(0, layer->most / c->batches);
        const double scale = most > least ? (most - least) / 255 : 1;
        *attrs = (struct bl_fake_quantize_attrs){(float)scale, (int)nearbyint(-least / scale), 0, 255};
        return true;
    }
    return false;
}
