/* The training run: setting up, steps, epochs, checkpoints, and how it ends. */
#include "train/about.h"
#include "train/open.h"
#include "train/ranks.h"
#include "train/run.h"
#include "train/tune.h"
#include "io/files.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double checkpoint_seconds = 600; // at least this often, however long an epoch is

/* --- setting up ----------------------------------------------------------------------------- */

/* What config.json records must open this device again, also where the environment chose it. */
static int open_device(struct run *run) {
    const char *chosen = getenv("BLANCH_DEVICE");
    int code = bl_run_choose_device(run);
    if (!code) code = blanch_device_open(&run->dev, run->o.device, run->o.max_alloc);
    if (!code) code = bl_run_introduce(run);
    if (code || run->o.device) return code;
    const struct blanch_device_info *info = blanch_device_info(run->dev);
    if (chosen && *chosen)
        snprintf(run->spec, sizeof run->spec, "%s", chosen);
    else
        snprintf(run->spec, sizeof run->spec, "%d:%d", info->platform, info->device);
    run->o.device = run->spec;
    return 0;
}

static int open_data(struct run *run) {
    struct bl_network_options *n = &run->o.network;
    const struct bl_run_division division = {n->seed, run->o.val_split, run->o.split_file};
    int code = bl_model_size(run->model, run->o.size, &n->height, &n->width);
    if (!code) code = bl_run_data_open(&run->data, &run->config, run->o.data, &division);
    if (!code && run->o.cache) code = bl_dataset_cache(run->data, run->o.cache);
    if (!code) code = bl_dataset_trainable(run->data);
    if (!code && run->config.json) code = bl_run_data_resume(&run->config, run->data, &run->data_changes);
    if (code || (code = bl_dataset_check(run->data))) return code;
    n->classes = bl_dataset_classes(run->data);
    n->channels = bl_dataset_channels(run->data);
    if (run->config.json)
        run->view = run->config.view;
    else if ((code = bl_run_choose_view(run)))
        return code;
    if ((code = bl_run_weigh_classes(run))) return code;
    if (!run->o.augment) run->o.augment = bl_augment_name(run->view.augment);
    run->view.mixup = run->o.mixup, run->view.cutmix = run->o.cutmix;
    run->view.erase = run->o.random_erase;
    n->loss.pairs = run->o.mixup > 0 || run->o.cutmix > 0;
    code = bl_augment_parse(run->o.augment, &run->view.augment);
    if (!code) code = bl_policy_parse(run->o.auto_augment, &run->view.policy);
    if (!code) code = bl_view_check(&run->view);
    return code ? code : bl_dataset_check_view(run->data, &run->view);
}

static bool measures_engines(const struct run *run) {
    return run->o.tune && !run->o.resume;
}
static bool measures_blocks(const struct run *run) {
    return run->o.network.nd.block == BL_BLOCK_AUTO && !run->config.layers;
}

static int choose_blocks(struct run *run) {
    const struct bl_blocks_options options = {run->dev, run->data, &run->view, &run->o.network, run->budget};
    bl_run_tell(run, BL_TRAIN_DATA, "--block auto: steps with one block for all layers are measured");
    int code = bl_blocks_choose(&run->blocks, &options);
    if (code) return code;
    bl_blocks_apply(&run->blocks, &run->o.network.nd);
    run->exact = run->blocks.exact;
    return 0;
}

/* Of the record, of the weights that the run starts from, or chosen. Where every step may be exact nothing is left to
 * schedule. */
static int find_blocks(struct run *run) {
    struct blanch_nd_options *nd = &run->o.network.nd;
    int code = 0;
    run->exact = run->config.exact;
    if (!nd->layers && run->o.init && bl_model_norm(run->model, run->o.network.norm) == BLANCH_ND)
        code = bl_blocks_of_weights(run->o.init, nd, &run->blocks.layer);
    if (!code && !nd->layers && measures_blocks(run)) code = choose_blocks(run);
    if (run->exact) run->budget = -1;
    return code;
}

