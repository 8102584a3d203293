/* A training trace: a few steps of a whole network from given parameters on given images. Networks that generate draw
 * their noise by the file's seed. */
#include "cli/check.h"
#include "model.h"
#include "optim/optim.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trace {
    struct bl_check *check;
    struct bl_graph *graph;
    struct blanch_update sgd;
    int steps, n, classes;
    int64_t image, each; // floats of one; its labels: 1, one of each pixel, or 0 where the network is told none
    float *x;            // (steps, N, C, H, W)
    int32_t *y;          // (steps, N), or (steps, N, H, W)
    float *losses;       // (steps)
};

/* --- reading ---------------------------------------------------------------------------------- */

static int read_labels(struct trace *t) {
    const struct bl_st_tensor *tensor;
    int64_t count = t->steps * t->n * t->each, *wide = bl_calloc((size_t)count, sizeof *wide);
    t->y = bl_calloc((size_t)count, sizeof *t->y);
    int code = wide && t->y ? bl_check_find(t->check, "data.y", NULL, &tensor) : BLANCH_ENOMEM;
    if (!code) code = bl_st_int64s(tensor, wide, count);
    for (int64_t i = 0; i < count && !code; i++) {
        if ((wide[i] < 0 || wide[i] >= t->classes) && (t->each == 1 || wide[i] != BL_IGNORED_LABEL))
            code =
                bl_fail(BLANCH_EINPUT, "data.y: label %lld, where 0 to %d can be", (long long)wide[i], t->classes - 1);
        else
            t->y[i] = (int32_t)wide[i];
    }
    free(wide);
    return code;
}

static int read_settings(struct trace *t) {
    const char *const keys[] = {"lr", "momentum", "weight_decay"};
    float *const values[] = {&t->sgd.lr, &t->sgd.momentum, &t->sgd.weight_decay};
    for (int i = 0; i < BL_COUNT(keys); i++) {
        double value;
        int code = bl_check_number(t->check, keys[i], &value);
        if (code) return code;
        *values[i] = (float)value;
    }
    return 0;
}

/* "vgg16-imagenet-nd": the model's name, then the normalisation. */
static int read_network(const struct trace *t, const struct blanch_model **model, enum blanch_norm *norm) {
    const char *network = bl_st_meta(t->check->file, "network"), *dash = network ? strrchr(network, '-') : NULL;
    char name[64];
    if (!dash)
        return bl_fail(BLANCH_EINPUT, "the metadata's 'network' must be like vgg16-nd, not '%s'",
                       network ? network : "(missing)");
    snprintf(name, sizeof name, "%.*s", (int)(dash - network), network);
    if (!(*model = bl_model_find(name)))
        return bl_fail(BLANCH_EINPUT, "unknown network '%s'; `blanch models` lists them", name);
    if (bl_norm_parse(dash + 1, norm))
        return bl_fail(BLANCH_EINPUT, "the metadata's 'network': unknown normalisation '%s'", dash + 1);
    return 0;
}

/* What the loss is of: logits (N, classes) or (N, classes, H, W), or what is compared with an image or its noise. */
static int read_shapes(struct trace *t, const struct blanch_model *model, struct bl_network_options *o) {
    const bool generates = model->task == BL_GENERATE;
    const struct bl_st_tensor *x, *logits;
    int code = bl_check_find(t->check, "data.x", NULL, &x);
    if (!code) code = bl_check_find(t->check, "out.logits", NULL, &logits);
    if (code) return code;
    if (x->dims != 5 || x->shape[0] < 1 || x->shape[1] < 1 || bl_check_count(x) > INT32_MAX || bl_check_count(x) < 1)
        return bl_fail(BLANCH_EINPUT, "data.x must be (steps, N, C, H, W)");
    const bool pixels = logits->dims == 4 && logits->shape[2] == x->shape[3] && logits->shape[3] == x->shape[4];
    if ((logits->dims != 2 && !pixels) || logits->shape[0] != x->shape[1] || logits->shape[1] < 1 ||
        logits->shape[1] > 1 << 20)
        return bl_fail(BLANCH_EINPUT, "out.logits must be (N, classes), or (N, classes, H, W), with N %lld",
                       (long long)x->shape[1]);
    t->each = pixels && !generates ? x->shape[3] * x->shape[4] : 1;
    t->steps = (int)x->shape[0], t->n = (int)x->shape[1];
    t->classes = generates ? model->classes : (int)logits->shape[1];
    t->image = x->shape[2] * x->shape[3] * x->shape[4];
    o->channels = (int)x->shape[2], o->height = (int)x->shape[3], o->width = (int)x->shape[4], o->classes = t->classes;
    return 0;
}

