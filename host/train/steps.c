/* The steps of a run: what each is to do, and what is made of what came out of it. */
#include "train/ranks.h"
#include "io/files.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const double least_loss_scale = 0x1p-24; // of a run whose gradients can be finite at all
static const double longest_ahead = 1;          // seconds of a step beyond which none is begun before it has ended

void bl_run_tell(const struct run *run, enum bl_train_event event, const char *format, ...) {
    char text[2400];
    va_list arguments;
    if (!run->o.listener || !bl_run_writes(run)) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    run->o.listener(run->o.context, event, run->position.step, run->steps, text);
}

void bl_run_say_kept(const struct run *run, char *text, size_t size) {
    if (run->saved_step < 0)
        snprintf(text, size, "no checkpoint was written yet");
    else
        snprintf(text, size, "the last checkpoint, %s/last.safetensors, is of step %" PRId64, run->o.out,
                 run->saved_step);
}

/* What opening the data found all ranks say alike, and rank 0 tells; of its own images each rank speaks. */
void bl_run_tell_messages(const struct run *run) {
    const bool own = !bl_run_writes(run) && run->session.loader && run->o.listener;
    for (const char *message; (message = bl_dataset_message(run->data));) {
        bl_run_tell(run, BL_TRAIN_WARNING, "%s", message);
        if (own) run->o.listener(run->o.context, BL_TRAIN_WARNING, run->position.step, run->steps, message);
    }
}

int bl_run_images(const struct run *run) {
    return run->o.network.batch * (run->o.network.accumulate > 1 ? run->o.network.accumulate : 1);
}

struct bl_loader_options bl_run_loading(const struct run *run) {
    return (struct bl_loader_options){
        .split = BL_TRAIN,
        .view = run->view,
        .batch = bl_run_images(run),
        .part = run->part,
        .pass = run->o.network.batch,
        .training = true,
        .threads = run->o.workers,
        .least = run->least,
        .seed = run->o.network.seed,
        .epoch = (uint64_t)(run->position.step / run->batches),
        .first = (uint64_t)(run->position.step % run->batches),
    };
}

/* --- a step --------------------------------------------------------------------------------- */

/* The step's batch is asked for once more: the device may have the next one. */
static int find_nonfinite(struct run *run, const char **node, const char **what) {
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    const struct bl_loader_options loading = bl_run_loading(run);
    int code = bl_loader_open(&loader, run->data, &loading);
    if (!code) code = bl_loader_next(loader, &batch);
    if (!code && batch.count) code = bl_session_find_nonfinite(&run->session, &batch, node, what);
    bl_loader_close(loader);
    return code;
}

/* A rank whose images have a loss that is finite finds nothing, and tells of the other one. */
static int diverged(struct run *run, int culprit) {
    const char *node = NULL, *what = NULL;
    char where[200] = "", kept[300], who[300] = "";
    int code = find_nonfinite(run, &node, &what);
    if (code) return code;
    if (node) snprintf(where, sizeof where, ", first seen in %s (%s)", node, what);
    bl_run_say_kept(run, kept, sizeof kept);
    const struct bl_rank *r = run->ranks && culprit >= 0 ? bl_ranks_at(run->ranks, culprit) : NULL;
    if (r) snprintf(who, sizeof who, "rank %d (%s, %s): ", culprit, r->host, r->device);
    return bl_fail(BLANCH_EDIVERGED, "%sthe loss is not finite at step %" PRId64 "%s; %s; try a smaller --lr", who,
                   run->position.step + 1, where, kept);
}

/* Every record_every-th step of this process, and the last one of a shorter run. */
static bool is_recorded(const struct run *run, int64_t begun, int64_t made) {
    int64_t last = begun - made + 3 > run->steps ? run->steps - (begun - made) - 1 : 2;
    return made % run->o.record_every == last % run->o.record_every;
}

static void tell_checks(const struct run *run, const struct bl_stepped *stepped) {
    const struct bl_validation *v = &stepped->validation;
    bl_run_tell_messages(run);
    if (stepped->validated)
        bl_run_tell(run, BL_TRAIN_VALIDATED,
                    "step %" PRId64 ": %d layers agree with plain C, largest error %.1e in %s; %.1f s",
                    run->position.step + 1, v->layers, v->largest_error, v->largest_in, v->seconds);
}

/* A layer is warned of once. */
static int warn_of(struct run *run, const struct bl_diagnosis *d) {
    const size_t nodes = (size_t)bl_graph_nodes(run->net->graph);
    if (!run->warned && !(run->warned = bl_calloc(nodes + 1, sizeof *run->warned))) return BLANCH_ENOMEM;
    bool *warned = &run->warned[d->node->index];
    if (d->trouble && !*warned)
        bl_run_tell(run, BL_TRAIN_WARNING,
                    "step %" PRId64 ", %s: %s (%" PRId64 " features, %" PRId64 " samples, condition %.1e, eps %.1e "
                    "of the variance); try %s",
                    run->position.step + 1, d->node->name, d->trouble, d->features, d->samples, d->condition,
                    d->eps_share, d->remedy);
    *warned |= d->trouble != NULL;
    return 0;
}

/* Every layer's whitening on this batch, before the step on it. */
static int log_diagnoses(struct run *run, const struct bl_diagnosis *d, int count) {
    int code = 0;
    for (int i = 0; i < count && !code; i++) code = warn_of(run, &d[i]);
    if (code) return code;
    cJSON *line = bl_run_log_line("diagnose");
    cJSON_AddNumberToObject(line, "step", (double)(run->position.step + 1));
    cJSON_AddItemToObject(line, "layers", bl_diagnoses_json(d, count));
    code = bl_run_log(run, line);
    return code ? code : bl_run_tensorboard_diagnoses(run, d, count);
}