static int open_session(struct run *run) {
    const struct bl_session_options options = {.division = run->part,
                                               .pass = run->o.network.batch,
                                               .ledger = true,
                                               .ahead = true,
                                               .budget = run->budget,
                                               .budget_state = run->position.budget};
    const struct bl_loader_options loading = bl_run_loading(run);
    int code = bl_session_open(&run->session, run->net, &options);
    return code ? code : bl_session_load(&run->session, run->data, &loading);
}

/* What a layer cannot take is known from the network, before the first step. */
static int count_steps(struct run *run) {
    const uint32_t images = bl_dataset_count(run->data, BL_TRAIN);
    const int batch = bl_run_images(run);
    run->least = run->o.drop_last ? batch : bl_network_least_batch(run->net);
    run->batches = bl_epoch_batches(images, batch, run->least);
    if (!run->batches)
        return bl_fail(BLANCH_EUSAGE, "%s holds %u training images, and a batch takes %d%s: none is left", run->o.data,
                       images, run->least, run->o.drop_last ? " with --drop-last" : " or more");
    run->steps = run->o.steps ? run->o.steps : run->o.epochs * run->batches;
    run->schedule.steps = run->steps;
    run->schedule.epoch_steps = run->batches;
    return bl_schedule_check(&run->schedule);
}

/* Measuring takes a while and speaks: what the data are, the first line, comes before. Else it waits for all that can
 * fail, as an error is one line. */
static bool speaks_early(const struct run *run) {
    return measures_engines(run) || measures_blocks(run);
}

/* A resumed run takes the engines of its record, whatever the cache says by now. */
static int open_engines(struct run *run) {
    const cJSON *engines = run->o.resume ? cJSON_GetObjectItem(run->config.json, "engines") : NULL;
    if (engines) return bl_tuner_replay(run->dev, engines);
    return measures_engines(run) ? bl_tuner_open(run->dev, run->o.tune) : 0;
}

/* From the checkpoint, from other weights, or as the seed makes them. */
static int start_weights(struct run *run) {
    run->position.best_top1 = bl_run_classifies(run) ? -1 : -DBL_MAX;
    run->saved_step = -1;
    if (!run->o.resume) return run->o.init ? bl_weights_begin(run->net->graph, run->o.init, run->o.new_head) : 0;
    int code = bl_checkpoint_load(run->net->graph, run->o.out, &run->position);
    if (!code) run->saved_step = run->position.step;
    return code;
}

static void tell_data(const struct run *run) {
    static const char *const judges[] = {"the training images choose best.safetensors, as there are no others",
                                         "validation chooses best.safetensors",
                                         "the test images choose best.safetensors, as none are for validation"};
    const enum bl_split judge = bl_dataset_judge(run->data);
    const bool unread = bl_dataset_unread(run->data, 0, &(uint32_t){0});
    char *found = bl_dataset_describe(run->data);
    bl_run_tell(run, unread ? BL_TRAIN_NOTICE : BL_TRAIN_DATA, "%s: %s; %s%s", run->o.data, found ? found : "",
                judges[judge],
                judge == BL_VAL && bl_dataset_count(run->data, BL_TEST) ? ", test waits for the end" : "");
    free(found);
    if (run->data_changes && *run->data_changes)
        bl_run_tell(run, BL_TRAIN_WARNING, "%s has %s", run->o.data, run->data_changes);
    bl_run_tell_messages(run);
}

/* What the network labels; of pixels, IoU is kept by class. */
static int take_task(struct run *run) {
    const bool pixels = bl_graph_pixels(run->net->graph) > 1;
    const bool generates = run->model->task == BL_GENERATE;
    const char *own = generates ? "generate" : pixels ? "segment" : "classify";
    if (run->o.task && strcmp(run->o.task, own) != 0)
        return bl_fail(BLANCH_EUSAGE, "--task %s: %s is there to %s", run->o.task, run->net->model->name, own);
    if (pixels && !(run->iou = bl_calloc((size_t)run->net->options.classes, sizeof *run->iou))) return BLANCH_ENOMEM;
    return 0;
}

