/* The body of the public struct blanch_network: a model's graph on a device, fed from the host. */
#include "train/answers.h"
#include "train/open.h"
#include "train/session.h"
#include "train/tune.h"
#include "io/safetensors.h"
#include "dist/staged.h"
#include "ops/nd/schedule.h"
#include "optim/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_IMAGES = 1 << 24 };  // of a step
enum { SLICE_BYTES = 24 << 20 }; // of activations that an inference on a CPU has at a time

int bl_update_resolve(const char *optimiser, struct blanch_update *update) {
    const struct bl_optimiser *found;
    int code = bl_optimiser_find(optimiser, &found);
    if (code) return code;
    const struct blanch_update *defaults = &found->defaults;
    update->nesterov |= defaults->nesterov;
    if (isnan(update->lr)) update->lr = defaults->lr;
    if (isnan(update->momentum)) update->momentum = defaults->momentum;
    if (isnan(update->weight_decay)) update->weight_decay = defaults->weight_decay;
    if (isnan(update->beta1)) update->beta1 = defaults->beta1;
    if (isnan(update->beta2)) update->beta2 = defaults->beta2;
    if (isnan(update->eps)) update->eps = defaults->eps;
    return bl_update_check_all(found, update);
}

/* --- creation ------------------------------------------------------------------------------- */

static int take_class_weights(struct blanch_network *net) {
    struct bl_loss_attrs *loss = &net->options.loss;
    const size_t classes = (size_t)net->options.classes;
    if (!loss->weight) return 0;
    if (!(net->class_weight = bl_calloc(classes, sizeof *net->class_weight))) return BLANCH_ENOMEM;
    memcpy(net->class_weight, loss->weight, classes * sizeof *net->class_weight);
    loss->weight = net->class_weight;
    double sum = 0;
    for (size_t i = 0; i < classes; i++) {
        const double weight = (double)net->class_weight[i];
        if (!(weight >= 0 && weight <= 1e6))
            return bl_fail(BLANCH_EUSAGE, "class %zu has the weight %g: it is 0 to 1e6", i, weight);
        sum += weight;
    }
    return sum > 0 ? 0 : bl_fail(BLANCH_EUSAGE, "no class has a weight above 0");
}

static int resolve(struct blanch_network *net, const struct bl_network_options *options) {
    net->model = bl_model_hold(options->definition);
    if (options->batch < 1) return bl_fail(BLANCH_EUSAGE, "a batch of %d images is not possible", options->batch);
    if (options->accumulate < 0 || options->accumulate > MOST_IMAGES / options->batch)
        return bl_fail(BLANCH_EUSAGE, "--accumulate %d: a step has up to %d images", options->accumulate, MOST_IMAGES);
    if (!(options->ema >= 0 && options->ema < 1))
        return bl_fail(BLANCH_EUSAGE, "--ema is %g: it is at least 0 and less than 1", (double)options->ema);
    if ((unsigned)options->precision > BLANCH_BF16)
        return bl_fail(BLANCH_EUSAGE, "a precision of %d: there are BLANCH_FP32, BLANCH_FP16 and BLANCH_BF16",
                       (int)options->precision);
    struct bl_network_options *o = &net->options;
    *o = *options;
    o->model = net->model->name;
    o->definition = net->model;
    if (!net->model->json) o->norm = bl_model_norm(net->model, o->norm);
    if (!o->classes) o->classes = net->model->classes;
    if ((unsigned)o->nd.whiten > BLANCH_WHITEN_VARIANCES)
        return bl_fail(BLANCH_EUSAGE, "nd.whiten is %d: there are BLANCH_WHITEN_PATCHES, _CHANNELS and _VARIANCES",
                       o->nd.whiten);
    if (net->model->task == BL_GENERATE && (o->loss.smoothing > 0 || o->loss.weight || o->loss.pairs))
        return bl_fail(BLANCH_EUSAGE,
                       "%s generates images: label smoothing, weights of classes and pairs of labels "
                       "are nothing to it",
                       net->model->name);
    if (o->nd.layers && !(net->layers = bl_calloc((size_t)o->nd.layers, sizeof *net->layers))) return BLANCH_ENOMEM;
    if (o->nd.layers) memcpy(net->layers, o->nd.layer, (size_t)o->nd.layers * sizeof *net->layers);
    o->nd.layer = net->layers;
    int code = take_class_weights(net);
    if (code) return code;
    if (!o->channels) o->channels = net->model->channels;
    if (!o->height) o->height = net->model->size;
    if (!o->width) o->width = bl_model_width(net->model);
    return 0;
}

