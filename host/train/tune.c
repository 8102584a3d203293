/* The shapes of a network, and their measurement. */
#include "train/tune.h"

/* The tuner notes the convolutions of a network that is about to be created. fits: with the engines known by now. */
static int note_convolutions(struct blanch_device *dev, const struct bl_network_options *options, bool *fits) {
    struct bl_graph *graph = NULL;
    *fits = false;
    int slice, code = bl_network_slice(dev, options, &slice);
    if (!code) code = bl_graph_create(&graph, dev, slice, options->inference);
    if (!code) bl_graph_recompute(graph, options->recompute);
    if (!code) code = bl_model_build(graph, options->definition, options);
    if (!code) *fits = bl_graph_bytes_at(graph, slice) <= blanch_device_info(dev)->global_memory;
    bl_graph_free(graph);
    return code;
}

static int measure_products(struct bl_tuner *tuner, struct blanch_network *net) {
    const struct bl_visitor nobody = {0};
    bl_dry(net->dev, true);
    int code = bl_graph_walk(net->graph, net->options.batch, &nobody);
    bl_dry(net->dev, false);
    return code ? code : bl_tuner_measure(tuner);
}

int bl_tune_create(bl_network_creator *create, struct blanch_network **net, struct blanch_device *dev,
                   const struct bl_network_options *options) {
    struct bl_tuner *tuner = bl_tuner_of(dev);
    bool fits;
    *net = NULL;
    int code = note_convolutions(dev, options, &fits);
    if (!code && fits) code = bl_tuner_measure(tuner);
    if (code) return code;
    code = create(net, dev, options);
    if (code == BLANCH_ELIMIT && bl_tuner_drop_engines(tuner)) code = create(net, dev, options);
    if (code || options->inference) return code;
    if ((code = measure_products(tuner, *net))) blanch_network_free(*net), *net = NULL;
    return code;
}

static void say(void *context, const char *line) {
    bl_warn("%s", line);
}

int blanch_device_tune(struct blanch_device *device, double seconds) {
    const struct bl_tune_bounds bounds = {
        .seconds = seconds, .candidate = BL_FIRST_USE_CANDIDATE, .build = BL_FIRST_USE_BUILD, .said = say};
    if (!device) return bl_fail(BLANCH_EUSAGE, "blanch_device_tune: NULL is given");
    if (!(seconds >= 0)) return bl_fail(BLANCH_EUSAGE, "a device is tuned for 0 seconds or more, not %g", seconds);
    return bl_tuner_open(device, &bounds);
}