static int set_up(struct run *run, const struct bl_train_options *options) {
    struct bl_train_options own = *options;
    const struct bl_train_options *given = &own;
    run->ranks = options->ranks;
    int code = options->config ? bl_config_take(&own, &run->asked) : 0;
    if (code || (code = bl_run_meet(run, given, bl_run_enter(run, given))) || (code = bl_run_resolve(run, given)) ||
        (code = run->o.tensorboard ? bl_tensorboard_check() : 0) || (code = open_data(run)) ||
        (code = bl_run_check_former(run)) || (code = open_device(run)))
        return code;
    if (speaks_early(run)) tell_data(run);
    if ((code = bl_run_choose_passes(run)) || (code = open_engines(run)) || (code = find_blocks(run))) return code;
    struct bl_network_options network = run->o.network;
    if ((code = bl_run_share(run)) || run->left_out) return code;
    if ((code = bl_run_divide(run, &network.batch))) return code;
    if (run->budget >= 0) network.nd.refresh = BL_REFRESH_SCHEDULED;
    if ((code = bl_network_create(&run->net, run->dev, &network)) || (code = bl_run_join(run)) ||
        (code = bl_about_images(run->net, &run->view, run->data)) || (code = bl_about_set(run->net)) ||
        (code = bl_network_check_task(run->net, run->data)) || (code = take_task(run)) || (code = count_steps(run)) ||
        (code = start_weights(run)) || (code = open_session(run)) || (code = bl_run_wait_for_all(run)) ||
        (code = bl_run_open_directory(run)))
        return code;
    return run->o.tensorboard && bl_run_writes(run) ? bl_tensorboard_open(&run->tensorboard, run->o.tensorboard) : 0;
}

static int tear_down(struct run *run, int code) {
    const bool left = bl_staged_close(run->staged);
    if (run->log && fclose(run->log) != 0 && !code)
        code = bl_fail(BLANCH_EIO, "%s could not be written", run->log_path);
    bl_run_leave_directory(run, code);
    int closed = bl_tensorboard_close(run->tensorboard);
    if (!code) code = closed;
    if (left) return code; // the process ends
    bl_session_close(&run->session);
    blanch_network_free(run->net);
    blanch_network_free(run->averaged);
    bl_dataset_close(run->data);
    blanch_device_close(run->dev);
    bl_run_release(&run->config);
    cJSON_Delete(run->asked);
    bl_run_release(&run->former);
    bl_model_free(run->model);
    bl_blocks_free(&run->blocks);
    free(run->log_path);
    free(run->warned);
    free(run->class_weight);
    free(run->iou);
    free(run->share);
    free(run->data_changes);
    free(run->position.budget);
    return code;
}

/* --- files ---------------------------------------------------------------------------------- */

static int save_checkpoint(struct run *run) {
    char kept[300];
    free(run->position.budget);
    const struct bl_overhead *overhead = run->session.overhead;
    run->position.budget = overhead ? bl_overhead_save(overhead) : NULL;
    if (overhead && !run->position.budget) return BLANCH_ENOMEM;
    int code = !bl_run_writes(run) ? 0
               : run->saved_step == run->position.step
                   ? bl_checkpoint_save_position(run->net->graph, run->o.out, &run->position)
                   : bl_checkpoint_save(run->net->graph, run->o.out, &run->position);
    run->saved = bl_now();
    if (!code) run->saved_step = run->position.step;
    if (code != BLANCH_EDIVERGED) return code;
    bl_run_say_kept(run, kept, sizeof kept);
    return bl_fail(code, "after step %" PRId64 ", %s; %s; try a smaller --lr", run->position.step,
                   blanch_error_message(), kept);
}

static int save_best(struct run *run) {
    if (!bl_run_writes(run)) return 0;
    char *path = bl_format("%s/best.safetensors", run->o.out);
    int code = path ? bl_weights_save(run->net->graph, path, run->position.step) : BLANCH_ENOMEM;
    free(path);
    return code;
}

