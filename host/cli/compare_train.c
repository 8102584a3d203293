/* A comparison's steps, epochs and forward passes, in turn. */
#include "compare.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int warm_up = 3;                               // steps of each network, neither timed nor recorded
static const double inference_s = 3;                        // for all networks together, at least
static const int inference_least = 5, inference_most = 100; // rounds

/* --- samples -------------------------------------------------------------------------------- */

int bl_samples_add(struct bl_samples *samples, double value) {
    void *data = samples->value;
    int code = bl_grow(&data, &samples->capacity, samples->count + 1, sizeof *samples->value);
    if (code) return code;
    samples->value = data;
    samples->value[samples->count++] = value;
    return 0;
}

double bl_samples_quantile(const struct bl_samples *samples, double part) {
    double *sorted = samples->count ? bl_calloc(samples->count, sizeof *sorted) : NULL;
    if (!sorted) return NAN;
    memcpy(sorted, samples->value, samples->count * sizeof *sorted);
    double value = bl_quantile(sorted, (int)samples->count, part);
    free(sorted);
    return value;
}

/* --- training ------------------------------------------------------------------------------- */

/* Only a whole batch says what a step costs: where there are fewer images than it takes, all of them. */
static bool timed_step(const struct bl_compare *c, const struct bl_compare_run *run, int64_t step) {
    int64_t batches = bl_loader_batches(run->session.loader);
    bool last = step % batches == batches - 1;
    bool partial = last && batches * c->whole > bl_dataset_count(c->data, BL_TRAIN);
    return !partial && step >= (c->steps >= 3 * warm_up ? warm_up : c->steps / 3);
}

static int log_step(struct bl_compare *c, const struct bl_compare_run *run, const struct bl_stepped *stepped, float lr,
                    double ms) {
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "type", "step");
    cJSON_AddStringToObject(line, "device", run->device);
    cJSON_AddStringToObject(line, "norm", bl_norm_name(run->setting->norm));
    if (*run->setting->label) cJSON_AddStringToObject(line, "setting", run->setting->label);
    cJSON_AddNumberToObject(line, "step", (double)c->done + 1);
    cJSON_AddNumberToObject(line, "epoch", (double)stepped->batch.epoch + 1);
    cJSON_AddItemToObject(line, "loss", bl_json_number(stepped->metrics.loss, 6));
    cJSON_AddItemToObject(line, "lr", bl_json_number((double)lr, 6));
    cJSON_AddItemToObject(line, "images_per_s", bl_json_number(1e3 * stepped->images / ms, 6));
    return bl_json_line(c->log, line, c->log_path);
}

static int log_line(struct bl_compare *c, const struct bl_compare_run *run, const char *type, cJSON *line) {
    cJSON_AddStringToObject(line, "type", type);
    cJSON_AddStringToObject(line, "device", run->device);
    cJSON_AddStringToObject(line, "norm", bl_norm_name(run->setting->norm));
    if (*run->setting->label) cJSON_AddStringToObject(line, "setting", run->setting->label);
    return bl_json_line(c->log, line, c->log_path);
}

/* What --block auto measured and chose. */
static int log_blocks(struct bl_compare *c) {
    int code = 0;
    for (int r = 0; r < c->runs && !code; r++) {
        cJSON *line = c->run[r].blocks.line;
        c->run[r].blocks.line = NULL;
        if (line) cJSON_AddNumberToObject(line, "step", 0);
        if (line) code = log_line(c, &c->run[r], "blocks", line);
    }
    return code;
}

/* On the test images, or on those for validation where there are no others, or where they were asked for: a rate of
 * --sweep-lr is then not chosen by the test images. */
