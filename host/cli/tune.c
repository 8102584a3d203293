/* blanch tune: measures engines, products and CLBlast's parameters, and keeps the best. */
#include "cli/tune.h"
#include "blas/blas.h"
#include "cli/common.h"
#include "io/files.h"
#include "sched/tune_cache.h"
#include "train/open.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tune {
    struct bl_common common;
    bool show, clblast;
    int sets;
    float seconds, candidate, build;
    struct blanch_device *dev;
    struct bl_progress *progress;
};

static void move(void *context, int done, int total, const char *text) {
    struct tune *t = context;
    if (!text) {
        bl_progress_end(t->progress);
        t->progress = NULL;
        return;
    }
    if (!t->progress) t->progress = bl_progress_start("tune", total);
    bl_progress_step(t->progress, done, "%s", text);
}

static void say(void *context, const char *line) {
    struct tune *t = context;
    bl_progress_line(t->progress, "%s", line);
}

static struct bl_tune_bounds bounds_of(struct tune *t) {
    return (struct bl_tune_bounds){.seconds = (double)t->seconds,
                                   .candidate = (double)t->candidate,
                                   .build = (double)t->build,
                                   .progress = move,
                                   .said = say,
                                   .context = t};
}

static cJSON *document(const struct tune *t) {
    return bl_document("tune", blanch_device_info(t->dev), bl_options_json(t->common.options));
}

/* --- showing ---------------------------------------------------------------------------------- */

