/* The shapes of a network, and their measurement. */
#include "train/tune.h"

/* The tuner notes the convolutions of a network that is about to be created. fits: with the engines known by now. */
static int note_convolutions(struct blanch_device *dev, const struct blanch_network_options *options, bool *fits) {
    const struct bl_model *model = options->model ? bl_model_find(options->model) : NULL;
    struct bl_graph *graph = NULL;
    *fits = false;
    if (!model) return 0; // blanch_network_create says so
    int code = bl_graph_create(&graph, dev, options->batch, options->inference);
    if (!code) code = bl_model_build(graph, model, options);
    if (!code) *fits = bl_graph_bytes_at(graph, options->batch) <= blanch_device_info(dev)->global_memory;
    bl_graph_free(graph);
    return code;
}

static int measure_products(struct bl_tuner *tuner, struct blanch_network *net, const struct bl_tune_bounds *bounds,
                            struct bl_tune_report *report) {
    const struct bl_visitor nobody = {0};
    bl_dry(net->dev, true);
    int code = bl_graph_walk(net->graph, net->options.batch, &nobody);
    bl_dry(net->dev, false);
    return code ? code : bl_tuner_measure(tuner, net->dev, bounds, report);
}

int bl_tune_create(struct bl_tuner *tuner, struct blanch_network **net, struct blanch_device *dev,
                   const struct blanch_network_options *options, const struct bl_tune_bounds *bounds,
                   struct bl_tune_report *report) {
    bool fits;
    *net = NULL;
    if (!bounds) return blanch_network_create(net, dev, options);
    struct bl_tune_bounds rest = *bounds;
    int code = note_convolutions(dev, options, &fits);
    if (!code && fits) code = bl_tuner_measure(tuner, dev, bounds, report);
    if (code) return code;
    code = blanch_network_create(net, dev, options);
    if (code == BLANCH_ELIMIT && bl_tuner_drop_engines(tuner, dev)) code = blanch_network_create(net, dev, options);
    rest.seconds -= report->seconds;
    if (code || options->inference) return code;
    if ((code = measure_products(tuner, *net, &rest, report))) blanch_network_free(*net), *net = NULL;
    return code;
}