static int save_ledger(struct run *run) {
    cJSON *ranks = NULL;
    if (!bl_ledger_steps(run->session.ledger)) return 0;
    int code = bl_run_rank_times(run, &ranks);
    if (code || !bl_run_writes(run)) return cJSON_Delete(ranks), code;
    char *ledger = bl_format("%s/ledger.json", run->o.out), *trace = bl_format("%s/trace.json", run->o.out);
    cJSON *json = NULL;
    const bool last = run->position.step >= run->steps;
    code = ledger && trace ? bl_ledger_json(run->session.ledger, last, bl_run_settings(run), &json) : BLANCH_ENOMEM;
    if (!code) cJSON_AddItemToObject(json, "loader", bl_loader_json(run->session.loader));
    if (!code && ranks) cJSON_AddItemToObject(json, "ranks", ranks), ranks = NULL;
    if (!code) code = bl_json_write(ledger, json);
    if (!code) code = bl_ledger_trace(run->session.ledger, trace, bl_run_settings(run));
    cJSON_Delete(json);
    cJSON_Delete(ranks);
    free(ledger);
    free(trace);
    return code;
}

/* --- an epoch ------------------------------------------------------------------------------- */

static bool is_over(const struct run *run) {
    const struct bl_position *p = &run->position;
    return p->step >= run->steps || (run->o.early_stop && p->stale >= run->o.early_stop);
}

static int keep_best(struct run *run, double judged, bool *better) {
    *better = judged > run->position.best_top1;
    if (!*better) return 0;
    run->position.best_top1 = judged;
    return save_best(run);
}

/* Of the averages, which are saved too. */
static int judge_averages(struct run *run, struct blanch_metrics *held, double *seconds) {
    const enum bl_split judge = bl_dataset_judge(run->data);
    char *path = bl_format("%s/ema.safetensors", run->o.out);
    int code = !path           ? BLANCH_ENOMEM
               : run->averaged ? bl_network_copy(run->averaged, run->net, true)
                               : bl_network_inference_of(&run->averaged, run->net, true);
    if (!code && judge != BL_TRAIN && bl_run_classifies(run))
        code = bl_run_test(run, run->averaged, judge, held, seconds);
    if (!code) code = bl_about_set(run->averaged);
    if (!code && bl_run_writes(run)) code = bl_weights_save(run->averaged->graph, path, run->position.step);
    free(path);
    return code;
}

/* What ends a run is looked at; before, training may mend it. */
static int check_evaluated(const struct run *run, const char *split, const struct blanch_metrics *of) {
    char kept[300];
    if (!is_over(run) || !of->count || isfinite(of->loss)) return 0;
    bl_run_say_kept(run, kept, sizeof kept);
    return bl_fail(BLANCH_EDIVERGED,
                   "the %s loss at the end is not finite, though training was; %s; try a smaller --lr", split, kept);
}

/* What chooses the best weights. */
static const char *measure_of(const struct run *run) {
    return run->iou ? "mean IoU" : "top-1";
}

/* By which weights are better: per cent, or less the loss of a network that generates. */
static double score_of(const struct run *run, const struct blanch_metrics *held) {
    const struct blanch_metrics *of = held->count ? held : &run->position.train;
    if (run->model->task == BL_GENERATE) return -of->loss;
    return held->count ? bl_judged(held) : bl_accuracy(of);
}

static const char *say(const struct run *run, const struct blanch_metrics *m, char text[120]) {
    if (run->model->task == BL_GENERATE)
        snprintf(text, 120, "loss %.4f", m->loss);
    else if (run->iou)
        snprintf(text, 120, "loss %.4f, mean IoU %.2f %%, pixels %.2f %%", m->loss, m->mean_iou, bl_accuracy(m));
    else
        snprintf(text, 120, "loss %.4f, top-1 %.2f %%, top-5 %.2f %%", m->loss, bl_accuracy(m),
                 bl_per_cent(m->top5, m->count));
    return text;
}