/* An ONNX file whose batch norms were folded away is none to train with batch norm. */
static int check_folded(const struct blanch_network *net) {
    const enum blanch_norm norm = net->options.norm;
    if (net->options.inference || (norm != BLANCH_BN && norm != BLANCH_OWN) ||
        !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(net->model->json, "folded")))
        return 0;
    return bl_fail(
        BLANCH_EUSAGE,
        "%s: its batch norms were folded into its convolutions; export it from train() by "
        "torch.onnx.export(..., dynamo=True, optimize=False), or dynamo=False, "
        "training=TrainingMode.PRESERVE, do_constant_folding=False (docs/onnx.md); or take --norm nd or none",
        net->model->name);
}

/* A budget decides when to refresh. */
static int resolve_budget(struct blanch_network *net) {
    struct blanch_nd_options *nd = &net->options.nd;
    double budget = (double)nd->overhead_budget;
    if (budget == 0) return 0;
    if (!(budget > 0 && budget <= 10000))
        return bl_fail(BLANCH_EUSAGE, "an overhead budget is a percentage from 0 to 10000, not %g", budget);
    if (net->options.accumulate > 1)
        return bl_fail(BLANCH_EUSAGE, "an overhead budget compares steps of one pass: leave accumulate out");
    if (net->options.freeze_layers)
        return bl_fail(BLANCH_EUSAGE, "an overhead budget compares steps of all layers: leave freeze_layers out");
    if (bl_model_norm(net->model, net->options.norm) != BLANCH_ND)
        return bl_fail(BLANCH_EUSAGE, "an overhead budget bounds network deconvolution: the norm is another");
    int code = bl_model_check_budget(net->model);
    if (code) return code;
    if (nd->refresh) return bl_fail(BLANCH_EUSAGE, "an overhead budget chooses when to refresh: leave nd.refresh 0");
    nd->refresh = BL_REFRESH_SCHEDULED;
    return 0;
}

/* The variance of one value, and the covariance of one sample, are zero: there is nothing to learn from them, and
 * running ones would be spoilt. Whitening of one sample multiplies by 1/sqrt(eps). */
static bool is_single(const struct bl_node *node, int images) {
    if (node->idle) return false;
    if (node->op->normalises) return images * node->out[0]->h * node->out[0]->w == 1;
    return node->whitening && bl_whitening_look(node->whitening, images).samples == 1;
}

const struct bl_node *bl_network_single(const struct blanch_network *net, int images) {
    for (int i = 0; i < bl_graph_nodes(net->graph); i++) {
        const struct bl_node *node = bl_graph_node(net->graph, i);
        if (is_single(node, images)) return node;
    }
    return NULL;
}

/* Layers that have no more of a whole batch say nothing of smaller ones. */
static bool is_too_small(const struct blanch_network *net, int images) {
    for (int i = 0; i < bl_graph_nodes(net->graph); i++) {
        const struct bl_node *node = bl_graph_node(net->graph, i);
        if (is_single(node, images) && !is_single(node, net->options.batch)) return true;
    }
    return false;
}

int bl_network_least_batch(const struct blanch_network *net) {
    int images = 1;
    while (images < net->options.batch && is_too_small(net, images)) images++;
    return images;
}

/* Deconvolution's published form takes single samples. */
static int check_variances(const struct blanch_network *net) {
    const struct bl_node *node = net->options.inference ? NULL : bl_network_single(net, net->options.batch);
    if (!node || node->whitening) return 0;
    return bl_fail(BLANCH_EUSAGE,
                   "%s-%s: %s would normalise one value per channel, whose variance is zero; train with a --batch "
                   "of 2 or more, or larger images",
                   net->model->name, bl_norm_name(net->options.norm), node->name);
}

