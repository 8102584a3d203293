/* blanch compare: trains networks that differ in their normalisation, or in their device, in turn on the same batches,
 * and reports where the time goes. Taking turns step by step means that a change in the machine's speed meets all of
 * them. */
#include "compare.h"
#include "io/directory.h"
#include "io/files.h"
#include "report/report.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int warm_up = 3;                               // steps of each network, neither timed nor recorded
static const int least_steps = 4;                           // of which a shorter comparison times all but the first
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

/* --- opening -------------------------------------------------------------------------------- */

static int open_device(struct bl_compare *c, const char *spec) {
    int code = blanch_device_open(&c->device[c->devices], spec, c->common.max_alloc);
    if (code) return code;
    const char *name = blanch_device_info(c->device[c->devices])->name;
    bool taken = false;
    for (int d = 0; d < c->devices; d++) taken |= !strcmp(c->label[d], name);
    if ((code = bl_limits_get(c->device[c->devices], true, &c->limits[c->devices]))) {
        blanch_device_close(c->device[c->devices]);
        return code;
    }
    snprintf(c->label[c->devices], sizeof c->label[0], taken ? "%s (%s)" : "%s", name, spec);
    c->devices++;
    return 0;
}

static int open_devices(struct bl_compare *c) {
    if (!c->device_list) return open_device(c, c->common.device);
    char *list = bl_strdup(c->device_list), *rest = NULL;
    int code = list ? 0 : BLANCH_ENOMEM;
    for (char *spec = list ? strtok_r(list, ",", &rest) : NULL; spec && !code; spec = strtok_r(NULL, ",", &rest)) {
        if (c->devices == BL_COMPARE_DEVICES) {
            code = bl_fail(BLANCH_EUSAGE, "--devices takes at most %d devices", BL_COMPARE_DEVICES);
            break;
        }
        code = open_device(c, spec);
    }
    free(list);
    if (!code && !c->devices) code = bl_fail(BLANCH_EUSAGE, "--devices names no device; `blanch devices` lists them");
    return code;
}

static int parse_norms(const struct bl_compare *c, enum blanch_norm *norms, int *count) {
    char *list = bl_strdup(c->norm_list), *rest = NULL;
    int code = list ? 0 : BLANCH_ENOMEM;
    *count = 0;
    for (char *name = list ? strtok_r(list, ",", &rest) : NULL; name && !code; name = strtok_r(NULL, ",", &rest)) {
        if (*count == BL_COMPARE_NORMS)
            code = bl_fail(BLANCH_EUSAGE, "--norms takes each of bn, nd, none once");
        else
            code = bl_norm_parse(name, &norms[(*count)++]);
        for (int i = 0; !code && i < *count - 1; i++)
            if (norms[i] == norms[*count - 1]) code = bl_fail(BLANCH_EUSAGE, "--norms names '%s' twice", name);
    }
    free(list);
    if (!code && !*count)
        code = bl_fail(BLANCH_EUSAGE, "--norms names nothing; it takes bn, nd, none, separated by commas");
    return code;
}

static int open_run(struct bl_compare *c, int device, enum blanch_norm norm, const struct bl_compare_setting *setting) {
    struct bl_compare_run *run = &c->run[c->runs++];
    struct blanch_network_options network = {
        .model = c->common.model,
        .norm = norm,
        .nd = setting->nd,
        .batch = c->common.batch,
        .classes = bl_dataset_classes(c->data),
        .channels = c->view.channels,
        .height = c->view.size,
        .width = c->view.size,
        .seed = (uint64_t)c->common.seed,
        .optimiser = c->common.optimiser,
        .recompute = c->recompute,
    };
    run->dev = c->device[device];
    run->device = c->label[device];
    run->norm = norm;
    run->setting = setting->label;
    run->budget = norm == BLANCH_ND ? setting->budget : -1;
    if (run->budget >= 0) network.nd.refresh = BL_REFRESH_SCHEDULED;
    int code = blanch_network_create(&run->net, run->dev, &network);
    return code ? bl_fail_in(code, "%s with %s", c->common.model, bl_norm_name(norm)) : 0;
}

/* Its last step is what the budgets of the same device compare with. */
static int last_step_ms(void *context, const struct bl_batch *batch, double *ms) {
    const struct bl_compare_run *run = context;
    *ms = run->last_ms;
    return 0;
}

