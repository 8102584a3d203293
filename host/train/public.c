/* The public calls that make networks and run them. They take NCHW and keep what a program gives from doing harm. */
#include "train/answers.h"
#include "train/about.h"
#include "train/public.h"
#include "train/open.h"
#include "train/session.h"
#include "io/files.h"
#include "optim/optim.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- structs ---------------------------------------------------------------------------------- */

enum { LARGEST = 4096 }; // bytes of a struct, whatever later versions add

int bl_given(bool all, const char *call) {
    return all ? 0 : bl_fail(BLANCH_EUSAGE, "%s: NULL is given where something has to be", call);
}

static int size_of(const void *of, const char *name, size_t *size) {
    if (!of) return bl_fail(BLANCH_EUSAGE, "a struct %s is NULL", name);
    memcpy(size, of, sizeof *size);
    if (*size >= sizeof *size && *size <= LARGEST) return 0;
    return bl_fail(BLANCH_EUSAGE, "struct %s has size %zu: set it to sizeof(struct %s)", name, *size, name);
}

int bl_sized(const void *of, const char *name) {
    size_t size;
    return size_of(of, name, &size);
}

int bl_take(void *to, size_t known, const void *from, const char *name) {
    const char *bytes = from;
    size_t size = 0;
    int code = size_of(from, name, &size);
    for (size_t i = known; !code && i < size; i++)
        if (bytes[i])
            code = bl_fail(BLANCH_EUSAGE, "struct %s has a field set that this library, %s, does not know", name,
                           BLANCH_VERSION);
    if (code) return code;
    memset(to, 0, known);
    memcpy(to, from, size < known ? size : known);
    return 0;
}

int bl_give(void *to, const void *from, size_t known, const char *name) {
    char *bytes = to;
    size_t size = 0;
    int code = size_of(to, name, &size);
    if (code) return code;
    memcpy(bytes + sizeof size, (const char *)from + sizeof size, (size < known ? size : known) - sizeof size);
    if (size > known) memset(bytes + known, 0, size - known);
    return 0;
}

/* --- creating ----------------------------------------------------------------------------------- */

/* As the command line has them; 0 and NAN: the network's own. */
static int check_nd(const struct blanch_nd_options *nd) {
    const struct {
        const char *name;
        int value, least, most;
    } rows[] = {{"block", nd->block, 0, 4096},
                {"iterations", nd->iterations, 0, 64},
                {"sampling_stride", nd->sampling_stride, 0, 64},
                {"whiten", nd->whiten, 0, BLANCH_WHITEN_VARIANCES},
                {"cov_samples", nd->cov_samples, -1000000, 1000000000},
                {"block_fc", nd->block_fc, 0, 4096},
                {"freeze", nd->freeze, -1, 1},
                {"refresh", nd->refresh, 0, 1000000},
                {"constant_gradient", nd->constant_gradient, -1, 1},
                {"channel_deconv", nd->channel_deconv, 0, 4096},
                {"keep_norm", nd->keep_norm, -1, 1}};
    for (int i = 0; i < BL_COUNT(rows); i++)
        if (rows[i].value < rows[i].least || rows[i].value > rows[i].most)
            return bl_fail(BLANCH_EUSAGE, "nd.%s is %d: it is %d to %d", rows[i].name, rows[i].value, rows[i].least,
                           rows[i].most);
    if (nd->eps < 0 || nd->eps > 1000) return bl_fail(BLANCH_EUSAGE, "nd.eps is %g: it is 0 to 1000", (double)nd->eps);
    if (nd->momentum < 0 || nd->momentum > 1)
        return bl_fail(BLANCH_EUSAGE, "nd.momentum is %g: it is 0 to 1", (double)nd->momentum);
    return 0;
}

static int check_layers(const struct blanch_nd_options *nd) {
    if (nd->layers < 0 || (nd->layers && !nd->layer))
        return bl_fail(BLANCH_EUSAGE, "nd.layers is %d: the number of layers at nd.layer", nd->layers);
    for (int i = 0; i < nd->layers; i++)
        if (!memchr(nd->layer[i].name, 0, sizeof nd->layer[i].name))
            return bl_fail(BLANCH_EUSAGE, "nd.layer[%d] has a name without an end", i);
    for (int i = 0; i < nd->layers; i++) {
        const struct blanch_nd_options own = {.block = nd->layer[i].block, .cov_samples = nd->layer[i].cov_samples};
        int code = check_nd(&own);
        if (code) return bl_fail_in(code, "%s", nd->layer[i].name);
    }
    return 0;
}

