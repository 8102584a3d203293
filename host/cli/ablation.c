/* blanch study --ablation FILE: training runs that differ in some options, each setting at its best rate. */
#include "cli/ablation.h"
#include "cli/train.h"
#include "io/files.h"
#include "io/json.h"
#include "train/open.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct bl_ablation *a;
    const struct bl_ablation_call *call;
    struct blanch_model *model[BL_ABLATION_MODELS]; // a's, where files were compared
    int number, open, *status;
};

/* --- one cell --------------------------------------------------------------------------------- */

/* Its options as `train` reads them; texts are a's. A cell that has begun goes on by its config.json. */
static int settings(const struct run *r, int model, int setting, int sweep, struct bl_train_call *call) {
    const struct bl_ablation *a = r->a;
    char *argv[1024] = {"train", "--model", (char *)a->model[model]};
    int argc = 3;
    bool help;
    for (int i = 0; i < a->base.count; i++) argv[argc++] = a->base.word[i];
    for (int axis = 0; axis < a->axes; axis++) {
        const struct bl_ablation_words *words = &bl_ablation_value(a, axis, setting, sweep)->words;
        for (int i = 0; i < words->count; i++) argv[argc++] = words->word[i];
    }
    return bl_train_call_read(call, argc, argv, &help);
}

/* Before any is trained, all are looked at. */
static int check(struct run *r, int model, int setting, int sweep, int seed) {
    struct bl_train_call call;
    struct blanch_model *opened = NULL;
    enum blanch_norm norm;
    char name[200];
    int code = settings(r, model, setting, sweep, &call);
    if (!code) code = bl_common_model(&call.common, &opened, &norm);
    if (!code && opened->task == BL_GENERATE)
        code = bl_fail(BLANCH_EUSAGE, "%s generates images, and ablations judge by accuracy: train it by itself",
                       opened->name);
    bl_model_free(opened);
    bl_ablation_name(r->a, model, setting, sweep, seed, name);
    return code ? bl_fail_in(code, "%s, %s", r->a->path, name) : 0;
}

/* As built for the run that config is of; model NULL: the run's own. */
static int describe(const struct bl_run_config *config, const struct blanch_model *model, cJSON **json) {
    const struct bl_network_options *options = &config->options.network;
    struct blanch_model *own = NULL;
    int code = (*json = cJSON_CreateObject()) ? 0 : BLANCH_ENOMEM;
    if (!model && !config->model && !code) code = bl_model_open(&own, options->model);
    if (!model) model = own ? own : config->model;
    if (!code) code = bl_model_describe(model, options, *json);
    if (!code && bl_memory_lacked()) code = BLANCH_ENOMEM;
    bl_model_free(own);
    return code;
}

/* What the cell has trained is the network asked for. A name says which; a file may have become another since. */
static int check_network(struct run *r, int model, const struct bl_cell *cell, const char *folder) {
    const char *asked = r->a->model[model];
    const bool kept = cell->has_checkpoint || cell->state >= BL_CELL_DONE;
    if (!kept || !*cell->model || (!bl_model_is_file(asked) && !strcmp(cell->model, asked))) return 0;
    struct bl_run_config config = {0};
    cJSON *was = NULL, *is = NULL;
    int code = r->model[model] ? 0 : bl_model_open(&r->model[model], asked);
    if (!code) code = bl_run_read(&config, folder);
    if (!code && ((code = describe(&config, NULL, &was)) || (code = describe(&config, r->model[model], &is))))
        code = bl_fail_in(code, "%s", folder);
    if (!code && !cJSON_Compare(was, is, true))
        code = bl_fail(BLANCH_EUSAGE, "%s is of another network than %s holds now; give another --out, or delete it",
                       folder, asked);
    cJSON_Delete(was);
    cJSON_Delete(is);
    bl_run_release(&config);
    return code;
}

static int look(struct run *r, int model, int setting, int sweep, int seed) {
    struct bl_cell *cell = bl_ablation_cell(r->a, model, setting, sweep, seed);
    char name[200];
    bl_ablation_name(r->a, model, setting, sweep, seed, name);
    *cell = (struct bl_cell){.epochs = r->a->epochs, .steps = r->a->steps};
    char *folder = bl_format("%s/%s", r->call->out, name);
    int code = folder ? bl_cell_read_folder(cell, folder) : BLANCH_ENOMEM;
    if (!code && *cell->data && r->a->data && strncmp(cell->data, r->a->data, sizeof cell->data - 1))
        code = bl_fail(BLANCH_EUSAGE, "%s was trained on %s, not %s; give another --out", name, cell->data, r->a->data);
    if (!code) code = check_network(r, model, cell, folder);
    free(folder);
    return code;
}

/* By what the finished cells took. */
static double time_left(const struct run *r) {
    const struct bl_ablation *a = r->a;
    const int count = a->models * a->settings * a->sweeps * a->seeds;
    double took = 0;
    int done = 0;
    for (int i = 0; i < count; i++) {
        if (a->cells[i].state != BL_CELL_DONE) continue;
        took += a->cells[i].train_s + (isnan(a->cells[i].test_s) ? 0 : a->cells[i].test_s);
        done++;
    }
    return done ? took / done * (r->open - r->number + 1) : NAN;
}

