/* Images of noise. The noise is the host's, and so is the arithmetic between a diffusion's steps: the device computes
 * the network alone. */
#include "train/sample.h"
#include "ops/diffuse.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sampler {
    struct blanch_network *net;
    const struct bl_sample_options *o;
    const int32_t *labels;          // of a slice
    size_t channels, plane, values; // of an image
    float *noise, *made;            // of a slice: what goes into the network; what comes out, NCHW
    double *left;                   // of a diffusion: A_t of each t
};

/* Of image `image`, `values` normal numbers, those of a stream. */
static void fill_noise(const struct sampler *s, int64_t image, uint64_t stream, size_t values, float *out) {
    const uint64_t blocks = (values + 3) / 4;
    double e[4];
    for (size_t i = 0; i < values; i++) {
        if (i % 4 == 0) bl_normals(s->o->seed, BL_RANDOM_SAMPLE, (uint64_t)image * blocks + i / 4, stream, e);
        out[i] = (float)e[i % 4];
    }
}

/* The network's output of what is given, NHWC, of count images. */
static int run_network(struct sampler *s, const float *given, int count) {
    struct bl_graph *graph = s->net->graph;
    int code = bl_tensor_write_nhwc(bl_graph_in(graph), count, given);
    if (!code) code = bl_graph_forward(graph, count, false);
    return code ? code : bl_tensor_read(graph, bl_graph_out(graph), count, s->made);
}

/* Value i of an image, NHWC, in what the network has made. */
static double made_of(const struct sampler *s, int image, size_t i) {
    return (double)s->made[(size_t)image * s->values + i % s->channels * s->plane + i / s->channels];
}

static int check_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return bl_fail(BLANCH_EDIVERGED, "a value of an image is not finite");
    return 0;
}

/* --- at once ---------------------------------------------------------------------------------- */

static int decode(struct sampler *s, int64_t first, int count, float *images) {
    const size_t latent = (size_t)s->net->model->latent;
    for (int n = 0; n < count; n++) fill_noise(s, first + n, 0, latent, s->noise + (size_t)n * latent);
    int code = run_network(s, s->noise, count);
    for (size_t i = 0; i < (size_t)count * s->values && !code; i++)
        images[i] = (float)(1 / (1 + exp(-made_of(s, (int)(i / s->values), i % s->values))));
    return code;
}

/* --- step by step ----------------------------------------------------------------------------- */

/* Ancestral sampling (Ho, Jain and Abbeel, NeurIPS 2020, algorithm 2): of x_t and the noise e in it, x_0 =
 * (x_t - sqrt(1 - A_t) e) / sqrt(A_t), cut to -1 to 1; x_(t-1) has the mean and variance of what is known of it by x_t
 * and x_0. */
static void step_back(const struct sampler *s, int image, int t, const float *noise, float *x) {
    const double left = s->left[t], before = t ? s->left[t - 1] : 1, beta = 1 - left / before;
    const double of_first = sqrt(before) * beta / (1 - left), of_last = sqrt(1 - beta) * (1 - before) / (1 - left),
                 deviation = sqrt(beta * (1 - before) / (1 - left));
    for (size_t i = 0; i < s->values; i++) {
        const double e = made_of(s, image, i), was = ((double)x[i] - sqrt(1 - left) * e) / sqrt(left),
                     first = was > 1    ? 1
                             : was < -1 ? -1
                                        : was;
        x[i] = (float)(of_first * (isnan(was) ? was : first) + of_last * (double)x[i] + deviation * (double)noise[i]);
    }
}

static int write_labels(const struct sampler *s, int64_t first, int count) {
    struct blanch_tensor *labels = bl_graph_labels(s->net->graph);
    const int classes = s->net->options.classes;
    if (!labels) return 0;
    int32_t *values = bl_calloc((size_t)count, sizeof *values);
    for (int n = 0; values && n < count; n++) values[n] = s->labels ? s->labels[n] : (int32_t)((first + n) % classes);
    int code = values ? bl_mem_write(labels->mem, 0, (size_t)count * sizeof *values, values) : BLANCH_ENOMEM;
    free(values);
    return code;
}