static int end_epoch(struct bl_compare *c, struct bl_compare_run *run, uint64_t epoch) {
    const bool val = bl_dataset_count(c->data, BL_VAL), asked = c->common.data.val_split || c->common.data.split_file;
    const bool tests = bl_dataset_count(c->data, BL_TEST) && !(val && asked), held = tests || val;
    struct blanch_metrics m = {0}, train = run->epoch;
    double seconds = 0;
    int code = held ? bl_network_test(run->net, c->data, tests ? BL_TEST : BL_VAL, &c->view, &m, &seconds) : 0;
    struct bl_epoch_result *result = code ? NULL : bl_result_add_epoch(&run->result);
    if (!result) return code ? code : BLANCH_ENOMEM;
    result->epoch = (double)epoch + 1;
    result->train_loss = train.loss;
    result->train_top1 = bl_accuracy(&train);
    result->train_top5 = bl_percent_of(train.top5, train.count);
    result->train_s = run->epoch_s;
    if (held) {
        *(tests ? &result->test_loss : &result->val_loss) = m.loss;
        *(tests ? &result->test_top1 : &result->val_top1) = bl_judged(&m);
        *(tests ? &result->test_top5 : &result->val_top5) = bl_percent_of(m.top5, m.count);
        *(tests ? &result->test_s : &result->val_s) = seconds;
    }
    run->epoch = (struct blanch_metrics){0};
    run->epoch_s = 0;
    return log_line(c, run, "epoch", bl_epoch_json(result));
}

static int log_decision(struct bl_compare *c, struct bl_compare_run *run, struct bl_decision *decision) {
    cJSON *line = decision->line;
    if (*decision->warning) bl_progress_line(c->progress, "blanch: %s", decision->warning);
    if (!line) return 0;
    decision->line = NULL;
    cJSON_AddNumberToObject(line, "step", (double)c->done + 1);
    struct bl_decision_result *result = bl_result_add_decision(&run->result.budget);
    int code = result ? bl_decision_read(line, result) : BLANCH_ENOMEM;
    int logged = log_line(c, run, "budget", line);
    return code ? code : logged;
}

/* counts: a step whose time says something. What a budget takes for itself is its network's time too. */
static int book_step(struct bl_compare *c, struct bl_compare_run *run, const struct bl_step *wanted,
                     const struct bl_stepped *stepped) {
    const bool counts = timed_step(c, run, c->done);
    const double ms = stepped->wall_ms + stepped->budget_ms;
    int code = 0;
    if (counts) run->last_ms = stepped->wall_ms - stepped->load_ms;
    if (counts) code = bl_samples_add(&run->wall[wanted->record], stepped->wall_ms);
    if (counts && !code) code = bl_samples_add(&run->all, ms);
    if (c->done < BL_BUDGET_WARMUP) run->warmup = run->all.count;
    if (c->done) run->total_s += 1e-3 * ms; // the first step builds kernels, or finds them in the cache
    run->epoch_s += 1e-3 * ms;
    if (!code) code = bl_samples_add(&run->loss, stepped->metrics.loss);
    if (!code) code = bl_samples_add(&run->seconds, run->total_s);
    bl_metrics_add(&run->epoch, &stepped->metrics);
    run->steps++;
    return code ? code : log_step(c, run, stepped, wanted->update->lr, ms);
}

/* Where others of its norm go on, on the same device, the comparison does: a sweep finds out which rates are too high.
 */
static int leave(struct bl_compare *c, struct bl_compare_run *run) {
    bool others = false;
    for (int r = 0; r < c->runs; r++)
        others |= &c->run[r] != run && c->run[r].dev == run->dev && c->run[r].setting->norm == run->setting->norm &&
                  !c->run[r].diverged;
    if (!others)
        return bl_fail(BLANCH_EDIVERGED,
                       "%s: the loss of step %lld is not finite, and the comparison ends without "
                       "results; try a smaller --lr",
                       bl_compare_name(run->setting), (long long)c->done + 1);
    run->diverged = true;
    bl_progress_line(c->progress, "%s: the loss of step %lld is not finite; the others go on",
                     bl_compare_name(run->setting), (long long)c->done + 1);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, "step", (double)c->done + 1);
    return log_line(c, run, "diverged", line);
}