static void tell_epoch(const struct run *run, const struct blanch_metrics *held, const struct blanch_metrics *ema,
                       double seconds) {
    const struct blanch_metrics *train = &run->position.train;
    const char *split = bl_split_name(bl_dataset_judge(run->data) == BL_VAL ? BL_VAL : BL_TEST);
    char averages[60] = "", judged[120], accuracy[60] = "";
    if (ema->count) snprintf(averages, sizeof averages, "; ema %s %.2f %%", measure_of(run), bl_judged(ema));
    if (run->model->task == BL_CLASSIFY)
        snprintf(accuracy, sizeof accuracy, ", %s %.2f %%", run->iou ? "pixels" : "top-1", bl_accuracy(train));
    bl_run_tell(run, BL_TRAIN_EPOCH, "epoch %" PRId64 ": train loss %.4f%s; %s %s%s; %.1f s", run->position.epoch + 1,
                train->loss, accuracy, split, say(run, held, judged), averages, seconds);
}

/* At the end of an epoch, or of the run within one: then the epoch stays open, and a longer run continues it. Whoever
 * reads the epoch's line finds all files of it; the position, which says that it is done, comes last. */
static int finish_epoch(struct run *run) {
    struct bl_position *p = &run->position;
    const enum bl_split judge = bl_dataset_judge(run->data);
    struct blanch_metrics held = {0}, ema = {0}; // of images that are not trained on
    double seconds = 0, more = 0;
    bool better = false;
    if (run->iou && !p->train.pixels)
        return bl_fail(BLANCH_EINPUT, "%s: no pixel of the training images' masks is of a class; 255 is none",
                       run->o.data);
    int code = run->ranks ? bl_graph_spread_buffers(run->net->graph) : 0;
    if (!code && judge != BL_TRAIN) code = bl_run_test(run, run->net, judge, &held, &seconds);
    if (!code && run->o.network.ema > 0) code = judge_averages(run, &ema, &more);
    bl_run_tell_messages(run);
    if (code || (code = keep_best(run, score_of(run, &held), &better)) || (code = save_ledger(run)) ||
        (code = bl_run_log_epoch(run, &held, &ema, seconds)) || (code = bl_run_tensorboard_epoch(run, &held, seconds)))
        return code;
    tell_epoch(run, &held, &ema, p->train_s + seconds + more);
    if (p->step >= (p->epoch + 1) * run->batches) {
        p->epoch++;
        p->train = (struct blanch_metrics){0};
        p->train_s = 0;
        p->stale = better ? 0 : p->stale + 1;
        code = bl_run_keep_epoch(run, p->epoch);
    }
    if (!code) code = save_checkpoint(run);
    if (!code) code = check_evaluated(run, bl_split_name(judge), &held);
    return code ? code : check_evaluated(run, "averages'", &ema);
}

static int interrupted(struct run *run) {
    int code = save_checkpoint(run);
    if (code || (code = save_ledger(run))) return code;
    return bl_fail(BLANCH_EINTERRUPTED, "interrupted at step %" PRId64 "; `blanch train --resume --out %s` continues",
                   run->position.step, run->o.out);
}

/* The evaluation can fail, or be killed: what was trained until then is kept before. */
static int end_epoch(struct run *run) {
    int code = run->saved_step == run->position.step ? 0 : save_checkpoint(run);
    return code ? code : finish_epoch(run);
}

static int loop(struct run *run) {
    struct bl_position *p = &run->position;
    int64_t made = 0;
    int code = 0;
    run->saved = bl_now();
    while (!code) {
        bool stops = blanch_stop_requested();
        if ((code = bl_run_agree_to_stop(run, &stops))) break;
        if ((stops || bl_run_ends_epoch(run, bl_run_begun(run))) && (code = bl_run_settle(run, 0))) break;
        const bool over = is_over(run);
        if (stops) return interrupted(run);
        if (p->train.count && (over || bl_run_ends_epoch(run, p->step))) {
            code = end_epoch(run);
            if (code == BLANCH_EINTERRUPTED) return interrupted(run);
        } else if (!over) {
            code = bl_run_step(run, made++);
            if (!code && bl_now() - run->saved > checkpoint_seconds && !(code = bl_run_settle(run, 0)))
                code = save_checkpoint(run);
        }
        if (over) break;
    }
    return code;
}

