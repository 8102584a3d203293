/* Measuring the engines of a convolution's pass, each in a graph of one layer. A result is judged twice: at some
 * positions against sums in double precision on the host, and whole against the first engine that was right. */
#include "graph/graph.h"
#include "ops/conv/engine.h"
#include "ops/conv/layer.h"
#include "sched/tune_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 48 };

struct data {
    size_t x, w, y, out; // elements; out: of the pass's result
    float *images, *weights, *gradient, *result, *reference;
    void *stored;                   // of the largest of these
    bool have_reference, rectified; // rectified: the layer applies a ReLU
};

struct trial {
    struct bl_graph *graph;
    struct bl_node *node;
    struct bl_conv *conv;
    enum bl_conv_pass pass;
    int n;
    bool keeps, packed; // weights, as an inference does
};

/* --- the layer -------------------------------------------------------------------------------- */

static int build(struct trial *t, struct blanch_device *dev, const struct bl_tune_item *item) {
    const struct bl_conv_shape *s = &item->conv;
    t->pass = item->pass, t->n = (int)s->n, t->keeps = s->inference;
    int code = bl_graph_create(&t->graph, dev, t->n, s->inference);
    if (code) return code;
    bl_graph_store_as(t->graph, s->type);
    struct blanch_tensor *x = bl_graph_input(t->graph, s->attrs.in_channels, s->h, s->w);
    bl_graph_want_input_grads(t->graph);
    struct blanch_tensor *y = bl_graph_add(t->graph, "conv2d", "tuned", &s->attrs, &x, 1);
    if (s->inference && y) bl_graph_add(t->graph, "relu", "activation", NULL, &y, 1); // which some engines apply
    code = bl_graph_finish(t->graph, 0);
    if (bl_graph_nodes(t->graph)) t->node = bl_graph_node(t->graph, 0); // names its engines, built or not
    if (code) return code;
    t->conv = bl_conv_layer_conv(t->node);
    if (s->inference || (t->node->out[0]->grad && t->node->in[0]->grad)) return 0;
    return bl_fail(BLANCH_EDEVICE, "tuning: a convolution has no gradients");
}

/* A sixteenth of the images, but one at least. */
static int small_part(const struct trial *t) {
    return (t->n + 15) / 16;
}

static int enqueue(struct trial *t, const struct bl_run *run) {
    const struct bl_node *node = t->node;
    const struct bl_conv_engine *engine = t->conv->engine[t->pass];
    if (t->pass == BL_CONV_WEIGHTS)
        return engine->backward_weights(t->conv, run, node->in[0], node->out[0]->grad, node->param[0]->grad.mem, NULL);
    const bool packs = engine->pack && !(t->keeps && t->packed);
    int code = packs ? engine->pack(t->conv, t->pass, run, node->param[0]->data.mem) : 0;
    if (code) return code;
    t->packed = true;
    if (t->pass == BL_CONV_FORWARD) {
        code = engine->forward(t->conv, run, node->in[0], NULL, node->out[0]);
        return code ? code : bl_conv_finish(t->conv, run->n, node->out[0]);
    }
    return engine->backward_data(t->conv, run, node->out[0]->grad, node->in[0]->grad, false);
}

static int run_pass(void *context, bool small) {
    struct trial *t = context;
    const struct bl_run run = {.n = small ? small_part(t) : t->n, .training = true};
    int code = enqueue(t, &run);
    return code ? code : bl_finish(t->node->dev);
}

static struct bl_mem *result_of(const struct trial *t) {
    if (t->pass == BL_CONV_FORWARD) return t->node->out[0]->mem;
    return t->pass == BL_CONV_DATA ? t->node->in[0]->grad->mem : t->node->param[0]->grad.mem;
}

static enum bl_type result_type(const struct trial *t) {
    return t->pass == BL_CONV_WEIGHTS ? BL_F32 : t->node->in[0]->type;
}