static int check_options(const struct blanch_network_options *o) {
    if (o->model && o->definition)
        return bl_fail(BLANCH_EUSAGE, "a network is created of a model's name or of its definition, not of both");
    if ((unsigned)o->norm > BLANCH_LN)
        return bl_fail(BLANCH_EUSAGE, "a norm of %d: there are BLANCH_BN, _ND, _NONE, _OWN, _GN and _LN", (int)o->norm);
    if (o->recompute < BLANCH_RECOMPUTE_AUTO || o->recompute > BL_MAX_SEGMENTS)
        return bl_fail(BLANCH_EUSAGE, "recompute is %d: it is 0 to %d, or BLANCH_RECOMPUTE_AUTO", o->recompute,
                       BL_MAX_SEGMENTS);
    return 0;
}

static int check_weights(const struct blanch_loss_options *loss, const struct blanch_network_options *o) {
    int classes = o->classes;
    struct blanch_model *model = NULL;
    if (!loss->class_weights) return 0;
    if (!classes && !o->definition && bl_model_open(&model, o->model)) return BLANCH_EUSAGE;
    if (!classes) classes = (model ? model : o->definition)->classes;
    bl_model_free(model);
    if (loss->weights == classes) return 0;
    return bl_fail(BLANCH_EUSAGE, "loss.weights is %d: a weight for each of %d classes", loss->weights, classes);
}

int blanch_nd_preset(const char *name, struct blanch_nd_options *nd) {
    struct blanch_nd_options known;
    int code = bl_given(name && nd, __func__);
    if (!code) code = bl_take(&known, sizeof known, nd, "blanch_nd_options");
    if (!code) code = bl_nd_preset(name, &known);
    return code ? code : bl_give(nd, &known, sizeof known, "blanch_nd_options");
}

int blanch_network_create(struct blanch_network **network, struct blanch_device *device,
                          const struct blanch_network_options *options) {
    struct blanch_network_options o;
    struct blanch_nd_options nd = {0};
    struct blanch_loss_options loss = {0};
    int code = bl_given(network && device && options, __func__);
    if (network) *network = NULL;
    if (!code) code = bl_take(&o, sizeof o, options, "blanch_network_options");
    if (!code && o.nd) code = bl_take(&nd, sizeof nd, o.nd, "blanch_nd_options");
    if (!code && o.loss) code = bl_take(&loss, sizeof loss, o.loss, "blanch_loss_options");
    if (!code) code = check_nd(&nd);
    if (!code) code = check_layers(&nd);
    if (!code) code = check_options(&o);
    if (!code) code = check_weights(&loss, &o);
    if (code) return code;
    const struct bl_network_options own = {.model = o.model,
                                           .definition = o.definition,
                                           .norm = o.norm,
                                           .nd = nd,
                                           .classes = o.classes,
                                           .channels = o.channels,
                                           .height = o.height,
                                           .width = o.width,
                                           .batch = o.batch,
                                           .inference = o.inference,
                                           .seed = o.seed,
                                           .recompute = o.recompute,
                                           .precision = o.precision,
                                           .optimiser = o.optimiser,
                                           .ema = o.ema,
                                           .no_decay = o.no_decay,
                                           .freeze_layers = o.freeze_layers,
                                           .accumulate = o.accumulate,
                                           .loss = {loss.label_smoothing, loss.pairs, loss.class_weights}};
    return bl_network_create(network, device, &own);
}

int blanch_network_ema(struct blanch_network **ema, struct blanch_network *network) {
    int code = bl_given(ema && network, __func__);
    if (ema) *ema = NULL;
    if (code) return code;
    if (!bl_graph_keeps_average(network->graph))
        return bl_fail(BLANCH_EUSAGE, "the network keeps no averages: it is created with ema");
    return bl_network_inference_of(ema, network, true);
}