/* The seed of what it draws. */
static int read_seed(const struct trace *t, uint64_t *seed) {
    double value;
    int code = bl_check_number(t->check, "seed", &value);
    if (code) return code;
    if (!(value >= 0 && value <= 1ll << 53 && value == floor(value)))
        return bl_fail(BLANCH_EINPUT, "the metadata's 'seed' must be a whole number from 0 to 2^53, not %g", value);
    *seed = (uint64_t)value;
    return 0;
}

static int build(struct trace *t) {
    const struct blanch_model *model = NULL;
    struct bl_network_options o = {0};
    uint64_t seed = 0;
    int code = read_network(t, &model, &o.norm);
    if (!code) code = read_settings(t);
    if (!code) code = read_shapes(t, model, &o);
    if (!code && model->task == BL_GENERATE) code = read_seed(t, &seed);
    if (code || (code = bl_check_read(t->check, "data.x", NULL, 0, &t->x))) return code;
    if ((code = bl_graph_create(&t->graph, t->check->dev, t->n, false))) return code;
    bl_graph_use(t->graph, &bl_optimiser_sgd);
    if ((code = bl_model_build(t->graph, model, &o))) return code;
    if (!bl_graph_labels(t->graph))
        t->each = 0;
    else if ((code = read_labels(t)))
        return code;
    if (model->task != BL_GENERATE) bl_graph_no_dropout(t->graph); // which stills the noise of what generates too
    return bl_graph_finish(t->graph, seed);
}

/* Every trainable parameter that the network uses, in state-dict order; NULL after the last. */
static struct bl_param *next_param(const struct trace *t, int *at) {
    while (*at < bl_graph_params(t->graph)) {
        struct bl_param *param = bl_graph_param(t->graph, (*at)++);
        bool idle = false;
        for (int i = 0; i < bl_graph_nodes(t->graph) && !idle; i++) {
            const struct bl_node *node = bl_graph_node(t->graph, i);
            for (int k = 0; k < node->params && node->idle; k++) idle |= node->param[k] == param;
        }
        if (param->trainable && !idle) return param;
    }
    return NULL;
}

static int initialise(struct trace *t) {
    struct bl_param *param;
    int code = 0;
    for (int at = 0; !code && (param = next_param(t, &at));) {
        float *values;
        if (!(code = bl_check_read(t->check, "init.", param->name, param->data.count, &values)))
            code = bl_param_write(param, values);
        free(values);
    }
    bl_graph_touch(t->graph);
    return code;
}

/* --- comparing -------------------------------------------------------------------------------- */

static int compare_logits(struct trace *t, const char *name, const char *bound) {
    double tolerance;
    struct blanch_tensor *logits = bl_graph_out(t->graph);
    float *got = bl_calloc((size_t)logits->count, sizeof *got);
    int code = got ? bl_tensor_read(t->graph, logits, t->n, got) : BLANCH_ENOMEM;
    if (!code) code = bl_check_number(t->check, bound, &tolerance);
    if (code) return free(got), code;
    return bl_check_compare(t->check, name, NULL, got, logits->count, (struct bl_tolerance){tolerance});
}

static double norm_of(const float *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sqrt(sum);
}

/* Takes the gradient over. */
static int compare_gradient(struct trace *t, const struct bl_param *param, float *grad, double norm_bound,
                            double tolerance) {
    char full[256];
    float *norm = bl_calloc(1, sizeof *norm);
    if (!norm) return free(grad), BLANCH_ENOMEM;
    *norm = (float)norm_of(grad, param->grad.count);
    int code = bl_check_compare(t->check, "out.grad_norm.", param->name, norm, 1,
                                (struct bl_tolerance){.absolute = &norm_bound});
    snprintf(full, sizeof full, "out.grad.%s", param->name);
    if (code || !bl_st_find(t->check->file, full)) return free(grad), code;
    return bl_check_compare(t->check, full, NULL, grad, param->grad.count, (struct bl_tolerance){tolerance});
}