/* --- plain sums ------------------------------------------------------------------------------- */

/* One tap of the image n: where output (oy, ox) finds its input; false outside. */
static bool input_at(const struct bl_conv_shape *s, int64_t oy, int64_t ox, int tap, int64_t *iy, int64_t *ix) {
    const struct bl_conv_attrs *a = &s->attrs;
    *iy = oy * a->stride[0] - a->padding[0] + (int64_t)(tap / a->kernel[1]) * a->dilation[0];
    *ix = ox * a->stride[1] - a->padding[1] + (int64_t)(tap % a->kernel[1]) * a->dilation[1];
    return *iy >= 0 && *iy < s->h && *ix >= 0 && *ix < s->w;
}

struct sizes {
    int64_t oh, ow;
    int taps, gi, go;
};

static double forward_at(const struct bl_conv_shape *s, const struct sizes *z, const struct data *d, int64_t at) {
    const int64_t o = at % s->attrs.out_channels, pixel = at / s->attrs.out_channels;
    const int64_t ox = pixel % z->ow, oy = pixel / z->ow % z->oh, n = pixel / z->ow / z->oh;
    double sum = 0;
    for (int tap = 0; tap < z->taps; tap++) {
        int64_t iy, ix;
        if (!input_at(s, oy, ox, tap, &iy, &ix)) continue;
        const float *x = d->images + ((n * s->h + iy) * s->w + ix) * s->attrs.in_channels + o / z->go * z->gi;
        for (int c = 0; c < z->gi; c++) sum += (double)x[c] * (double)d->weights[(o * z->gi + c) * z->taps + tap];
    }
    return d->rectified && sum < 0 ? 0 : sum;
}

static double data_at(const struct bl_conv_shape *s, const struct sizes *z, const struct data *d, int64_t at) {
    const struct bl_conv_attrs *a = &s->attrs;
    const int64_t c = at % a->in_channels, pixel = at / a->in_channels;
    const int64_t ix = pixel % s->w, iy = pixel / s->w % s->h, n = pixel / s->w / s->h, first = c / z->gi * z->go;
    double sum = 0;
    for (int tap = 0; tap < z->taps; tap++) {
        int64_t y = iy + a->padding[0] - (int64_t)(tap / a->kernel[1]) * a->dilation[0];
        int64_t x = ix + a->padding[1] - (int64_t)(tap % a->kernel[1]) * a->dilation[1];
        if (y < 0 || x < 0 || y % a->stride[0] || x % a->stride[1]) continue;
        y /= a->stride[0], x /= a->stride[1];
        if (y >= z->oh || x >= z->ow) continue;
        const float *dy = d->gradient + ((n * z->oh + y) * z->ow + x) * a->out_channels;
        for (int64_t o = first; o < first + z->go; o++)
            sum += (double)dy[o] * (double)d->weights[(o * z->gi + c % z->gi) * z->taps + tap];
    }
    return sum;
}

static double weights_at(const struct bl_conv_shape *s, const struct sizes *z, const struct data *d, int64_t at) {
    const struct bl_conv_attrs *a = &s->attrs;
    const int tap = (int)(at % z->taps);
    const int64_t o = at / z->taps / z->gi, c = o / z->go * z->gi + at / z->taps % z->gi;
    double sum = 0;
    for (int64_t pixel = 0; pixel < s->n * z->oh * z->ow; pixel++) {
        int64_t iy, ix, n = pixel / z->ow / z->oh;
        if (!input_at(s, pixel / z->ow % z->oh, pixel % z->ow, tap, &iy, &ix)) continue;
        sum += (double)d->gradient[pixel * a->out_channels + o] *
               (double)d->images[((n * s->h + iy) * s->w + ix) * a->in_channels + c];
    }
    return sum;
}