/* The comparison's own batch norm is a budget's baseline where it has one. */
static int open_session(struct bl_compare *c, struct bl_compare_run *run) {
    const struct bl_loader_options loader = {
        .split = BL_TRAIN,
        .view = c->view,
        .batch = c->common.batch,
        .training = true,
        .least = c->least,
        .seed = (uint64_t)c->common.seed,
    };
    struct bl_baseline baseline = {.trained = true, .step = last_step_ms};
    struct bl_session_options options = {.ledger = true, .budget = run->budget};
    for (int b = 0; b < c->runs; b++)
        if (c->run[b].dev == run->dev && c->run[b].norm == BLANCH_BN) run->baseline = &c->run[b];
    baseline.context = run->baseline;
    if (run->baseline) options.baseline = &baseline;
    int code = bl_loader_open(&options.loader, c->data, &loader);
    if (!code) code = bl_session_open(&run->session, run->net, &options);
    for (int d = 0; d < c->devices && !code; d++)
        if (c->device[d] == run->dev) bl_ledger_limits(run->session.ledger, &c->limits[d]);
    if (!code && run->session.overhead && c->steps <= BL_BUDGET_WARMUP)
        bl_progress_line(NULL,
                         "blanch: --overhead-budget saves nothing here: the first %d steps refresh every layer, and "
                         "the next %d measure; give more --steps",
                         BL_BUDGET_ALL, BL_BUDGET_WARMUP - BL_BUDGET_ALL);
    return code ? bl_fail_in(code, "%s with %s", c->common.model, bl_norm_name(run->norm)) : 0;
}

static int check_norms(const struct bl_compare *c, const enum blanch_norm *norms, int count) {
    int networks = count;
    bool nd = false;
    for (int n = 0; n < count; n++) {
        nd |= norms[n] == BLANCH_ND;
        networks += norms[n] == BLANCH_ND ? c->settings - 1 : 0;
    }
    if (count == 1 || !nd) bl_common_say_unused(&c->common, nd);
    if (c->settings > 1 && !nd) return bl_fail(BLANCH_EUSAGE, "--settings are ND's, and --norms has no nd");
    if (c->setting[0].budget >= 0 && !nd)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget bounds network deconvolution, and --norms has no nd");
    if (c->devices * networks <= BL_COMPARE_RUNS) return 0;
    return bl_fail(BLANCH_EUSAGE, "%d networks at once are too many: at most %d", c->devices * networks,
                   BL_COMPARE_RUNS);
}

/* Before anything is run, and again where what the networks take is known. */
static int check_steps(struct bl_compare *c) {
    const uint32_t images = bl_dataset_count(c->data, BL_TRAIN);
    if (c->epochs) c->steps = (int64_t)c->epochs * bl_epoch_batches(images, c->common.batch, c->least);
    if (c->steps >= least_steps) return 0;
    if (!c->epochs)
        return bl_fail(BLANCH_EUSAGE, "a comparison needs at least %d steps, not %lld", least_steps,
                       (long long)c->steps);
    return bl_fail(BLANCH_EUSAGE,
                   "a comparison needs at least %d steps, and %d epoch%s of %u images in batches of %d %s %lld; give "
                   "more --epochs or a smaller --batch",
                   least_steps, c->epochs, c->epochs == 1 ? "" : "s", images, c->common.batch,
                   c->steps == 1 ? "is" : "are", (long long)c->steps);
}

/* All networks see the same batches: those that each of them takes. */
static int plan_steps(struct bl_compare *c) {
    const uint32_t images = bl_dataset_count(c->data, BL_TRAIN), rest = images % (uint32_t)c->common.batch;
    if (!images) return bl_fail(BLANCH_EINPUT, "%s holds no training images", c->data_spec);
    for (int r = 0; r < c->runs; r++) {
        int least = bl_network_least_batch(c->run[r].net);
        if (least > c->least) c->least = least;
    }
    if (c->drop_last) c->least = c->common.batch;
    int64_t batches = bl_epoch_batches(images, c->common.batch, c->least);
    if (!batches)
        return bl_fail(BLANCH_EUSAGE, "%s holds %u training images, and a batch takes %d%s: none is left", c->data_spec,
                       images, c->least, c->drop_last ? " with --drop-last" : " or more");
    if (rest && rest < (uint32_t)c->least)
        bl_progress_line(NULL, "the last batch of an epoch, of %u, is left out: %s", rest,
                         c->drop_last ? "--drop-last" : "batch norm takes more than one value per channel");
    int code = check_steps(c);
    c->whole = (int)((uint32_t)c->common.batch < images ? (uint32_t)c->common.batch : images);
    c->schedule = (struct bl_schedule){.lr = c->update.lr, .steps = c->steps, .epoch_steps = batches};
    return code ? code : bl_schedule_parse(&c->schedule, c->schedule_text);
}