static int step_run(struct bl_compare *c, struct bl_compare_run *run, bool record) {
    struct blanch_update update = run->setting->update;
    struct bl_stepped stepped;
    update.lr = bl_schedule_lr(&run->setting->schedule, c->done);
    const struct bl_step wanted = {
        .number = c->done + 1, .update = &update, .record = record && timed_step(c, run, c->done), .finish = true};
    int code = bl_session_step(&run->session, &wanted, &stepped);
    if (!code && !stepped.finite)
        code = leave(c, run);
    else if (!code && !(code = book_step(c, run, &wanted, &stepped)) &&
             !(code = log_decision(c, run, &stepped.decision)) && c->epochs && stepped.batch.last)
        code = end_epoch(c, run, stepped.batch.epoch);
    bl_stepped_release(&stepped);
    return code;
}

static void show(const struct bl_compare *c) {
    char text[160] = "";
    for (int i = 0; i < c->runs; i++) {
        const struct bl_compare_run *run = &c->run[i];
        size_t used = strlen(text);
        if (run->diverged) continue;
        snprintf(text + used, sizeof text - used, "%s%s loss %.3f", used ? ", " : "", bl_norm_name(run->setting->norm),
                 run->loss.value[run->loss.count - 1]);
    }
    bl_progress_step(c->progress, c->done, "%s", text);
}

/* Who goes first rotates, and whether the step is recorded changes once all had their turn at being first. */
int bl_compare_train(struct bl_compare *c) {
    int code = log_blocks(c);
    c->progress = bl_progress_start("compare", c->steps);
    while (!code && c->done < c->steps && !blanch_stop_requested()) {
        bool record = (c->done / c->runs) % 2 == 0;
        for (int i = 0; i < c->runs && !code; i++) {
            struct bl_compare_run *run = &c->run[(c->done + i) % c->runs];
            if (!run->diverged) code = step_run(c, run, record);
        }
        if (code) break;
        c->done++;
        show(c);
    }
    bl_progress_end(c->progress);
    return code;
}

/* --- inference ------------------------------------------------------------------------------ */

/* A network for which training leaves no memory has no time of inference. */
static int open_inference(struct bl_compare_run *run, const struct bl_batch *batch) {
    struct blanch_metrics metrics;
    if (run->diverged) return 0;
    int code = bl_network_inference_of(&run->infers, run->net, false);
    if (code == BLANCH_ELIMIT) return 0;
    for (int i = 0; i < 2 && !code; i++) code = bl_network_eval(run->infers, batch, &metrics); // weights are folded
    return code;
}

static int infer_once(struct bl_compare_run *run, const struct bl_batch *batch) {
    struct blanch_metrics metrics;
    if (!run->infers) return 0;
    double start = bl_now();
    int code = bl_network_eval(run->infers, batch, &metrics);
    return code ? code : bl_samples_add(&run->inference, 1e3 * (bl_now() - start));
}

/* The batch is one of training: never short of a damaged image. */
int bl_compare_time_inference(struct bl_compare *c) {
    struct bl_loader_options options = {
        .split = BL_TRAIN, .view = c->view, .batch = c->common.batch, .training = true, .epochs = 1};
    options.view.mixup = options.view.cutmix = 0; // in evaluation an image has one label
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    int code = bl_loader_open(&loader, c->data, &options);
    if (!code) code = bl_loader_next(loader, &batch);
    for (int r = 0; r < c->runs && !code; r++) code = open_inference(&c->run[r], &batch);
    double end = bl_now() + inference_s;
    for (int i = 0; i < inference_most && !code && !blanch_stop_requested() && (i < inference_least || bl_now() < end);
         i++)
        for (int r = 0; r < c->runs && !code; r++) code = infer_once(&c->run[(i + r) % c->runs], &batch);
    for (int r = 0; r < c->runs; r++) blanch_network_free(c->run[r].infers), c->run[r].infers = NULL;
    bl_loader_close(loader);
    return code;
}