static bool fits(const struct blanch_network *net, int batch) {
    return bl_graph_bytes_at(net->graph, batch) <= blanch_device_info(net->dev)->global_memory;
}

/* The message already says what did not fit; this adds what would. */
static int refuse_batch(struct blanch_network *net) {
    int low = 0, high = net->options.batch;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (fits(net, middle))
            low = middle;
        else
            high = middle;
    }
    char reason[400];
    strncpy(reason, blanch_error_message(), sizeof reason - 1);
    reason[sizeof reason - 1] = 0;
    char remedy[80] = "";
    int segments = 0;
    if (!net->options.inference && net->options.recompute != BLANCH_RECOMPUTE_AUTO) {
        uint64_t bytes = bl_graph_bytes_with(net->graph, net->options.batch, BL_RECOMPUTE_AUTO, &segments);
        if (bytes <= blanch_device_info(net->dev)->global_memory)
            snprintf(remedy, sizeof remedy, "; with --recompute %d batch %d fits", segments, net->options.batch);
    }
    if (!low) return bl_fail(BLANCH_ELIMIT, "%s: %s; not even one image fits%s", net->model->name, reason, remedy);
    return bl_fail(BLANCH_ELIMIT, "%s: %s; the largest batch that fits is %d%s", net->model->name, reason, low, remedy);
}

int bl_network_slice(const struct blanch_device *dev, const struct bl_network_options *o, int *slice) {
    const struct blanch_model *model = o->definition;
    struct bl_graph *graph = NULL;
    *slice = o->batch;
    if (!o->inference || blanch_device_info(dev)->kind != BLANCH_CPU) return 0;
    int code = bl_graph_create(&graph, NULL, o->batch, true);
    if (!code) code = bl_model_build(graph, model, o);
    if (!code) code = bl_graph_finish(graph, 0);
    if (!code) {
        const struct bl_plan *plan = bl_graph_plan(graph);
        const uint64_t image = (plan->arena - plan->kept) / (uint64_t)o->batch + 1, room = SLICE_BYTES / image;
        const int most = room < 1 ? 1 : room > (uint64_t)o->batch ? o->batch : (int)room;
        const int slices = (o->batch + most - 1) / most;
        *slice = (o->batch + slices - 1) / slices;
    }
    bl_graph_free(graph);
    return code;
}

int bl_network_largest_step(const struct blanch_network *net) {
    const struct bl_network_options *o = &net->options;
    return o->accumulate > 1 && !o->inference ? o->batch * o->accumulate : o->batch;
}

static int build(struct blanch_network *net) {
    const struct bl_network_options *o = &net->options;
    const struct bl_optimiser *optimiser;
    int slice, code = bl_optimiser_find(o->optimiser, &optimiser);
    if (!code) code = bl_network_slice(net->dev, o, &slice);
    if (!code) code = bl_graph_create(&net->graph, net->dev, slice, o->inference);
    if (code) return code;
    net->options.optimiser = optimiser->name; // what was given may be gone by the next network
    bl_graph_use(net->graph, optimiser);
    bl_graph_recompute(net->graph, o->recompute);
    bl_graph_keep_average(net->graph, o->ema);
    if (o->accumulate > 1) bl_graph_accumulate(net->graph);
    if (!o->inference && (code = bl_graph_select(net->graph, o->no_decay, o->freeze_layers))) return code;
    if ((code = bl_model_build(net->graph, net->model, o))) return code;
    code = bl_graph_finish(net->graph, o->seed);
    if (!code) code = check_variances(net);
    if (code == BLANCH_ELIMIT) code = refuse_batch(net);
    if (code) return code;
    size_t values = (size_t)bl_network_largest_step(net) * (size_t)o->channels * (size_t)o->height * (size_t)o->width;
    net->host = bl_calloc(values, sizeof *net->host);
    if (net->host) return 0;
    return bl_fail(BLANCH_ENOMEM, "out of host memory for the images of a step: a batch of %d, --accumulate %d",
                   o->batch, o->accumulate > 1 ? o->accumulate : 1);
}