/* The bound of every norm is stated of the largest. */
static int largest_norm(const struct trace *t, double *largest) {
    struct bl_param *param;
    *largest = 0;
    for (int at = 0; (param = next_param(t, &at));) {
        float *norm;
        int code = bl_check_read(t->check, "out.grad_norm.", param->name, 1, &norm);
        if (code) return code;
        *largest = fmax(*largest, (double)*norm);
        free(norm);
    }
    return 0;
}

static int compare_gradients(struct trace *t) {
    double largest, norm_tolerance, tolerance;
    struct bl_param *param;
    int code = largest_norm(t, &largest);
    if (!code) code = bl_check_number(t->check, "tolerance_grad_norm", &norm_tolerance);
    if (!code) code = bl_check_number(t->check, "tolerance_grad", &tolerance);
    for (int at = 0; !code && (param = next_param(t, &at));) {
        float *grad = bl_calloc((size_t)param->grad.count, sizeof *grad);
        code = grad ? bl_mem_read(param->grad.mem, 0, bl_tensor_bytes(&param->grad), grad) : BLANCH_ENOMEM;
        if (code)
            free(grad);
        else
            code = compare_gradient(t, param, grad, norm_tolerance * largest, tolerance);
    }
    return code;
}

/* tolerance_loss: relative, one number a step, separated by commas. */
static int compare_losses(struct trace *t) {
    const char *at = bl_st_meta(t->check->file, "tolerance_loss");
    double *bounds = bl_calloc((size_t)t->steps, sizeof *bounds);
    float *expected = NULL, *got = t->losses;
    int code = bounds ? bl_check_read(t->check, "out.loss", NULL, t->steps, &expected) : BLANCH_ENOMEM;
    for (int i = 0; i < t->steps && !code; i++) {
        char *end = NULL;
        double tolerance = at ? strtod(at, &end) : 0;
        if (!at || end == at || (i + 1 < t->steps && *end != ','))
            code = bl_fail(BLANCH_EINPUT, "the metadata's 'tolerance_loss' needs %d numbers, one a step", t->steps);
        else {
            bounds[i] = tolerance * fabs((double)expected[i]);
            at = end + (*end == ',');
        }
    }
    free(expected);
    if (!code) {
        t->losses = NULL;
        code = bl_check_compare(t->check, "out.loss", NULL, got, t->steps, (struct bl_tolerance){.absolute = bounds});
    }
    free(bounds);
    return code;
}

/* --- running ---------------------------------------------------------------------------------- */

static int load_labels(struct trace *t, int step) {
    const int64_t labels = t->n * t->each;
    const int32_t *y = t->y + step * labels;
    double labelled = 0;
    for (int64_t i = 0; i < labels; i++) labelled += t->each == 1 || y[i] != BL_IGNORED_LABEL;
    bl_graph_weigh_batch(t->graph, labelled);
    return bl_mem_write(bl_graph_labels(t->graph)->mem, 0, sizeof *y * (size_t)labels, y);
}

static int load(struct trace *t, int step) {
    int code = bl_tensor_write(t->graph, bl_graph_in(t->graph), t->n, t->x + step * t->n * t->image);
    return code || !t->each ? code : load_labels(t, step);
}

static int train_step(struct trace *t, int step) {
    struct blanch_metrics metrics;
    int code = load(t, step);
    if (code || (code = bl_graph_forward(t->graph, t->n, true)) || (code = bl_graph_metrics(t->graph, t->n, &metrics)))
        return code;
    t->losses[step] = (float)metrics.loss;
    if (step == 0 && (code = compare_logits(t, "out.logits", "tolerance_logits"))) return code;
    if ((code = bl_graph_backward(t->graph, t->n))) return code;
    if (step == 0 && (code = compare_gradients(t))) return code;
    return bl_graph_update(t->graph, &t->sgd);
}

static int run(struct trace *t) {
    int code = initialise(t);
    if (!(t->losses = bl_calloc((size_t)t->steps, sizeof *t->losses))) return BLANCH_ENOMEM;
    for (int step = 0; step < t->steps && !code; step++) code = train_step(t, step);
    if (code || (code = compare_losses(t)) || (code = load(t, 0)) || (code = bl_graph_forward(t->graph, t->n, false)))
        return code;
    return compare_logits(t, "out.eval_logits", "tolerance_eval_logits");
}

int bl_check_trace(struct bl_check *check) {
    struct trace trace = {.check = check};
    int code = build(&trace);
    if (!code) code = run(&trace);
    bl_graph_free(trace.graph);
    free(trace.x), free(trace.y), free(trace.losses);
    return code;
}