/* At positions spread over the result, its first and last among them. */
static bool samples_right(const struct bl_tune_item *item, const struct data *d) {
    const struct bl_conv_shape *s = &item->conv;
    const struct bl_conv_attrs *a = &s->attrs;
    struct sizes z = {
        .taps = a->kernel[0] * a->kernel[1], .gi = a->in_channels / a->groups, .go = a->out_channels / a->groups};
    float found[SAMPLES], plain[SAMPLES];
    bl_conv_out_size(a, s->h, s->w, &z.oh, &z.ow);
    for (int i = 0; i < SAMPLES; i++) {
        int64_t at = (int64_t)((double)(d->out - 1) * i / (SAMPLES - 1));
        found[i] = d->result[at];
        plain[i] = (float)(item->pass == BL_CONV_FORWARD ? forward_at(s, &z, d, at)
                           : item->pass == BL_CONV_DATA  ? data_at(s, &z, d, at)
                                                         : weights_at(s, &z, d, at));
    }
    return bl_tune_close(s->type, found, plain, SAMPLES);
}

/* --- a candidate ------------------------------------------------------------------------------ */

/* Activations are stored as the network does; d->stored has room for them. What is compared is what was stored. */
static int write_activations(const struct blanch_tensor *to, const struct data *d, const float *from, size_t count) {
    bl_type_narrow(to->type, from, d->stored, count);
    return bl_mem_write(to->mem, 0, bl_type_bytes(to->type) * count, d->stored);
}

static int write_data(const struct trial *t, const struct data *d) {
    struct bl_node *node = t->node;
    int code = write_activations(node->in[0], d, d->images, d->x);
    if (!code) code = bl_mem_write(node->param[0]->data.mem, 0, sizeof(float) * d->w, d->weights);
    if (!code && t->pass != BL_CONV_FORWARD) code = write_activations(node->out[0]->grad, d, d->gradient, d->y);
    return code ? code : bl_mem_fill(result_of(t), 0, bl_type_bytes(result_type(t)) * d->out / 4 * 4, NAN);
}

static int judge(const struct trial *t, const struct bl_tune_item *item, struct data *d, bool *right) {
    const enum bl_type type = result_type(t);
    int code = bl_mem_read(result_of(t), 0, bl_type_bytes(type) * d->out, d->stored);
    if (code) return code;
    bl_type_widen(type, d->stored, d->result, d->out);
    d->rectified = bl_node_activation(t->node);
    *right = samples_right(item, d) &&
             (!d->have_reference || bl_tune_close(item->conv.type, d->result, d->reference, d->out));
    if (*right && !d->have_reference) {
        memcpy(d->reference, d->result, sizeof(float) * d->out);
        d->have_reference = true;
    }
    return 0;
}

/* engine "": the one that the rule chooses. */
static int build_with(struct bl_tuner *tuner, const char *engine, const struct bl_tune_item *item, struct trial *t) {
    tuner->engine = engine, tuner->pass = item->pass, tuner->conv_chooser.only = &tuner->pass;
    int code = build(t, tuner->dev, item);
    tuner->engine = NULL, tuner->conv_chooser.only = NULL;
    return code;
}

/* Which engines suit besides the one that is built; all where it cannot be built. */
static void list_others(const struct trial *t, const char *name, bool *others) {
    for (int i = 0; i < BL_TUNE_TRIALS && bl_conv_engine_name(i); i++)
        others[i] = !t->conv || (strcmp(bl_conv_engine_name(i), name) &&
                                 bl_conv_worth_measuring(t->conv, bl_conv_engine_name(i), t->pass));
}

/* One that does not suit the shape is passed over in silence. engine "": the rule's, and others tells which ones suit
 * besides; else others is NULL. */