static int run_cell(struct run *r, int model, int setting, int sweep, int seed) {
    struct bl_cell *cell = bl_ablation_cell(r->a, model, setting, sweep, seed);
    struct bl_train_call call;
    char name[200], left[64];
    bl_ablation_name(r->a, model, setting, sweep, seed, name);
    if (cell->state >= BL_CELL_DONE) return bl_cell_clear(r->call->out, name);
    r->number++;
    bl_study_say_time(left, sizeof left, time_left(r));
    int code = settings(r, model, setting, sweep, &call);
    if (code) return code;
    struct bl_train_options *o = &call.options;
    if (cell->has_checkpoint) *o = (struct bl_train_options)BL_TRAIN_DEFAULT, o->resume = true;
    o->device = r->call->device;
    o->max_alloc = r->call->max_alloc;
    if (r->call->cache) o->cache = r->call->cache;
    if (r->call->workers) o->workers = r->call->workers;
    if (!o->resume) {
        o->data = r->a->data;
        o->epochs = r->a->epochs;
        o->steps = r->a->steps;
        o->network.seed = (uint64_t)r->a->seed[seed];
    }
    const struct bl_cell_place place = {r->call->out, name, left, r->number, r->open, r->call->no_tune};
    return bl_cell_run(cell, &place, o, r->status);
}

/* --- all of them ------------------------------------------------------------------------------ */

/* Calls for all cells, a model's after another's; seeds of the sweeps alone, or of what is known to be best. */
static int each(struct run *r, bool swept, int (*call)(struct run *, int, int, int, int)) {
    const struct bl_ablation *a = r->a;
    for (int m = 0; m < a->models; m++)
        for (int s = 0; s < a->settings; s++) {
            const int best = swept ? -1 : bl_ablation_best(a, m, s);
            for (int k = 0; swept && k < a->sweeps; k++) {
                int code = call(r, m, s, k, 0);
                if (code) return code;
            }
            for (int seed = 1; best >= 0 && seed < a->seeds; seed++) {
                int code = call(r, m, s, best, seed);
                if (code) return code;
            }
        }
    return 0;
}

static int count_open(struct run *r, int model, int setting, int sweep, int seed) {
    r->open += bl_ablation_cell(r->a, model, setting, sweep, seed)->state < BL_CELL_DONE;
    return 0;
}

static int look_at_all(struct run *r) {
    const struct bl_ablation *a = r->a;
    for (int m = 0; m < a->models; m++)
        for (int s = 0; s < a->settings; s++)
            for (int k = 0; k < a->sweeps; k++)
                for (int seed = 0; seed < a->seeds; seed++) {
                    int code = look(r, m, s, k, seed);
                    if (code) return code;
                }
    return 0;
}

/* The rates first, then the other seeds at the best of them; of a setting whose rates all diverged there are none. */
static int run_all(struct run *r) {
    const struct bl_ablation *a = r->a;
    int code = each(r, true, count_open);
    if (!code) code = each(r, false, count_open);
    const int swept = r->open;
    for (int m = 0; m < a->models; m++)
        for (int s = 0; s < a->settings; s++)
            if (bl_ablation_best(a, m, s) < 0) r->open += a->seeds - 1;
    const int all = a->models * a->settings * (a->sweeps + a->seeds - 1);
    if (r->open < all) bl_progress_line(NULL, "%d of %d cells are finished already", all - r->open, all);
    if (!code && swept) code = each(r, true, run_cell);
    return code ? code : each(r, false, run_cell);
}

/* --- the folder ------------------------------------------------------------------------------- */

/* What cells have in common is kept, so that none of another base is mixed in. */
static int keep_base(const struct bl_ablation *a, const char *out) {
    char *path = bl_format("%s/ablation.json", out);
    cJSON *kept = NULL;
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && bl_path_exists(path)) {
        code = bl_json_read(path, &kept);
        const cJSON *was = cJSON_GetObjectItemCaseSensitive(kept, "base"),
                    *is = cJSON_GetObjectItemCaseSensitive(a->json, "base");
        if (!code && (was || is) && !cJSON_Compare(was, is, true))
            code = bl_fail(BLANCH_EUSAGE, "%s has cells whose \"base\" was another than that of %s; give another --out",
                           out, a->path);
    }
    if (!code) code = bl_json_write(path, a->json);
    cJSON_Delete(kept);
    free(path);
    return code;
}

static int finish(const struct run *r, bool json, cJSON *given) {
    char *page = bl_format("%s/ablation.html", r->call->out);
    int code = page ? bl_ablation_page(r->a, r->call->out, page) : BLANCH_ENOMEM;
    if (!code && json)
        code = bl_print_json(bl_ablation_json(r->a, r->call->out, given));
    else
        cJSON_Delete(given);
    if (!code && !json) {
        bl_ablation_print(r->a);
        printf("%s\n", bl_shown(page));
    }
    free(page);
    return code;
}

int bl_ablation_run(const struct bl_ablation_call *call, cJSON *given, int *status) {
    struct bl_ablation *a = bl_calloc(1, sizeof *a);
    struct run r = {.a = a, .call = call, .status = status};
    struct bl_lock lock = {0};
    char *kept = bl_format("%s/ablation.json", call->out);
    int code = a && kept ? bl_ablation_read(a, call->path ? call->path : kept, call->data, call->steps) : BLANCH_ENOMEM;
    if (!code && !a->data && !call->show) code = bl_fail(BLANCH_EUSAGE, "--data is missing: %s has none", a->path);
    if (!code) code = each(&r, true, check);
    if (!code) code = look_at_all(&r);
    if (!code && !call->show) {
        code = bl_study_lock(&lock, call->out);
        if (!code) code = keep_base(a, call->out);
        if (!code) code = run_all(&r);
    }
    if (!code)
        code = finish(&r, call->json, given);
    else
        cJSON_Delete(given);
    bl_lock_release(&lock);
    for (int m = 0; m < BL_ABLATION_MODELS; m++) bl_model_free(r.model[m]);
    free(kept);
    if (a) bl_ablation_free(a);
    free(a);
    return code;
}