static int log_decision(struct run *run, struct bl_decision *decision) {
    if (!decision->line) return 0;
    cJSON *whole = bl_run_log_line("budget");
    cJSON_AddNumberToObject(whole, "step", (double)run->position.step);
    for (cJSON *item; (item = cJSON_DetachItemFromArray(decision->line, 0));)
        cJSON_AddItemToObject(whole, item->string, item);
    if (*decision->warning) bl_run_tell(run, BL_TRAIN_WARNING, "%s", decision->warning);
    int shown = bl_run_tensorboard_budget(run, whole), logged = bl_run_log(run, whole);
    return logged ? logged : shown;
}

/* took: seconds, without checks and what is done for a budget. */
static int book_step(struct run *run, const struct bl_stepped *stepped, double took) {
    struct bl_position *p = &run->position;
    const float lr = bl_schedule_lr(&run->schedule, p->step);
    int64_t epoch = p->step++ / run->batches + 1;
    run->took = took;
    bl_metrics_add(&p->train, &stepped->metrics);
    p->train_s += took + 1e-3 * stepped->budget_ms;
    double rate = stepped->images / took;
    run->rate = run->rate > 0 ? 0.9 * run->rate + 0.1 * rate : rate;
    char accuracy[40] = "";
    if (run->model->task == BL_CLASSIFY)
        snprintf(accuracy, sizeof accuracy, ", %s %.1f %%", run->iou ? "pixels" : "top-1", bl_accuracy(&p->train));
    bl_run_tell(run, BL_TRAIN_STEP, "epoch %" PRId64 ": loss %.3f%s, %.0f images/s", epoch, p->train.loss, accuracy,
                run->rate);
    int code = bl_run_log_step(run, epoch, stepped->metrics.loss, lr, rate);
    return code ? code : bl_run_tensorboard_step(run, &stepped->metrics, lr, rate);
}

/* A step whose gradients were too large for half precision, and has updated nothing. */
static int log_overflow(struct run *run, const struct bl_loss_scale *scale) {
    if (!((double)scale->scale >= least_loss_scale)) {
        char kept[300];
        bl_run_say_kept(run, kept, sizeof kept);
        return bl_fail(BLANCH_EDIVERGED,
                       "the gradients are not finite at step %" PRId64 ", with a loss scale of %g too; %s; try a "
                       "smaller --lr, or --precision bf16",
                       run->position.step, (double)scale->scale, kept);
    }
    bl_run_tell(run, BL_TRAIN_STARTED,
                "step %" PRId64 ": gradients beyond fp16, its update is skipped; the loss scale is %g from now on",
                run->position.step, (double)scale->scale);
    cJSON *line = bl_run_log_line("overflow");
    cJSON_AddNumberToObject(line, "step", (double)run->position.step);
    cJSON_AddItemToObject(line, "loss_scale", bl_json_float(scale->scale));
    return bl_json_line(run->log, line, run->log_path);
}

/* Of the step after the last one that was told of. */
static int take_step(struct run *run, const struct bl_stepped *stepped, double took) {
    if (!stepped->finite) return diverged(run, stepped->culprit);
    int code = book_step(run, stepped, took);
    return code || !stepped->loss_scale.overflow ? code : log_overflow(run, &stepped->loss_scale);
}

int64_t bl_run_begun(const struct run *run) {
    return run->position.step + run->session.ahead;
}
bool bl_run_ends_epoch(const struct run *run, int64_t step) {
    return step >= run->steps || step >= (run->position.epoch + 1) * run->batches;
}

int bl_run_settle(struct run *run, int most) {
    struct bl_stepped stepped;
    int code = 0;
    while (!code && run->session.ahead > most) {
        code = bl_session_settle(&run->session, &stepped);
        run->within = code;
        if (!code) code = take_step(run, &stepped, 1e-3 * stepped.wall_ms);
    }
    return code;
}

/* What a device has to do at once is bounded: where a step takes long, the next one waits for it. */
static bool runs_ahead(const struct run *run, const struct bl_step *wanted) {
    return run->took > 0 && run->took < longest_ahead && bl_session_may_run_ahead(&run->session, wanted);
}

int bl_run_step(struct run *run, int64_t made) {
    struct blanch_update update = run->o.update;
    const int64_t begun = bl_run_begun(run);
    update.lr = bl_schedule_lr(&run->schedule, begun);
    struct bl_step wanted = {
        .number = begun + 1,
        .update = &update,
        .record = is_recorded(run, begun, made),
        .validate = run->o.validate && made % run->o.validate == 0,
        .diagnose = run->o.diagnose && made % run->o.record_every == 0,
    };
    wanted.ahead = runs_ahead(run, &wanted);
    int code = wanted.ahead ? 0 : bl_run_settle(run, 0);
    if (code) return code;
    struct bl_stepped stepped;
    double start = bl_now();
    code = bl_session_step(&run->session, &wanted, &stepped);
    double took = bl_now() - start - 1e-3 * (stepped.checks_ms + stepped.budget_ms);
    const int settled = bl_run_settle(run, code ? 0 : 1); // of those before it
    if (settled) code = settled;
    tell_checks(run, &stepped);
    if (!settled) run->within = code && stepped.begun;
    const bool stopped = code == BLANCH_EINTERRUPTED; // within a validation: the loop ends in its own way
    if (!code && wanted.diagnose) code = log_diagnoses(run, stepped.diagnoses, stepped.diagnosed);
    if (!code && !wanted.ahead) code = take_step(run, &stepped, took);
    if (!code) code = bl_run_review_shares(run, &stepped);
    if (!code) code = log_decision(run, &stepped.decision);
    bl_stepped_release(&stepped);
    return stopped ? 0 : code;
}