/* --- files -------------------------------------------------------------------------------------- */

int blanch_network_load(struct blanch_network *network, const char *path) {
    struct bl_about_said said = {0};
    int code = bl_given(network && path, __func__);
    if (!code) code = bl_about_said_read(&said, path);
    if (!code && !(code = bl_weights_load(network->graph, path))) bl_about_take(network, &said);
    cJSON_Delete(said.class_names);
    return code;
}

int blanch_network_save(struct blanch_network *network, const char *path) {
    int code = bl_given(network && path, __func__);
    if (!code) code = bl_about_set(network);
    return code ? code : bl_weights_save(network->graph, path, -1);
}

int blanch_network_init(struct blanch_network *network, const char *path, int *taken) {
    struct bl_about_said said = {0};
    int count = 0, code = bl_given(network && path, __func__);
    if (!code) code = bl_about_said_read(&said, path);
    if (!code && !(code = bl_weights_init(network->graph, path, &count))) bl_about_take(network, &said);
    cJSON_Delete(said.class_names);
    if (taken) *taken = count;
    return code;
}

static int check_trains(const struct blanch_network *net) {
    return net->session ? 0 : bl_fail(BLANCH_EUSAGE, "a network made for inference cannot be trained");
}

int blanch_network_save_state(struct blanch_network *network, const char *directory) {
    int code = bl_given(network && directory, __func__);
    if (code || (code = check_trains(network)) || (code = bl_make_dirs(directory))) return code;
    const struct bl_overhead *overhead = network->session->overhead;
    const struct bl_counts counts = bl_graph_counts(network->graph);
    struct bl_position position = {
        .step = (int64_t)counts.steps, .skipped = (int64_t)(counts.steps - counts.updates), .best_top1 = -1};
    if (overhead && !(position.budget = bl_overhead_save(overhead))) return BLANCH_ENOMEM;
    code = bl_about_set(network);
    if (!code) code = bl_checkpoint_save(network->graph, directory, &position);
    free(position.budget);
    return code;
}

bool blanch_state_exists(const char *directory) {
    return directory && bl_checkpoint_exists(directory);
}

struct resumed {
    const struct bl_overhead *overhead; // NULL: no budget
    struct bl_budget *budget;           // to go on with
};

static int accept_budget(void *context, const struct bl_position *position) {
    struct resumed *resumed = context;
    return resumed->overhead ? bl_overhead_read(resumed->overhead, position->budget, &resumed->budget) : 0;
}

int blanch_network_load_state(struct blanch_network *network, const char *directory) {
    struct bl_position position = {0};
    struct bl_about_said said = {0};
    int code = bl_given(network && directory, __func__);
    if (code || (code = check_trains(network))) return code;
    struct resumed resumed = {.overhead = network->session->overhead};
    char *weights = bl_format("%s/last.safetensors", directory);
    if (!weights) return BLANCH_ENOMEM;
    if (bl_path_exists(weights)) code = bl_about_said_read(&said, weights);
    if (!code) code = bl_checkpoint_load_if(network->graph, directory, &position, accept_budget, &resumed);
    if (!code) bl_about_take(network, &said);
    cJSON_Delete(said.class_names);
    free(weights);
    if (!code && resumed.budget)
        bl_overhead_resume(network->session->overhead, resumed.budget);
    else
        bl_budget_free(resumed.budget);
    free(position.budget);
    return code;
}

/* --- running ------------------------------------------------------------------------------------ */

static size_t image_size(const struct blanch_network *net) {
    return (size_t)net->options.channels * (size_t)net->options.height * (size_t)net->options.width;
}

/* Of at most the network's batch, in its own memory. */
static const float *to_nhwc(struct blanch_network *net, const float *images, int count) {
    const int64_t channels = net->options.channels, pixels = (int64_t)net->options.height * net->options.width;
    float *out = net->host;
    for (int64_t i = 0; i < count; i++)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < channels; c++) *out++ = images[(i * channels + c) * pixels + p];
    return net->host;
}

