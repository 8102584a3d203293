/* Networks that label pixels: what their logits say beside masks. */
#include "train/answers.h"
#include <math.h>
#include <stdlib.h>

int bl_network_check_kind(const struct blanch_network *net, enum bl_task task) {
    if (net->model->task == task) return 0;
    return bl_fail(BLANCH_EUSAGE,
                   task == BL_CLASSIFY ? "%s generates images: `blanch sample` makes some"
                                       : "%s classifies images, and makes none",
                   net->model->name);
}

int bl_network_check_task(const struct blanch_network *net, const struct bl_dataset *data) {
    const bool pixels = bl_graph_pixels(net->graph) > 1, masks = bl_dataset_has_masks(data);
    if (net->model->task == BL_GENERATE) return net->options.inference ? bl_network_check_kind(net, BL_CLASSIFY) : 0;
    if (pixels == masks) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s labels %s, and %s has labels of %s", net->model->name,
                   pixels ? "pixels" : "whole images", bl_dataset_name(data), masks ? "pixels" : "whole images");
}

/* The first of the largest logits of a pixel, which lie a plane apart, and the cross-entropy; NAN: one is not finite.
 */
static int32_t look(const float *z, size_t plane, int classes, int32_t label, double *loss) {
    int32_t best = 0;
    double sum = 0;
    bool finite = true;
    for (int c = 0; c < classes; c++) {
        finite = finite && isfinite(z[(size_t)c * plane]);
        if (z[(size_t)c * plane] > z[(size_t)best * plane]) best = c;
    }
    const double largest = (double)z[(size_t)best * plane];
    for (int c = 0; c < classes; c++) sum += exp((double)z[(size_t)c * plane] - largest);
    *loss = finite ? log(sum) + largest - (double)z[(size_t)label * plane] : NAN;
    return best;
}

int bl_pixels_evaluate(const struct blanch_network *net, const struct bl_batch *batch, const float *logits,
                       struct blanch_metrics *metrics, struct bl_answers *answers) {
    const size_t plane = (size_t)bl_graph_pixels(net->graph), count = (size_t)batch->count * plane;
    const int classes = net->options.classes;
    int32_t *given = bl_calloc(count, sizeof *given);
    if (!given) return BLANCH_ENOMEM;
    *metrics = (struct blanch_metrics){.count = batch->count};
    for (size_t i = 0; i < count; i++) {
        const int32_t label = batch->labels[i];
        const bool counts = label != BL_IGNORED_LABEL;
        double loss;
        given[i] =
            look(logits + i / plane * plane * (size_t)classes + i % plane, plane, classes, counts ? label : 0, &loss);
        if (!counts) continue;
        metrics->loss += loss;
        metrics->pixels++, metrics->right += given[i] == label;
    }
    if (metrics->pixels) metrics->loss /= (double)metrics->pixels;
    int code = answers ? bl_answers_add_pixels(answers, batch->labels, given, count, classes) : 0;
    free(given);
    return code;
}

int bl_pixels_answered(struct blanch_network *net, const struct bl_batch *batch, struct bl_answers *answers) {
    const size_t count = (size_t)batch->count * (size_t)bl_graph_pixels(net->graph);
    int32_t *given = bl_calloc(count, sizeof *given);
    int code = given ? bl_graph_answers(net->graph, batch->count, given) : BLANCH_ENOMEM;
    if (!code) code = bl_answers_add_pixels(answers, batch->labels, given, count, net->options.classes);
    free(given);
    return code;
}