/* --- the whole ------------------------------------------------------------------------------ */

/* Where validation images chose the weights, the test images have waited: they tell of the chosen ones. Nothing is
 * saved after this. */
static int test_at_end(struct run *run) {
    const enum bl_split judge = bl_dataset_judge(run->data);
    struct blanch_metrics test;
    double seconds = 0;
    if (judge != BL_VAL || !bl_dataset_count(run->data, BL_TEST)) return 0;
    int code = bl_run_wait_for_all(run); // the best are written
    if (code) return code;
    char *best = bl_format("%s/best.safetensors", run->o.out);
    const bool chosen = best && bl_path_exists(best);
    code = !best ? BLANCH_ENOMEM : chosen ? bl_weights_load(run->net->graph, best) : 0;
    free(best);
    if (!code) code = bl_run_test(run, run->net, BL_TEST, &test, &seconds);
    bl_run_tell_messages(run);
    if (code == BLANCH_EINTERRUPTED)
        return bl_fail(code, "interrupted in the test at the end; `blanch train --resume --out %s` repeats it",
                       run->o.out);
    if (!code) code = bl_run_log_test(run, chosen ? "best" : "last", &test, seconds);
    if (!code) code = bl_run_tensorboard_test(run, &test);
    char told[120];
    if (!code)
        bl_run_tell(run, BL_TRAIN_EPOCH, "test, with the %s weights: %s; %.1f s", chosen ? "best" : "last",
                    say(run, &test, told), seconds);
    return code ? code : check_evaluated(run, bl_split_name(BL_TEST), &test);
}

/* Whatever ends a run, the steps that it has made are kept, if the device still gives what it holds. The message stays
 * that of the error, and says what is kept. */
static int keep_steps(struct run *run, int code) {
    char kept[300] = "", *message = bl_strdup(blanch_error_message());
    if (!message || !bl_run_writes(run)) return free(message), code;
    while (run->session.ahead) bl_run_settle(run, 0); // steps that the weights have in them are counted
    if (run->saved_step != run->position.step && save_checkpoint(run))
        bl_run_say_kept(run, kept, sizeof kept);
    else
        snprintf(kept, sizeof kept, "the checkpoint is of step %" PRId64 "%s", run->position.step,
                 run->within ? ", with a part of the step that failed" : "");
    const int line = (int)strcspn(message, "\n"); // a compiler's log may follow
    bl_fail(code, "%.*s; %s%s", line, message, kept, message + line);
    free(message);
    return code;
}

/* What the file's network is not as the file has it. */
static void tell_model(const struct run *run) {
    const struct bl_network_options *o = &run->net->options;
    char changes[400];
    bl_model_changes(run->model, o->channels, o->classes, changes, sizeof changes);
    if (*changes) bl_run_tell(run, BL_TRAIN_STARTED, "%s", changes);
    if (run->model->value_count && !run->o.resume && !run->o.init)
        bl_run_tell(run, BL_TRAIN_STARTED, "%d of the network's %d parameters and buffers begin with the file's values",
                    run->net->taken, bl_graph_params(run->net->graph));
}