int blanch_update_defaults(const char *optimiser, struct blanch_update *update) {
    const struct bl_optimiser *found;
    int code = bl_optimiser_find(optimiser, &found);
    return code ? code : bl_give(update, &found->defaults, sizeof *update, "blanch_update");
}

static int take_update(const struct blanch_network *net, const struct blanch_update *given, struct blanch_update *to) {
    const struct bl_optimiser *optimiser = bl_graph_optimiser(net->graph);
    *to = optimiser->defaults;
    int code = given ? bl_take(to, sizeof *to, given, "blanch_update") : 0;
    return code ? code : bl_update_check_all(optimiser, to);
}

static int check_count(int count) {
    return count > 0 ? 0 : bl_fail(BLANCH_EUSAGE, "%d images are given: there has to be one", count);
}

/* A network that reads no labels may be given none: all count as 0. */
static int stand_in(const struct blanch_network *network, int count, int32_t **labels) {
    *labels = NULL;
    if (blanch_network_told_classes(network))
        return bl_fail(BLANCH_EUSAGE, "%s is told classes: there are no labels", network->model->name);
    int code = check_count(count);
    return code || (*labels = bl_calloc((size_t)count, sizeof **labels)) ? code : BLANCH_ENOMEM;
}

static int step(struct blanch_network *network, struct bl_batch *batch, const struct blanch_update *update,
                struct blanch_metrics *metrics) {
    struct blanch_update settings;
    struct bl_stepped stepped;
    int code = check_trains(network);
    if (code || (code = take_update(network, update, &settings)) ||
        (metrics && (code = bl_sized(metrics, "blanch_metrics"))) || (code = bl_network_check_batch(network, batch)) ||
        (code = bl_check_interrupted()))
        return code;
    batch->images = to_nhwc(network, batch->images, batch->count);
    const struct bl_step wanted = {.batch = batch, .update = &settings, .record = network->record};
    code = bl_session_step(network->session, &wanted, &stepped);
    bl_stepped_release(&stepped);
    return code || !metrics ? code : bl_give(metrics, &stepped.metrics, sizeof *metrics, "blanch_metrics");
}

int blanch_network_step(struct blanch_network *network, const float *images, const int32_t *labels, int count,
                        const struct blanch_update *update, struct blanch_metrics *metrics) {
    struct bl_batch batch = {.count = count, .images = images, .labels = labels};
    int32_t *none = NULL;
    int code = bl_given(network && images, __func__);
    if (!code && !labels) code = stand_in(network, count, &none);
    if (none) batch.labels = none;
    if (!code) code = step(network, &batch, update, metrics);
    free(none);
    return code;
}

int blanch_network_step_pairs(struct blanch_network *network, const float *images,
                              const struct blanch_label_pairs *pairs, int count, const struct blanch_update *update,
                              struct blanch_metrics *metrics) {
    struct blanch_label_pairs p;
    int code = bl_given(network && images && pairs, __func__);
    if (!code) code = bl_take(&p, sizeof p, pairs, "blanch_label_pairs");
    if (!code) code = bl_given(p.labels && p.others, __func__);
    if (code) return code;
    if (!network->options.loss.pairs)
        return bl_fail(BLANCH_EUSAGE, "the network takes no pairs of labels: it is created with loss.pairs");
    if (!(p.share >= 0 && p.share <= 1)) return bl_fail(BLANCH_EUSAGE, "share is %g: it is 0 to 1", (double)p.share);
    struct bl_batch batch = {
        .count = count, .images = images, .labels = p.labels, .others = p.others, .share = p.share};
    return step(network, &batch, update, metrics);
}

/* All images, a batch at a time. */
static int in_batches(struct blanch_network *net, const float *images, const int32_t *labels, int count,
                      int (*each)(struct blanch_network *net, const struct bl_batch *batch, void *context),
                      void *context) {
    const int most = net->options.batch;
    int code = 0;
    for (int first = 0, here; first < count && !code; first += here) {
        here = count - first < most ? count - first : most;
        if ((code = bl_check_interrupted())) break;
        const struct bl_batch batch = {.count = here,
                                       .images = to_nhwc(net, images + (size_t)first * image_size(net), here),
                                       .labels = labels ? labels + first * bl_graph_pixels(net->graph) : NULL};
        code = each(net, &batch, context);
        if (count - first <= most) break; // first + here may be beyond an int
    }
    return code;
}

