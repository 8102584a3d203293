/* blanch compare: trains networks that differ in their normalisation, or in their device, in turn on the same batches,
 * and reports where the time goes. Taking turns step by step means that a change in the machine's speed meets all of
 * them. */
#include "compare.h"
#include "train/open.h"
#include "io/directory.h"
#include "io/files.h"
#include "report/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    bl_blocks_free(&run->blocks);
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
    bl_model_free(c->model);
    if (c->log) fclose(c->log);
    bl_lock_release(&c->lock);
    free(c->log_path);
}

/* --- the end -------------------------------------------------------------------------------- */

static int measure_limits(struct bl_compare *c) {
    int code = 0;
    for (int d = 0; d < c->devices && !code; d++) {
        struct bl_limits limits;
        code = bl_limits_at_end(c->device[d], &limits);
        for (int r = 0; r < c->runs && !code; r++)
            if (c->run[r].dev == c->device[d]) bl_ledger_limits(c->run[r].session.ledger, &limits);
    }
    return code;
}

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
    int code = bl_common_recompute(&c->common, &c->recompute);
    return code ? code : bl_compare_parse_settings(c);
}

static int close_log(struct bl_compare *c) {
    int failed = fclose(c->log);
    c->log = NULL;
    return failed ? bl_fail(BLANCH_EIO, "%s could not be written", c->log_path) : 0;
}

/* The results are there, of what diverged those until then. */
static int fail_of_diverged(const struct bl_compare *c) {
    for (int r = 0; r < c->runs; r++)
        if (c->run[r].diverged)
            return bl_fail(BLANCH_EDIVERGED, "%s diverged at step %lld; the others went on, %s has the results",
                           bl_compare_name(c->run[r].setting), (long long)c->run[r].steps + 1, c->out);
    return 0;
}

static int compare(struct bl_compare *c) {
    int code = check_usage(c);
    if (code) return code;
    bl_end_in_order();
    if ((code = enter_folder(c)) || (code = bl_compare_open_data(c)) || (code = bl_compare_open_devices(c)))
        return code;
    bl_first_use_init(&c->use, c->common.no_tune);
    if (c->use.wanted) bl_say_data(c->data, c->data_spec); // the first line, before that of measuring engines
    if ((code = bl_compare_open_runs(c)) || (code = open_folder(c))) return code;
    if (!c->use.wanted) bl_say_data(c->data, c->data_spec);
    if ((code = bl_compare_train(c)) || (code = close_log(c))) return code;
    if (!blanch_stop_requested()) code = bl_compare_time_inference(c);
    bool enough = c->done >= BL_COMPARE_LEAST;
    if (!code && enough && !(code = measure_limits(c))) code = write_results(c);
    if (code || !blanch_stop_requested()) return code ? code : fail_of_diverged(c);
    return bl_fail(BLANCH_EINTERRUPTED, "interrupted after step %lld%s", (long long)c->done,
                   enough ? "" : ": too few for results");
}

static int run_compare(int argc, char **argv) {
    struct bl_compare c = {.norm_list = "bn,nd"};
    bool help;
    const struct bl_option own[] = {
        {"model", BL_OPT_TEXT, &c.common.model, 0, 0, "NAME|FILE.json|FILE.onnx",
         "the network; `blanch models` lists them"},
        {"data", BL_OPT_TEXT, &c.data_spec, 0, 0, "SPEC",
         "fashion-mnist[:DIR], cifar10:DIR, folder:DIR, synthetic:3x32x32:10"},
        {"out", BL_OPT_TEXT, &c.out, 0, 0, "DIR", "a new folder for the results"},
        {"norms", BL_OPT_TEXT, &c.norm_list, 0, 0, "A,B", "of bn, gn, ln, nd, none (bn,nd)"},
        {"settings", BL_OPT_TEXT, &c.settings_text, 0, 0, "'A; B'",
         "further networks: '--refresh 5; small: --block 32; bn01: --norm bn --lr 0.01'"},
        {"sweep-lr", BL_OPT_TEXT, &c.sweep_text, 0, 0, "A,B",
         "batch norm at each of these learning rates; marks the best"},
        {"overhead-budget", BL_OPT_TEXT, &c.budget_text, 0, 0, "P%",
         "ND: refreshes the whitening as often as this overhead over BN allows (none)"},
        {"target-top1", BL_OPT_FLOAT, &c.target, 1e-3, 100, "P", "time until P % of the test images are right"},
        {"devices", BL_OPT_TEXT, &c.device_list, 0, 0, "A,B", "several devices, each as --device takes it"},
        {"steps", BL_OPT_INT64, &c.steps, 1, 1e12, "N", "steps of each network, at least 4 (50)"},
        {"epochs", BL_OPT_INT, &c.epochs, 1, 100000, "N", "whole epochs instead, with test accuracy after each"},
        {"drop-last", BL_OPT_FLAG, &c.drop_last, 0, 0, NULL, "leaves every partial batch out"},
        {0}};
    struct bl_option table[BL_MAX_OPTIONS];
    bl_common_init(&c.common);
    bl_common_options(table, own, &c.common,
                      BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_SEED | BL_COMMON_ND | BL_COMMON_JSON |
                          BL_COMMON_TUNE | BL_COMMON_OPTIMISER | BL_COMMON_UPDATE | BL_COMMON_RECOMPUTE |
                          BL_COMMON_SIZE | BL_COMMON_IMAGES | BL_COMMON_DIVISION | BL_COMMON_CACHE | BL_COMMON_WORKERS |
                          BL_COMMON_PRECISION);
    int operands = 0, code = bl_options_parse(&bl_command_compare, table, argc, argv, &operands, &help);
    if (!code && !help && operands && argc > operands + 1)
        code = bl_fail(BLANCH_EUSAGE, "compare takes options, to train, or folders of runs that are there, not both");
    else if (!code && !help)
        code = operands ? bl_compare_runs(argv + 1, operands) : compare(&c);
    close_compare(&c);
    return code;
}

const struct bl_command bl_command_compare = {
    .name = "compare",
    .summary = "trains batch norm and network deconvolution side by side: what each layer costs",
    .usage = "usage: blanch compare --model NAME|FILE.json|FILE.onnx --data SPEC --out DIR [options]\n\n"
             "Trains one network per device, norm and setting, in turn, step by step, on the same batches. Prints what "
             "each layer\n"
             "costs; DIR gets report.html, compare.json, config.json and log.jsonl.\n\n"
             "       blanch compare RUN RUN...\n\n"
             "Trains nothing: says how runs of `train` on different numbers of ranks scale, and where their steps "
             "go.\n",
    .run = run_compare,
};