static int open_runs(struct bl_compare *c) {
    enum blanch_norm norms[BL_COMPARE_NORMS];
    int count, code = parse_norms(c, norms, &count);
    for (int d = 0; d < c->devices && !code; d++) code = bl_first_use_open(&c->use, c->device[d]);
    if (!code) code = check_norms(c, norms, count);
    for (int d = 0; d < c->devices && !code; d++)
        for (int n = 0; n < count && !code; n++)
            for (int s = 0; s < (norms[n] == BLANCH_ND ? c->settings : 1) && !code; s++)
                code = open_run(c, d, norms[n], &c->setting[s]);
    if (!code) code = plan_steps(c);
    for (int r = 0; r < c->runs && !code; r++) code = open_session(c, &c->run[r]);
    return code;
}

static int open_data(struct bl_compare *c) {
    const struct bl_model *model = bl_model_find(c->common.model);
    if (!model) return bl_fail(BLANCH_EUSAGE, "unknown model '%s'; `blanch models` lists them", c->common.model);
    int code = bl_dataset_open(&c->data, c->data_spec, (uint64_t)c->common.seed);
    if (!code) code = bl_dataset_trainable(c->data);
    if (!code) code = check_steps(c);
    if (!code && c->epochs) code = bl_dataset_check(c->data);
    if (code) return code;
    bl_view_default(&c->view, c->data, bl_dataset_channels(c->data), model->size);
    return c->augment_text ? bl_augment_parse(c->augment_text, &c->view.augment) : 0;
}

/* --- the folder ----------------------------------------------------------------------------- */

static int refuse_folder(const struct bl_compare *c) {
    return bl_fail(BLANCH_EUSAGE, "%s exists already; choose another --out", c->out);
}

/* What a comparison that was killed leaves: compare.json comes last. */
static bool is_of_beginning(const char *name) {
    return bl_is_left_over(name) || !strcmp(name, "config.json") || !strcmp(name, "log.jsonl") ||
           !strcmp(name, "report.html");
}

/* A folder that exists is locked from now on. */
static int enter_folder(struct bl_compare *c) {
    if (!bl_path_exists(c->out)) return 0;
    int code = bl_lock_take(&c->lock, c->out, "compare");
    if (code) return code;
    int used = bl_directory_used(c->out, is_of_beginning);
    return used > 0 ? refuse_folder(c) : used;
}

/* One that did not exist may have been made by another process meanwhile. */
static int make_folder(struct bl_compare *c) {
    int code = bl_make_dirs(c->out);
    if (!code) code = bl_lock_take(&c->lock, c->out, "compare");
    if (code) return code;
    int used = bl_directory_used(c->out, bl_is_left_over);
    return used > 0 ? refuse_folder(c) : used;
}

/* A comparison that was killed begins anew with the same settings alone; --out may be spelt in another way. */
static int write_config(struct bl_compare *c, const char *path) {
    struct bl_result asked;
    cJSON *json = NULL, *former = NULL;
    int code = bl_path_exists(path) ? bl_json_read(path, &former) : 0;
    bl_result_init(&asked);
    if (!code) code = bl_compare_asked(c, &asked);
    if (!code && !(json = bl_compare_config(c, &asked))) code = BLANCH_ENOMEM;
    if (!code && former) {
        cJSON *now = cJSON_GetObjectItem(json, "settings"), *then = cJSON_GetObjectItem(former, "settings");
        cJSON_DeleteItemFromObject(then, "out");
        cJSON_AddStringToObject(then, "out", c->out);
        if (!cJSON_Compare(now, then, true)) code = refuse_folder(c);
    }
    if (!code) code = bl_json_write(path, json);
    cJSON_Delete(json);
    cJSON_Delete(former);
    bl_result_free(&asked);
    return code;
}