static bool is_shaped(const struct bl_st_tensor *value, const struct bl_param *param) {
    bool same = value->dims == param->dims;
    for (int i = 0; same && i < param->dims; i++) same = value->shape[i] == param->shape[i];
    return same;
}

static int take_value(const struct bl_st_tensor *value, struct bl_param *param) {
    if (param->counter) return bl_st_int64s(value, &param->value, 1);
    float *values = bl_calloc((size_t)param->data.count, sizeof *values);
    int code = values ? bl_st_floats(value, values, param->data.count) : BLANCH_ENOMEM;
    if (!code) code = bl_param_write(param, values);
    free(values);
    return code;
}

/* The model's initial values. What the network has otherwise, such as a classifier of other classes, begins at random.
 */
static int take_values(struct blanch_network *net) {
    int code = 0;
    for (int i = 0; i < net->model->value_count && !code; i++) {
        const struct bl_st_tensor *value = &net->model->values[i];
        struct bl_param *param = bl_graph_find_param(net->graph, value->name);
        if (!param || !is_shaped(value, param)) continue;
        code = take_value(value, param);
        net->taken++;
    }
    bl_graph_touch(net->graph);
    return code ? bl_fail_in(code, "%s", net->model->name) : 0;
}

static int open_session(struct blanch_network *net) {
    const double budget = (double)net->options.nd.overhead_budget;
    const struct bl_session_options options = {.budget = budget > 0 ? budget / 100 : -1};
    net->session = bl_calloc(1, sizeof *net->session);
    return net->session ? bl_session_open(net->session, net, &options) : BLANCH_ENOMEM;
}

static int create(struct blanch_network **network, struct blanch_device *device,
                  const struct bl_network_options *options) {
    struct blanch_network *net = bl_calloc(1, sizeof *net);
    *network = NULL;
    if (!net) return BLANCH_ENOMEM;
    net->dev = device;
    bl_device_hold(device);
    int code = resolve(net, options);
    if (!code) code = check_folded(net);
    if (!code) code = resolve_budget(net);
    if (!code) code = build(net);
    if (!code) code = take_values(net);
    if (!code && !net->options.inference) code = open_session(net);
    if (code)
        blanch_network_free(net);
    else
        *network = net;
    return code;
}

int bl_network_create(struct blanch_network **network, struct blanch_device *device,
                      const struct bl_network_options *options) {
    struct bl_network_options o = *options;
    struct blanch_model *opened = NULL;
    *network = NULL;
    int code = o.definition ? 0 : bl_model_open(&opened, o.model);
    if (code) return code;
    if (opened) o.definition = opened;
    code = bl_tuner_of(device) ? bl_tune_create(create, network, device, &o) : create(network, device, &o);
    bl_model_free(opened);
    return code;
}

static int copy_param(struct bl_param *from, struct bl_param *to, bool average) {
    to->value = from->value;
    if (from->counter) return 0;
    float *values = bl_calloc((size_t)from->data.count, sizeof *values);
    int code = values ? 0 : BLANCH_ENOMEM;
    if (!code) code = average ? bl_param_read_average(from, values) : bl_param_read(from, values);
    if (!code) code = bl_param_write(to, values);
    free(values);
    return code;
}

int bl_network_copy(struct blanch_network *to, struct blanch_network *net, bool average) {
    int code = 0;
    for (int i = 0; i < bl_graph_params(to->graph) && !code; i++) {
        struct bl_param *param = bl_graph_param(to->graph, i), *from = bl_graph_find_param(net->graph, param->name);
        if (from) code = copy_param(from, param, average);
    }
    bl_graph_touch(to->graph);
    return code;
}

int bl_network_inference_of(struct blanch_network **inference, struct blanch_network *net, bool average) {
    struct bl_network_options options = net->options;
    options.inference = true, options.precision = BLANCH_FP32; // as `eval` has the weights
    options.nd.overhead_budget = 0, options.nd.refresh = 0;    // of training alone
    int code = bl_network_create(inference, net->dev, &options);
    if (code) return code;
    (*inference)->view = net->view;
    code = bl_network_copy(*inference, net, average);
    if (!code && net->class_names && !((*inference)->class_names = cJSON_Duplicate(net->class_names, true)))
        code = BLANCH_ENOMEM;
    if (code) blanch_network_free(*inference), *inference = NULL;
    return code;
}