static int try_engine(struct bl_tuner *tuner, const char *engine, const struct bl_tune_item *item, struct data *d,
                      struct bl_tune_trials *trials, bool *others) {
    struct trial t = {0};
    struct bl_tune_timing timing = {BL_TUNE_RIGHT, INFINITY};
    bool right = false;
    const double start = bl_now();
    int code = build_with(tuner, engine, item, &t);
    const char *name = t.node && t.node->engine[item->pass] ? t.node->engine[item->pass] : engine;
    if (*engine && strcmp(name, engine)) goto done;
    if (bl_tune_beyond(code)) goto done;
    if (code) t.conv = NULL;
    if (others) list_others(&t, name, others);
    if (code && !*engine) goto done; // its own turn comes among the others
    const struct bl_tune_candidate candidate = {run_pass, &t, (double)small_part(&t) / t.n, bl_now() - start};
    if (!code) code = write_data(&t, d);
    if (!code) code = bl_tune_time(&candidate, &tuner->bounds, bl_tune_best(trials), &timing);
    if (!code && timing.result == BL_TUNE_RIGHT) {
        code = judge(&t, item, d, &right);
        if (!right) timing.result = BL_TUNE_WRONG;
    }
    if (bl_tune_beyond(code)) goto done;
    if (code) timing.result = BL_TUNE_FAILED;
    bl_tune_add(trials, name, &timing);
    bl_tune_refuse(tuner, item, &(struct bl_tune_trial){name, timing.result, 0});
done:
    bl_graph_free(t.graph);
    return bl_tune_beyond(code);
}

static void round_to(enum bl_type type, const struct data *d, float *values, size_t count) {
    bl_type_narrow(type, values, d->stored, count);
    bl_type_widen(type, d->stored, values, count);
}

static int make_data(struct data *d, const struct bl_tune_item *item) {
    const struct bl_conv_shape *s = &item->conv;
    int64_t oh, ow;
    bl_conv_out_size(&s->attrs, s->h, s->w, &oh, &ow);
    d->x = (size_t)(s->n * s->h * s->w * s->attrs.in_channels);
    d->y = (size_t)(s->n * oh * ow * s->attrs.out_channels);
    d->w = (size_t)s->attrs.out_channels * (size_t)(s->attrs.in_channels / s->attrs.groups) *
           (size_t)(s->attrs.kernel[0] * s->attrs.kernel[1]);
    d->out = item->pass == BL_CONV_FORWARD ? d->y : item->pass == BL_CONV_DATA ? d->x : d->w;
    d->images = bl_calloc(d->x, 4), d->weights = bl_calloc(d->w, 4), d->gradient = bl_calloc(d->y, 4);
    d->result = bl_calloc(d->out, 4), d->reference = bl_calloc(d->out, 4);
    d->stored = bl_calloc(d->x > d->y ? d->x > d->out ? d->x : d->out : d->y > d->out ? d->y : d->out, 4);
    if (!d->stored || !d->images || !d->weights || !d->gradient || !d->result || !d->reference) return BLANCH_ENOMEM;
    bl_tune_fill(d->images, d->x, 1), bl_tune_fill(d->weights, d->w, 2), bl_tune_fill(d->gradient, d->y, 3);
    round_to(s->type, d, d->images, d->x), round_to(s->type, d, d->gradient, d->y);
    return 0;
}

/* The rule's choice is the first, so that most others are soon seen to be slower. */
int bl_tune_conv(struct bl_tuner *tuner, const struct bl_tune_item *item, struct bl_tune_trials *trials) {
    struct data d = {0};
    bool others[BL_TUNE_TRIALS] = {0};
    int code = make_data(&d, item);
    if (!code) code = try_engine(tuner, "", item, &d, trials, others);
    for (int i = 0; !code && i < BL_TUNE_TRIALS && bl_conv_engine_name(i); i++)
        if (others[i] && !(code = bl_check_interrupted()))
            code = try_engine(tuner, bl_conv_engine_name(i), item, &d, trials, NULL);
    free(d.images), free(d.weights), free(d.gradient), free(d.result), free(d.reference), free(d.stored);
    return code;
}