static const char *text_of(const cJSON *entry, const char *key) {
    const cJSON *item = cJSON_GetObjectItem(entry, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static void print_entry(const cJSON *entry) {
    const cJSON *trial, *tried = cJSON_GetObjectItem(entry, "tried");
    printf("%s%s\n    %s %.4g ms", bl_shown(text_of(entry, "shape")),
           cJSON_IsTrue(cJSON_GetObjectItem(entry, "current")) ? ""
                                                               : "   [other device, driver, kernels or memory limit]",
           bl_shown(text_of(entry, "choice")), bl_json_get(entry, "ms"));
    cJSON_ArrayForEach(trial, tried) {
        const cJSON *ms = cJSON_GetObjectItem(trial, "ms");
        const char *name = text_of(trial, "name"), *result = text_of(trial, "result");
        if (!strcmp(name, text_of(entry, "choice"))) continue;
        if (!strcmp(result, "right") && cJSON_IsNumber(ms))
            printf("; %s %.4g", bl_shown(name), ms->valuedouble);
        else
            printf("; %s %s", bl_shown(name), bl_shown(result));
    }
    const cJSON *load = cJSON_GetObjectItem(entry, "load");
    printf("   (%.10s", bl_shown(text_of(entry, "measured")));
    if (cJSON_IsNumber(load)) printf(", load %.3g", load->valuedouble);
    puts(")");
}

static int show(struct tune *t) {
    struct bl_tune_cache cache;
    int code = bl_tune_cache_open(&cache, t->dev);
    if (code) return code;
    cJSON *list = bl_tune_cache_list(&cache);
    bl_tune_cache_close(&cache);
    if (!list) return bl_fail(BLANCH_ENOMEM, "out of host memory");
    if (t->common.json) {
        cJSON *json = document(t);
        cJSON_AddItemToObject(json, "entries", list);
        return bl_print_json(json);
    }
    const cJSON *entry;
    cJSON_ArrayForEach(entry, list) print_entry(entry);
    printf("%d shapes are known\n", cJSON_GetArraySize(list));
    cJSON_Delete(list);
    return 0;
}

/* --- measuring -------------------------------------------------------------------------------- */

static int tune_norm(struct tune *t, const char *norm) {
    struct bl_common common = t->common;
    struct bl_network_options options;
    struct blanch_model *model = NULL;
    struct blanch_network *net = NULL;
    common.norm = norm;
    int code = bl_common_network(&common, &options, &model);
    if (!code) code = bl_network_create(&net, t->dev, &options);
    blanch_network_free(net);
    bl_model_free(model);
    return code;
}

/* Both norms where none is given; a file of deconvolution has that alone. */
static int tune_network(struct tune *t) {
    struct blanch_model *model;
    int code = bl_model_open(&model, t->common.model);
    const bool nd = !code && model->nd;
    bl_model_free(model);
    if (code || t->common.norm || nd) return code ? code : tune_norm(t, t->common.norm);
    code = tune_norm(t, "bn");
    return code ? code : tune_norm(t, "nd");
}

static int measure(struct tune *t) {
    const struct bl_tune_bounds bounds = bounds_of(t);
    int code = bl_tuner_open(t->dev, &bounds);
    fprintf(stderr, "measuring for at most %.0f s on %s\n", (double)t->seconds,
            bl_shown(blanch_device_info(t->dev)->name));
    if (!code && t->clblast) code = bl_tuner_clblast(bl_tuner_of(t->dev), t->sets);
    return !code && t->common.model ? tune_network(t) : code;
}

static int report(const struct tune *t) {
    const struct bl_tune_report *r = bl_tuner_report(bl_tuner_of(t->dev));
    if (!t->common.json) {
        printf("%d measured in %.1f s, %d known before, %d left", r->measured, r->seconds, r->known, r->left);
        if (r->wrong || r->failed)
            printf("; candidates refused: %d with a wrong result, %d that failed", r->wrong, r->failed);
        puts(r->left ? "; call again to go on" : "");
        return 0;
    }
    cJSON *json = document(t);
    cJSON_AddNumberToObject(json, "measured", r->measured);
    cJSON_AddNumberToObject(json, "known", r->known);
    cJSON_AddNumberToObject(json, "left", r->left);
    cJSON_AddNumberToObject(json, "wrong", r->wrong);
    cJSON_AddNumberToObject(json, "failed", r->failed);
    cJSON_AddItemToObject(json, "seconds", bl_json_number(r->seconds, 4));
    return bl_print_json(json);
}

static int run(int argc, char **argv) {
    struct tune t = {.sets = 60, .seconds = 300, .candidate = 2, .build = 60};
    bool help;
    bl_common_init(&t.common);
    const struct bl_option own[] = {
        {"show", BL_OPT_FLAG, &t.show, 0, 0, NULL, "prints what is known"},
        {"clblast", BL_OPT_FLAG, &t.clblast, 0, 0, NULL, "searches CLBlast's parameters"},
        {"sets", BL_OPT_INT, &t.sets, 1, 100000, "N", "of CLBlast's parameters, in all (60)"},
        {"seconds", BL_OPT_FLOAT, &t.seconds, 0, 1e6, "S", "to measure for, in all (300)"},
        {"candidate-seconds", BL_OPT_FLOAT, &t.candidate, 1e-6, 1e4, "S", "that one call of a candidate may take (2)"},
        {"build-seconds", BL_OPT_FLOAT, &t.build, 1e-6, 1e4, "S", "that building a candidate's kernels may take (60)"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &t.common,
                      BL_COMMON_NETWORK | BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_ND | BL_COMMON_JSON);
    int code = bl_options_parse(&bl_command_tune, options, argc, argv, NULL, &help);
    if (code || help) return code;
    if (t.show && (t.clblast || t.common.model))
        return bl_fail(BLANCH_EUSAGE,
                       "--show prints what is known and measures nothing: leave --model and --clblast out");
    if (t.clblast && !bl_clblast_available()) return bl_fail(BLANCH_EUSAGE, "--clblast: this build lacks CLBlast");
    if (!t.show && !t.clblast && !t.common.model)
        return bl_fail(BLANCH_EUSAGE, "nothing to do: give --model NAME, --clblast or --show");
    bl_end_in_order();
    if ((code = blanch_device_open(&t.dev, t.common.device, t.common.max_alloc))) return code;
    code = t.show ? show(&t) : measure(&t);
    if (!t.show && (!code || (code == BLANCH_EINTERRUPTED && bl_tuner_of(t.dev)))) {
        int printed = report(&t);
        if (!code) code = printed;
    }
    bl_progress_end(t.progress);
    blanch_device_close(t.dev);
    return code;
}

const struct bl_command bl_command_tune = {
    .name = "tune",
    .summary = "measures algorithms for a device and keeps the best",
    .usage = "usage: blanch tune --model NAME [--norm NORM] [--batch B] [options]\n"
             "       blanch tune --clblast [--sets N]\n"
             "       blanch tune --show\n"
             "\n"
             "Measures, for every convolution and matrix product of a training step of the network (with batch norm "
             "and with\n"
             "deconvolution unless --norm is given), each engine that suits, checks its result, and keeps the fastest "
             "right\n"
             "one in the cache ($XDG_CACHE_HOME/blanch/tune), where later runs find it. Each result is kept as it is "
             "found:\n"
             "interrupted, or out of time, the next call goes on. What is known is not measured again.\n"
             "--clblast searches the parameters of CLBlast's matrix product.\n",
    .run = run,
};