static void tell_start(const struct run *run) {
    const struct blanch_device_info *info = blanch_device_info(run->dev);
    const int last = (int)(bl_dataset_count(run->data, BL_TRAIN) % (uint32_t)bl_run_images(run));
    char dropped[200] = "", times[40] = "";
    if (!bl_run_writes(run)) return; // what all ranks know, one tells
    if (run->o.network.accumulate > 1) snprintf(times, sizeof times, " times %d", run->o.network.accumulate);
    if (last && last < run->least)
        snprintf(dropped, sizeof dropped, "; the last batch of an epoch, of %d, is left out: %s", last,
                 run->o.drop_last ? "--drop-last" : "a layer would have one value per channel, or one sample");
    bl_run_tell(run, *dropped && !run->o.drop_last ? BL_TRAIN_NOTICE : BL_TRAIN_STARTED,
                "%s (%s), %s-%s%s%s, batch %d%s, %" PRId64 " steps%s%s", info->name, info->platform_name,
                run->net->model->name, run->o.norm, run->o.network.precision ? "-" : "",
                run->o.network.precision ? run->o.precision : "", run->o.network.batch, times, run->steps,
                run->position.step ? ", resumed" : "", dropped);
    bl_run_tell_ranks(run);
    tell_model(run);
    if (!run->o.resume && run->o.normalise && !strcmp(run->o.normalise, "weights"))
        bl_run_tell(run, BL_TRAIN_STARTED, "images are normalised as %s says; --normalise NAME takes others",
                    run->o.init);
    if (run->aside)
        bl_run_tell(run, BL_TRAIN_WARNING,
                    "%s holds no checkpoint yet: the run begins anew; its former log is log.%d.jsonl", run->o.out,
                    run->aside);
    if (run->lock.unsupported)
        bl_run_tell(run, BL_TRAIN_WARNING,
                    "%s is on a file system without locks: no other process may use it meanwhile", run->o.out);
    if (run->session.overhead && run->steps <= BL_BUDGET_WARMUP)
        bl_run_tell(
            run, BL_TRAIN_WARNING,
            "--overhead-budget saves nothing here: the first %d steps refresh every layer, and the next %d measure",
            BL_BUDGET_ALL, BL_BUDGET_WARMUP - BL_BUDGET_ALL);
    const struct bl_node *single = bl_network_single(run->net, run->net->options.batch);
    if (single && !bl_graph_shares_statistics(run->net->graph))
        bl_run_tell(
            run, BL_TRAIN_WARNING,
            "%s whitens a single sample of a batch, and passes on its bias alone; a larger --batch or a smaller "
            "--sampling-stride gives it more",
            single->name);
    if (run->o.validate) bl_run_tell(run, BL_TRAIN_WARNING, "validation recomputes layers in plain C: slow");
}

static int check_expected(const struct run *run) {
    const double best = run->position.best_top1, expected = (double)run->o.expect_top1;
    if (expected == 0 || !(best < expected)) return 0;
    return bl_fail(BLANCH_EMISMATCH, "the best %s is %.2f %%, and --expect-top1 expects %.6g %%", measure_of(run), best,
                   expected);
}

static const char *say_best(const struct run *run, char text[60]) {
    if (run->model->task == BL_GENERATE)
        snprintf(text, 60, "least loss %.4f", -run->position.best_top1);
    else
        snprintf(text, 60, "best %s %.2f %%", measure_of(run), run->position.best_top1);
    return text;
}

int bl_train(const struct bl_train_options *options) {
    char best[60];
    struct run run = {.log = NULL};
    int code = set_up(&run, options);
    if (run.left_out) return tear_down(&run, code);
    if (!code) code = bl_run_log_data(&run);
    if (!code) code = bl_run_log_blocks(&run);
    if (!code) {
        if (!speaks_early(&run)) tell_data(&run);
        if (*run.blocks.summary) bl_run_tell(&run, BL_TRAIN_DATA, "%s", run.blocks.summary);
        tell_start(&run);
        code = loop(&run);
        if (code && code != BLANCH_EINTERRUPTED && code != BLANCH_EDIVERGED && run.position.step)
            code = keep_steps(&run, code);
    }
    if (!code) code = test_at_end(&run);
    if (!code)
        bl_run_tell(&run, BL_TRAIN_DONE, "done: %" PRId64 " steps%s, %s", run.position.step,
                    run.position.step < run.steps ? ", stopped early" : "", say_best(&run, best));
    if (!code) code = check_expected(&run);
    return tear_down(&run, code);
}