void blanch_network_free(struct blanch_network *network) {
    if (!network) return;
    if (network->session) bl_session_close(network->session);
    free(network->session);
    if (bl_staged_close(network->staged)) return; // its memory is kept
    bl_graph_free(network->graph);
    bl_model_free(network->model);
    free(network->layers);
    free(network->class_weight);
    free(network->host);
    cJSON_Delete(network->class_names);
    blanch_device_close(network->dev);
    free(network);
}

/* --- running -------------------------------------------------------------------------------- */

static int check_batch(const struct blanch_network *net, const struct bl_batch *batch, int most, bool labelled) {
    if (batch->count < 1 || batch->count > most)
        return bl_fail(BLANCH_EUSAGE, "%d images are given to a network made for 1 to %d", batch->count, most);
    for (int i = 0; labelled && i < batch->count; i++)
        if (batch->others && !(batch->others[i] >= 0 && batch->others[i] < net->options.classes))
            return bl_fail(BLANCH_EINPUT, "image %d of a batch has the other label %d, the network has %d classes", i,
                           (int)batch->others[i], net->options.classes);
    const int64_t each = bl_graph_pixels(net->graph);
    for (int64_t i = 0; labelled && i < batch->count * each; i++)
        if ((batch->labels[i] < 0 || batch->labels[i] >= net->options.classes) &&
            (each == 1 || batch->labels[i] != BL_IGNORED_LABEL))
            return bl_fail(BLANCH_EINPUT, "%s%d of a batch has label %d, the network has %d classes",
                           each > 1 ? "a pixel of image " : "image ", (int)(i / each), (int)batch->labels[i],
                           net->options.classes);
    return 0;
}

/* What a batch fills, by enum bl_batch_part. */
#define INPUTS_OF(net)                                                                                                 \
    { bl_graph_in((net)->graph), bl_graph_labels((net)->graph), bl_graph_others((net)->graph) }

int bl_network_stage(struct blanch_network *net, struct bl_stage **stage) {
    const struct blanch_tensor *inputs[BL_BATCH_PARTS] = INPUTS_OF(net);
    size_t bytes = 0;
    for (int i = 0; i < BL_COUNT(inputs); i++)
        if (inputs[i]) bytes += bl_tensor_bytes(inputs[i]) + bl_mem_align(net->dev);
    return bl_stage_create(net->dev, bytes, stage);
}

int bl_network_upload(struct blanch_network *net, const struct bl_batch *batch, const struct bl_uploader *by,
                      struct bl_event **event) {
    struct blanch_tensor *inputs[BL_BATCH_PARTS] = INPUTS_OF(net);
    const void *from[BL_BATCH_PARTS] = {batch->images, batch->labels, batch->others};
    const bool mixed = inputs[BL_BATCH_OTHERS] && batch->others;
    struct bl_upload uploads[BL_BATCH_PARTS];
    int parts = 0, code = 0;
    bl_tag(net->dev, -1, BL_LOAD);
    bl_graph_share_labels(net->graph, mixed ? batch->share : 1);
    for (int k = 0; k < BL_BATCH_PARTS && !code; k++) {
        struct blanch_tensor *input = inputs[k];
        bool given = false;
        if (!input || !from[k]) continue;
        if (input->type != BL_F32 && input->type != BL_I32) {
            code = bl_tensor_write_nhwc(input, batch->count, batch->images); // narrowed, and waited for
            continue;
        }
        if (by->lender) code = bl_lender_give(by->lender, input, from[k], &given);
        if (!given)
            uploads[parts++] = (struct bl_upload){input->mem, from[k],
                                                  bl_tensor_bytes(input) / (size_t)input->n * (size_t)batch->count};
    }
    return code || !parts ? code : bl_stage_upload(by->stage, net->dev, uploads, parts, event);
}