static int write_time(const struct sampler *s, int t, int count) {
    float *values = bl_calloc((size_t)count, sizeof *values);
    for (int n = 0; values && n < count; n++) values[n] = (float)t;
    struct bl_mem *mem = bl_graph_number(s->net->graph)->mem;
    int code = values ? bl_mem_write(mem, 0, (size_t)count * sizeof *values, values) : BLANCH_ENOMEM;
    free(values);
    return code;
}

static int diffuse_back(struct sampler *s, int64_t first, int count, float *images) {
    const int steps = s->net->model->diffusion->steps, last = s->o->stop ? steps - s->o->stop : 0;
    int code = write_labels(s, first, count);
    for (int n = 0; n < count; n++)
        fill_noise(s, first + n, (uint64_t)steps, s->values, images + (size_t)n * s->values);
    for (int t = steps - 1; t >= last && !code; t--) {
        code = write_time(s, t, count);
        if (!code) code = run_network(s, images, count);
        for (int n = 0; n < count && !code; n++) {
            fill_noise(s, first + n, (uint64_t)t, s->values, s->noise);
            step_back(s, n, t, s->noise, images + (size_t)n * s->values);
        }
        if (!code && s->o->step) code = s->o->step(s->o->context, steps - t, steps - last);
        if (!code) code = bl_check_interrupted();
    }
    const struct blanch_model *model = s->net->model;
    for (size_t i = 0; i < (size_t)count * s->values && !code && !s->o->stop; i++)
        images[i] = images[i] * model->deviation + model->mean;
    return code;
}

/* --- both ------------------------------------------------------------------------------------- */

static int check_labels(const struct sampler *s) {
    const struct blanch_model *model = s->net->model;
    const int classes = s->net->options.classes;
    if (s->o->labels && !bl_graph_labels(s->net->graph))
        return bl_fail(BLANCH_EUSAGE, "%s is not told a class", model->name);
    for (int n = 0; s->o->labels && n < s->o->count; n++)
        if (s->o->labels[n] < 0 || s->o->labels[n] >= classes)
            return bl_fail(BLANCH_EUSAGE, "there is no class %d: %s has %d", (int)s->o->labels[n], model->name,
                           classes);
    return 0;
}

static int open_sampler(struct sampler *s) {
    const struct bl_network_options *o = &s->net->options;
    const struct blanch_model *model = s->net->model;
    int code = bl_network_check_kind(s->net, BL_GENERATE);
    if (!code) code = check_labels(s);
    if (!code && s->o->stop && (!model->diffusion || s->o->stop > model->diffusion->steps))
        code = bl_fail(BLANCH_EUSAGE, "%s has no %d steps", model->name, s->o->stop);
    if (code) return code;
    const size_t slice = (size_t)bl_graph_in(s->net->graph)->n, latent = (size_t)model->latent;
    s->channels = (size_t)o->channels, s->plane = (size_t)o->height * (size_t)o->width;
    s->values = s->channels * s->plane;
    s->noise = bl_calloc(slice * (latent > s->values ? latent : s->values), sizeof *s->noise);
    s->made = bl_calloc(slice * s->values, sizeof *s->made);
    const int steps = model->diffusion ? model->diffusion->steps : 0;
    s->left = bl_calloc((size_t)steps + 1, sizeof *s->left);
    if (!s->noise || !s->made || !s->left) return BLANCH_ENOMEM;
    for (int t = 0; t < steps; t++) s->left[t] = (t ? s->left[t - 1] : 1) * (1 - bl_diffuse_beta(model->diffusion, t));
    return 0;
}

int bl_sample(struct blanch_network *net, const struct bl_sample_options *options, float *images) {
    struct sampler s = {.net = net, .o = options};
    const int slice = (int)bl_graph_in(net->graph)->n;
    int code = open_sampler(&s);
    for (int done = 0; done < options->count && !code; done += slice) {
        const int here = options->count - done < slice ? options->count - done : slice;
        float *to = images + (size_t)done * s.values;
        s.labels = options->labels ? options->labels + done : NULL;
        code = net->model->diffusion ? diffuse_back(&s, (int64_t)options->first + done, here, to)
                                     : decode(&s, (int64_t)options->first + done, here, to);
        if (!code) code = check_finite(to, (size_t)here * s.values);
        if (!code) code = bl_check_interrupted();
    }
    free(s.noise), free(s.made), free(s.left);
    return code;
}