static int open_folder(struct bl_compare *c) {
    char *config = bl_format("%s/config.json", c->out);
    c->log_path = bl_format("%s/log.jsonl", c->out);
    int code = config && c->log_path ? 0 : BLANCH_ENOMEM, aside = 0;
    if (!code && !c->lock.taken) code = make_folder(c);
    if (!code) code = write_config(c, config);
    if (!code) bl_replace_clear_path(c->out);
    if (!code && (aside = bl_log_put_aside(c->out)) < 0) code = aside;
    if (aside > 0)
        bl_progress_line(NULL, "%s holds no results yet: the comparison begins anew; its former log is log.%d.jsonl",
                         c->out, aside);
    if (c->lock.unsupported)
        bl_progress_line(NULL, "%s is on a file system without locks: no other process may use it meanwhile", c->out);
    if (!code && !(c->log = bl_log_open(c->log_path))) code = BLANCH_EIO;
    free(config);
    return code;
}

static void close_run(struct bl_compare_run *run) {
    bl_session_close(&run->session);
    blanch_network_free(run->net);
    bl_run_result_free(&run->result);
    free(run->wall[0].value);
    free(run->wall[1].value);
    free(run->all.value);
    free(run->loss.value);
    free(run->seconds.value);
    free(run->inference.value);
}

static void close_compare(struct bl_compare *c) {
    for (int i = 0; i < c->runs; i++) close_run(&c->run[i]);
    for (int d = 0; d < c->devices; d++) blanch_device_close(c->device[d]);
    bl_dataset_close(c->data);
    if (c->log) fclose(c->log);
    bl_lock_release(&c->lock);
    free(c->log_path);
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
    cJSON_AddStringToObject(line, "norm", bl_norm_name(run->norm));
    if (*run->setting) cJSON_AddStringToObject(line, "setting", run->setting);
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
    cJSON_AddStringToObject(line, "norm", bl_norm_name(run->norm));
    if (*run->setting) cJSON_AddStringToObject(line, "setting", run->setting);
    return bl_json_line(c->log, line, c->log_path);
}

/* On the test images, or on those for validation where there are no others. */
static int end_epoch(struct bl_compare *c, struct bl_compare_run *run, uint64_t epoch) {
    const bool tests = bl_dataset_count(c->data, BL_TEST), held = tests || bl_dataset_count(c->data, BL_VAL);
    struct blanch_metrics m = {0}, train = run->epoch;
    double seconds = 0;
    int code = held ? bl_network_test(run->net, c->data, tests ? BL_TEST : BL_VAL, &c->view, &m, &seconds) : 0;
    struct bl_epoch_result *result = code ? NULL : bl_result_add_epoch(&run->result);
    if (!result) return code ? code : BLANCH_ENOMEM;
    result->epoch = (double)epoch + 1;
    result->train_loss = train.loss;
    result->train_top1 = bl_percent_of(train.top1, train.count);
    result->train_top5 = bl_percent_of(train.top5, train.count);
    result->train_s = run->epoch_s;
    if (held) {
        *(tests ? &result->test_loss : &result->val_loss) = m.loss;
        *(tests ? &result->test_top1 : &result->val_top1) = bl_percent_of(m.top1, m.count);
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
    return code ? code : log_step(c, run, stepped, wanted->update->lr, ms);
}

static int step_run(struct bl_compare *c, struct bl_compare_run *run, bool record) {
    struct blanch_update update = c->update;
    struct bl_stepped stepped;
    update.lr = bl_schedule_lr(&c->schedule, c->done);
    const struct bl_step wanted = {
        .number = c->done + 1, .update = &update, .record = record && timed_step(c, run, c->done), .finish = true};
    int code = bl_session_step(&run->session, &wanted, &stepped);
    if (!code && !stepped.finite)
        code = bl_fail(BLANCH_EDIVERGED,
                       "%s: the loss of step %lld is not finite, and the comparison ends without "
                       "results; try a smaller --lr",
                       bl_norm_name(run->norm), (long long)c->done + 1);
    if (!code) code = book_step(c, run, &wanted, &stepped);
    if (!code) code = log_decision(c, run, &stepped.decision);
    if (!code && c->epochs && stepped.batch.last) code = end_epoch(c, run, stepped.batch.epoch);
    bl_stepped_release(&stepped);
    return code;
}

static void show(const struct bl_compare *c) {
    char text[160] = "";
    for (int i = 0; i < c->runs; i++) {
        const struct bl_compare_run *run = &c->run[i];
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s loss %.3f", i ? ", " : "", bl_norm_name(run->norm),
                 run->loss.value[run->loss.count - 1]);
    }
    bl_progress_step(c->progress, c->done, "%s", text);
}

