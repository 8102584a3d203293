/* The shapes of a network, and their measurement. */
#include "train/tune.h"

int bl_tune_convolutions(struct bl_tuner *tuner, struct blanch_device *dev, const struct blanch_network_options *options,
                         const struct bl_tune_bounds *bounds, struct bl_tune_report *report) {
    const struct bl_model *model = options->model ? bl_model_find(options->model) : NULL;
    if (!model) return 0; // blanch_network_create says so
    struct bl_graph *graph = NULL;
    int code = bl_graph_create(&graph, dev, options->batch, options->inference);
    if (!code) code = bl_model_build(graph, model, options);
    bl_graph_free(graph);
    return code ? code : bl_tuner_measure(tuner, dev, bounds, report);
}

int bl_tune_products(struct bl_tuner *tuner, struct blanch_network *net, const struct bl_tune_bounds *bounds,
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
    *net = NULL;
    if (!bounds) return blanch_network_create(net, dev, options);
    struct bl_tune_bounds rest = *bounds;
    int code = bl_tune_convolutions(tuner, dev, options, bounds, report);
    if (!code) code = blanch_network_create(net, dev, options);
    rest.seconds -= report->seconds;
    if (code || options->inference) return code;
    if ((code = bl_tune_products(tuner, *net, &rest, report))) blanch_network_free(*net), *net = NULL;
    return code;
}