static int upload(struct blanch_network *net, const struct bl_batch *batch) {
    struct bl_event *event = NULL, **const events[] = {&event};
    int code = bl_network_upload(net, batch, &(struct bl_uploader){0}, &event), ended = bl_await(net->dev, events, 1);
    return code ? code : ended;
}

int bl_network_check_batch(const struct blanch_network *net, const struct bl_batch *batch) {
    return check_batch(net, batch, bl_network_largest_step(net), true);
}

int bl_network_load(struct blanch_network *net, const struct bl_batch *batch) {
    int code = check_batch(net, batch, net->options.batch, true);
    return code ? code : upload(net, batch);
}

int bl_network_metrics(struct blanch_network *net, int count, struct blanch_metrics *metrics) {
    bl_tag(net->dev, -1, BL_LOSS);
    return bl_graph_metrics(net->graph, count, metrics);
}

/* Cross-entropy and the rank of the right class, of logits on the host. Where one is not finite, the image is wrong. */
static void add_image(struct blanch_metrics *metrics, const float *logits, int classes, int32_t label) {
    double largest = logits[0], sum = 0;
    int before = 0;
    for (int c = 0; c < classes; c++) {
        if (!isfinite(logits[c])) {
            metrics->loss = NAN;
            return;
        }
        if (logits[c] > largest) largest = logits[c];
    }
    for (int c = 0; c < classes; c++) {
        sum += exp(logits[c] - largest);
        before += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    }
    metrics->loss += log(sum) + largest - logits[label];
    metrics->top1 += before < 1;
    metrics->top5 += before < 5;
}

size_t bl_network_logit_count(const struct blanch_network *net) {
    return (size_t)net->options.classes * (size_t)bl_graph_pixels(net->graph);
}

int bl_network_infer(struct blanch_network *net, const float *images, int count, float *logits) {
    const struct bl_network_options *o = &net->options;
    const size_t image = (size_t)o->channels * (size_t)o->height * (size_t)o->width;
    const size_t values = bl_network_logit_count(net);
    int code = bl_network_check_kind(net, BL_CLASSIFY), slice = (int)bl_graph_in(net->graph)->n;
    for (int first = 0; first < count && !code; first += slice) {
        const int here = count - first < slice ? count - first : slice;
        bl_tag(net->dev, -1, BL_LOAD);
        code = bl_tensor_write_nhwc(bl_graph_in(net->graph), here, images + (size_t)first * image);
        if (!code) code = bl_graph_forward(net->graph, here, false);
        if (!code) code = bl_tensor_read(net->graph, bl_graph_out(net->graph), here, logits + (size_t)first * values);
    }
    return code;
}

int bl_network_logits(struct blanch_network *net, const struct bl_batch *batch, float *logits) {
    int code = bl_network_check_kind(net, BL_CLASSIFY);
    if (!code) code = check_batch(net, batch, net->options.batch, false);
    if (!code && net->options.inference) return bl_network_infer(net, batch->images, batch->count, logits);
    if (code || (code = upload(net, batch))) return code;
    struct blanch_tensor *labels = bl_graph_labels(net->graph); // the loss reads them: any class will do
    const size_t bytes = (size_t)batch->count * (size_t)bl_graph_pixels(net->graph) * sizeof(int32_t);
    if (labels && (code = bl_mem_fill(labels->mem, 0, bytes, 0))) return code;
    if ((code = bl_graph_forward(net->graph, batch->count, false))) return code;
    return bl_tensor_read(net->graph, bl_graph_out(net->graph), batch->count, logits);
}

static int32_t likeliest(const float *logits, int classes) {
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (logits[c] > logits[best]) best = c;
    return best;
}