static int predict_batch(struct blanch_network *net, const struct bl_batch *batch, void *context) {
    float **logits = context;
    int code = bl_network_logits(net, batch, *logits);
    *logits += (size_t)batch->count * bl_network_logit_count(net);
    return code;
}

int blanch_network_predict(struct blanch_network *network, const float *images, int count, float *logits) {
    int code = bl_given(network && images && logits, __func__);
    if (!code) code = check_count(count);
    return code ? code : in_batches(network, images, NULL, count, predict_batch, &logits);
}

struct evaluated {
    struct blanch_metrics sum;
    struct bl_answers answers; // of a network that labels pixels
};

static int evaluate_batch(struct blanch_network *net, const struct bl_batch *batch, void *context) {
    struct evaluated *e = context;
    struct blanch_metrics part;
    const bool pixels = bl_graph_pixels(net->graph) > 1;
    int code = bl_network_eval_answers(net, batch, &part, pixels ? &e->answers : NULL);
    if (!code) bl_metrics_add(&e->sum, &part);
    return code;
}

bool blanch_network_labels_pixels(const struct blanch_network *network) {
    return network && bl_graph_pixels(network->graph) > 1;
}

int blanch_network_evaluate(struct blanch_network *network, const float *images, const int32_t *labels, int count,
                            struct blanch_metrics *metrics) {
    struct evaluated e = {.sum = {0}};
    int32_t *none = NULL;
    int code = bl_given(network && images, __func__);
    if (!code) code = check_count(count);
    if (!code) code = bl_sized(metrics, "blanch_metrics");
    if (!code && !labels) code = stand_in(network, count, &none);
    if (!code) code = in_batches(network, images, labels ? labels : none, count, evaluate_batch, &e);
    free(none);
    if (!code && e.answers.pixels) e.sum.mean_iou = bl_answers_mean_iou(&e.answers);
    bl_answers_free(&e.answers);
    return code ? code : bl_give(metrics, &e.sum, sizeof *metrics, "blanch_metrics");
}

/* --- schedules ---------------------------------------------------------------------------------- */

static const int64_t MOST_STEPS = 1000000000000;

static int check_schedule(const struct blanch_schedule *s, int64_t step) {
    const char *wrong = !(s->lr >= 0 && isfinite(s->lr))                       ? "lr"
                        : s->steps < 1 || s->steps > MOST_STEPS                ? "steps"
                        : s->epoch_steps < 0 || s->epoch_steps > MOST_STEPS    ? "epoch_steps"
                        : s->warmup < 0                                        ? "warmup"
                        : !(s->warmup_epochs >= 0 && s->warmup_epochs <= 1e6f) ? "warmup_epochs"
                                                                               : NULL;
    if (wrong) return bl_fail(BLANCH_EUSAGE, "a schedule's %s is out of range", wrong);
    if (step >= 0 && step < s->steps) return 0;
    return bl_fail(BLANCH_EUSAGE, "step %lld is none of a schedule of %lld steps", (long long)step,
                   (long long)s->steps);
}

int blanch_schedule_lr(const struct blanch_schedule *schedule, int64_t step, float *lr) {
    struct blanch_schedule s;
    int code = bl_given(lr, __func__);
    if (!code) code = bl_take(&s, sizeof s, schedule, "blanch_schedule");
    if (!code) code = check_schedule(&s, step);
    if (code) return code;
    struct bl_schedule own = {.lr = s.lr,
                              .steps = s.steps,
                              .epoch_steps = s.epoch_steps,
                              .warmup = s.warmup,
                              .warmup_epochs = s.warmup_epochs};
    if ((code = bl_schedule_parse(&own, s.text ? s.text : "cosine"))) return code;
    if ((own.milestones || own.warmup_epochs > 0) && !own.epoch_steps)
        return bl_fail(BLANCH_EUSAGE, "the schedule '%s' counts epochs: set epoch_steps", s.text);
    if ((code = bl_schedule_check(&own))) return code;
    *lr = bl_schedule_lr(&own, step);
    return 0;
}