/* Who goes first rotates, and whether the step is recorded changes once all had their turn at being first. */
static int train(struct bl_compare *c) {
    c->progress = bl_progress_start("compare", c->steps);
    int code = 0;
    while (!code && c->done < c->steps && !bl_interrupted) {
        bool record = (c->done / c->runs) % 2 == 0;
        for (int i = 0; i < c->runs && !code; i++) code = step_run(c, &c->run[(c->done + i) % c->runs], record);
        if (code) break;
        c->done++;
        show(c);
    }
    bl_progress_end(c->progress);
    return code;
}

/* --- inference ------------------------------------------------------------------------------ */

static int warm_inference(struct bl_compare *c, const struct bl_batch *batch) {
    struct blanch_metrics metrics;
    int code = 0;
    for (int i = 0; i < 2 * c->runs && !code; i++) code = bl_network_eval(c->run[i / 2].net, batch, &metrics);
    return code;
}

static int infer_once(struct bl_compare_run *run, int count) {
    double start = bl_now();
    int code = bl_graph_forward(run->net->graph, count, false);
    if (!code) code = bl_finish(run->dev);
    return code ? code : bl_samples_add(&run->inference, 1e3 * (bl_now() - start));
}

/* The batch lies on the device already, and what an evaluation derives from the weights was derived in the warm-up. It
 * is one of training: never short of a damaged image. */
static int time_inference(struct bl_compare *c) {
    struct bl_loader_options options = {
        .split = BL_TRAIN, .view = c->view, .batch = c->common.batch, .training = true, .epochs = 1};
    struct bl_loader *loader = NULL;
    struct bl_batch batch;
    int code = bl_loader_open(&loader, c->data, &options);
    if (!code) code = bl_loader_next(loader, &batch);
    if (!code) code = warm_inference(c, &batch);
    double end = bl_now() + inference_s;
    for (int i = 0; i < inference_most && !code && !bl_interrupted && (i < inference_least || bl_now() < end); i++)
        for (int r = 0; r < c->runs && !code; r++) code = infer_once(&c->run[(i + r) % c->runs], batch.count);
    bl_loader_close(loader);
    return code;
}

/* --- the end -------------------------------------------------------------------------------- */

static int write_results(struct bl_compare *c) {
    struct bl_result result;
    char *path = bl_format("%s/compare.json", c->out), *page = bl_format("%s/report.html", c->out);
    bl_result_init(&result);
    int code = path && page ? bl_compare_result(c, &result) : BLANCH_ENOMEM;
    cJSON *json = code ? NULL : bl_result_json(&result);
    if (!code) code = bl_report_write(page, &result, 1);
    if (!code) code = bl_json_write(path, json);
    if (!code && c->common.json) {
        code = bl_print_json(json);
        json = NULL;
    } else if (!code) {
        bl_compare_print(&result);
        printf("\n%s\n", bl_shown(page));
    }
    cJSON_Delete(json);
    bl_result_free(&result);
    free(path);
    free(page);
    return code;
}

static int check_usage(struct bl_compare *c) {
    if (!c->common.model) return bl_fail(BLANCH_EUSAGE, "--model is missing; `blanch models` lists the networks");
    if (!c->data_spec)
        return bl_fail(BLANCH_EUSAGE, "--data is missing: fashion-mnist, cifar10:DIR, synthetic:3x32x32:10, ...");
    if (!c->out) return bl_fail(BLANCH_EUSAGE, "--out is missing: a folder for the results, which must not exist yet");
    if (c->steps && c->epochs) return bl_fail(BLANCH_EUSAGE, "give --steps or --epochs, not both");
    if (c->device_list && c->common.device) return bl_fail(BLANCH_EUSAGE, "give --device or --devices, not both");
    if (!c->steps && !c->epochs) c->steps = 50;
    if (!c->common.batch) c->common.batch = 128;
    if (c->common.seed < 0) c->common.seed = 0;
    if (c->target > 0 && !c->epochs)
        return bl_fail(BLANCH_EUSAGE, "--target-top1 needs --epochs: test accuracy is measured after each");
    c->update = c->common.update;
    int code = bl_common_recompute(&c->common, &c->recompute);
    if (!code) code = bl_update_resolve(c->common.optimiser, &c->update);
    if (!code) code = bl_schedule_parse(&c->schedule, c->schedule_text);
    return code ? code : bl_compare_parse_settings(c);
}