/* A network made for inference has no loss: its logits are read. answers may be NULL. */
static int eval_logits(struct blanch_network *net, const struct bl_batch *batch, struct blanch_metrics *metrics,
                       struct bl_answers *answers) {
    int classes = net->options.classes;
    float *logits = bl_calloc((size_t)batch->count * bl_network_logit_count(net), sizeof *logits);
    if (!logits) return BLANCH_ENOMEM;
    int code = bl_network_infer(net, batch->images, batch->count, logits);
    if (bl_graph_pixels(net->graph) > 1) {
        if (!code) code = bl_pixels_evaluate(net, batch, logits, metrics, answers);
        free(logits);
        return code;
    }
    *metrics = (struct blanch_metrics){.count = batch->count};
    for (int i = 0; i < batch->count && !code; i++)
        add_image(metrics, logits + (size_t)i * classes, classes, batch->labels[i]);
    for (int i = 0; i < batch->count && !code && answers; i++)
        code = bl_answers_add(answers, batch->labels[i], likeliest(logits + (size_t)i * classes, classes));
    metrics->loss /= batch->count;
    free(logits);
    return code;
}

int bl_network_eval(struct blanch_network *net, const struct bl_batch *batch, struct blanch_metrics *metrics) {
    int code = check_batch(net, batch, net->options.batch, true);
    if (code || !bl_graph_has_loss(net->graph)) return code ? code : eval_logits(net, batch, metrics, NULL);
    if ((code = upload(net, batch)) || (code = bl_graph_forward(net->graph, batch->count, false))) return code;
    return bl_network_metrics(net, batch->count, metrics);
}

/* A loss is a mean over labelled pixels, of which a batch may have none, or over images. */
void bl_metrics_add(struct blanch_metrics *sum, const struct blanch_metrics *part) {
    const bool pixels = sum->pixels || part->pixels;
    const double before = pixels ? (double)sum->pixels : sum->count, more = pixels ? (double)part->pixels : part->count;
    if (before + more > 0) sum->loss = (sum->loss * before + part->loss * more) / (before + more);
    sum->count += part->count;
    sum->top1 += part->top1;
    sum->top5 += part->top5;
    sum->pixels += part->pixels;
    sum->right += part->right;
}

double bl_accuracy(const struct blanch_metrics *m) {
    if (m->pixels) return 100.0 * (double)m->right / (double)m->pixels;
    return m->count ? 100.0 * m->top1 / m->count : 0;
}

double bl_judged(const struct blanch_metrics *m) {
    return m->pixels ? m->mean_iou : bl_accuracy(m);
}

int bl_network_eval_answers(struct blanch_network *net, const struct bl_batch *batch, struct blanch_metrics *metrics,
                            struct bl_answers *answers) {
    if (!answers) return bl_network_eval(net, batch, metrics);
    if (bl_graph_labels(net->graph)) {
        int code = bl_network_eval(net, batch, metrics);
        return code ? code : bl_pixels_answered(net, batch, answers);
    }
    int code = check_batch(net, batch, net->options.batch, true);
    return code ? code : eval_logits(net, batch, metrics, answers);
}

int bl_network_test(struct blanch_network *net, struct bl_dataset *data, enum bl_split split,
                    const struct bl_view *view, struct blanch_metrics *metrics, double *seconds) {
    return bl_network_answer(net, data, split, view, metrics, seconds, NULL);
}

int bl_network_answer(struct blanch_network *net, struct bl_dataset *data, enum bl_split split,
                      const struct bl_view *view, struct blanch_metrics *metrics, double *seconds,
                      struct bl_answers *answers) {
    struct bl_loader_options options = {.split = split, .view = *view, .batch = net->options.batch, .epochs = 1};
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    struct bl_answers own = {0};
    double start = bl_now();
    const bool pixels = bl_graph_pixels(net->graph) > 1;
    *metrics = (struct blanch_metrics){0};
    if (pixels && !answers) answers = &own;
    int code = bl_network_check_task(net, data);
    if (!code) code = bl_loader_open(&loader, data, &options);
    while (!code && !(code = bl_loader_next(loader, &batch)) && batch.whole) {
        struct blanch_metrics part;
        if (!batch.count) continue;
        if ((code = bl_network_eval_answers(net, &batch, &part, answers))) break;
        bl_metrics_add(metrics, &part);
        code = bl_check_interrupted();
    }
    bl_loader_close(loader);
    if (!code && pixels) metrics->mean_iou = bl_answers_mean_iou(answers);
    bl_answers_free(&own);
    if (seconds) *seconds = bl_now() - start;
    return code;
}
