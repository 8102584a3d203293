/* The public calls of networks that generate. They give NCHW. */
#include "train/public.h"
#include "train/sample.h"
#include <stdlib.h>
#include <string.h>

bool blanch_network_generates(const struct blanch_network *network) {
    return network && network->model->task == BL_GENERATE;
}

bool blanch_network_told_classes(const struct blanch_network *network) {
    return network && (network->model->task != BL_GENERATE || bl_graph_labels(network->graph));
}

/* An image at a time: NHWC to NCHW. */
static int turn(const struct bl_network_options *o, int count, float *images) {
    const size_t channels = (size_t)o->channels, plane = (size_t)o->height * (size_t)o->width,
                 values = channels * plane;
    float *one = channels > 1 ? bl_calloc(values, sizeof *one) : NULL;
    if (channels > 1 && !one) return BLANCH_ENOMEM;
    for (int n = 0; n < count && one; n++) {
        float *image = images + (size_t)n * values;
        memcpy(one, image, values * sizeof *one);
        for (size_t i = 0; i < values; i++) image[i % channels * plane + i / channels] = one[i];
    }
    free(one);
    return 0;
}

static int check_range(const struct blanch_sample_options *o, int count) {
    if (count < 1) return bl_fail(BLANCH_EUSAGE, "%d images are asked for: it has to be one", count);
    if (o->first >= 0 && o->first <= INT32_MAX - count) return 0;
    return bl_fail(BLANCH_EUSAGE, "first is %d, of %d images: both together are 0 to %d", o->first, count, INT32_MAX);
}

int blanch_network_sample(struct blanch_network *network, const struct blanch_sample_options *options, int count,
                          float *images) {
    struct blanch_sample_options o = {0};
    struct blanch_network *made = NULL;
    int code = bl_given(network && images, __func__);
    if (!code && options) code = bl_take(&o, sizeof o, options, "blanch_sample_options");
    if (!code) code = check_range(&o, count);
    if (!code) code = bl_network_check_kind(network, BL_GENERATE);
    if (!code && !network->options.inference) code = bl_network_inference_of(&made, network, false);
    if (code) return code;
    const struct bl_sample_options own = {.seed = o.seed, .first = o.first, .count = count, .labels = o.labels};
    code = bl_sample(made ? made : network, &own, images);
    if (!code) code = turn(&network->options, count, images);
    blanch_network_free(made);
    return code;
}