static int close_log(struct bl_compare *c) {
    int failed = fclose(c->log);
    c->log = NULL;
    return failed ? bl_fail(BLANCH_EIO, "%s could not be written", c->log_path) : 0;
}

static int compare(struct bl_compare *c) {
    int code = check_usage(c);
    if (code) return code;
    bl_end_in_order();
    if ((code = enter_folder(c)) || (code = open_data(c)) || (code = open_devices(c))) return code;
    bl_first_use_init(&c->use, c->common.no_tune);
    if (c->use.wanted) bl_say_data(c->data, c->data_spec); // the first line, before that of measuring engines
    if ((code = open_runs(c)) || (code = open_folder(c))) return code;
    if (!c->use.wanted) bl_say_data(c->data, c->data_spec);
    if ((code = train(c)) || (code = close_log(c))) return code;
    if (!bl_interrupted) code = time_inference(c);
    bool enough = c->done >= least_steps;
    if (!code && enough) code = write_results(c);
    if (code || !bl_interrupted) return code;
    return bl_fail(BLANCH_EINTERRUPTED, "interrupted after step %lld%s", (long long)c->done,
                   enough ? "" : ": too few for results");
}

static int run_compare(int argc, char **argv) {
    struct bl_compare c = {.norm_list = "bn,nd", .schedule_text = "cosine"};
    bool help;
    const struct bl_option own[] = {
        {"model", BL_OPT_TEXT, &c.common.model, 0, 0, "NAME", "the network; `blanch models` lists them"},
        {"data", BL_OPT_TEXT, &c.data_spec, 0, 0, "SPEC",
         "fashion-mnist[:DIR], cifar10:DIR, folder:DIR, synthetic:3x32x32:10"},
        {"out", BL_OPT_TEXT, &c.out, 0, 0, "DIR", "a new folder for the results"},
        {"norms", BL_OPT_TEXT, &c.norm_list, 0, 0, "A,B", "of bn, nd, none (bn,nd)"},
        {"settings", BL_OPT_TEXT, &c.settings_text, 0, 0, "'A; B'",
         "further ND networks: '--refresh 5; small: --block 32'"},
        {"overhead-budget", BL_OPT_TEXT, &c.budget_text, 0, 0, "P%",
         "ND: refreshes the whitening as often as this overhead over BN allows (none)"},
        {"target-top1", BL_OPT_FLOAT, &c.target, 1e-3, 100, "P", "time until P % of the test images are right"},
        {"devices", BL_OPT_TEXT, &c.device_list, 0, 0, "A,B", "several devices, each as --device takes it"},
        {"steps", BL_OPT_INT64, &c.steps, 1, 1e12, "N", "steps of each network, at least 4 (50)"},
        {"epochs", BL_OPT_INT, &c.epochs, 1, 100000, "N", "whole epochs instead, with test accuracy after each"},
        {"drop-last", BL_OPT_FLAG, &c.drop_last, 0, 0, NULL, "leaves every partial batch out"},
        {"schedule", BL_OPT_TEXT, &c.schedule_text, 0, 0, "NAME",
         "cosine, constant, multistep[:E,E...[:GAMMA]] (cosine)"},
        {"augment", BL_OPT_TEXT, &c.augment_text, 0, 0, "NAME", "cifar, imagenet or none (by the data)"},
        {0}};
    struct bl_option table[BL_MAX_OPTIONS];
    bl_common_init(&c.common);
    bl_common_options(table, own, &c.common,
                      BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_SEED | BL_COMMON_ND | BL_COMMON_JSON |
                          BL_COMMON_TUNE | BL_COMMON_OPTIMISER | BL_COMMON_UPDATE | BL_COMMON_RECOMPUTE);
    int code = bl_options_parse(&bl_command_compare, table, argc, argv, NULL, &help);
    if (!code && !help) code = compare(&c);
    close_compare(&c);
    return code;
}

const struct bl_command bl_command_compare = {
    .name = "compare",
    .summary = "trains batch norm and network deconvolution side by side: what each layer costs",
    .usage = "usage: blanch compare --model NAME --data SPEC --out DIR [options]\n\n"
             "Trains one network per device, norm and setting, in turn, step by step, on the same batches. Prints what "
             "each layer\n"
             "costs; DIR gets report.html, compare.json, config.json and log.jsonl.\n",
    .run = run_compare,
};
