/* A run's settings: defaults, config.json, resuming. */
#include "train/ranks.h"
#include "train/run.h"
#include "train/settings.h"
#include "train/about.h"
#include "base/private.h"
#include "io/document.h"
#include "io/files.h"
#include "io/json.h"
#include "optim/optim.h"
#include "train/blocks.h"
#include "train/open.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- reading config.json -------------------------------------------------------------------- */

static const struct bl_train_options nothing_given = BL_TRAIN_DEFAULT;

/* Where 0 says the same as leaving it out. */
static void fill_amounts(struct bl_train_options *o) {
    float *const amounts[] = {&o->network.ema, &o->network.loss.smoothing, &o->random_erase, &o->mixup, &o->cutmix};
    for (int i = 0; i < BL_COUNT(amounts); i++)
        if (isnan(*amounts[i])) *amounts[i] = 0;
}

static int read_whole(const cJSON *object, const char *key, int most, const char *path, int *value) {
    double number = bl_json_get(object, key);
    if (!(number >= 1 && number <= most) || number != floor(number))
        return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not a whole number from 1 to %d", path, key, most);
    *value = (int)number;
    return 0;
}

static int read_view(struct bl_run_config *config, const char *path) {
    const cJSON *json = cJSON_GetObjectItemCaseSensitive(config->json, "view");
    struct bl_network_options *network = &config->options.network;
    int code = read_whole(config->json, "classes", BL_MOST_CLASSES, path, &network->classes);
    if (!code) code = bl_view_read(&config->view, json, path);
    network->channels = config->view.channels;
    network->height = config->view.height;
    network->width = config->view.width;
    return code;
}

/* What the layers of a run have of their own. */
static int read_blocks(struct bl_run_config *config, const char *path) {
    const cJSON *blocks = cJSON_GetObjectItemCaseSensitive(config->json, "blocks");
    struct blanch_nd_options *nd = &config->options.network.nd;
    config->exact = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(config->json, "exact"));
    if (!blocks && nd->block == BL_BLOCK_AUTO) return bl_fail(BLANCH_EINPUT, "%s lacks \"blocks\"", path);
    int code = blocks ? bl_blocks_read(blocks, path, &config->layers, &nd->layers) : 0;
    nd->layer = config->layers;
    return code;
}

/* A text for every class. */
static int read_class_names(struct bl_run_config *config, const char *path) {
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(config->json, "class_names"), *name;
    if (!names) return 0; // of an early version
    bool right = cJSON_IsArray(names) && cJSON_GetArraySize(names) == config->options.network.classes;
    cJSON_ArrayForEach(name, names) right = right && cJSON_IsString(name);
    if (!right) return bl_fail(BLANCH_EINPUT, "%s: \"class_names\" does not name every class", path);
    config->class_name = names;
    config->class_names = config->options.network.classes;
    return 0;
}

static int read_settings(struct bl_run_config *config, const char *path) {
    config->options = nothing_given;
    for (int i = 0; bl_settings[i].key; i++) {
        const cJSON *item = bl_setting_find(config->json, &bl_settings[i]);
        int code = item ? bl_setting_read(&config->options, &bl_settings[i], item, path) : 0;
        if (code) return code;
    }
    struct bl_train_options *o = &config->options;
    fill_amounts(o);
    if (!o->network.optimiser) o->network.optimiser = bl_optimiser_list[0]->name; // of a run before there was a choice
    if (!o->precision) o->precision = bl_precision_name(BLANCH_FP32);             // likewise
    if (!o->network.model || !o->norm || !o->data || o->network.batch < 1)
        return bl_fail(BLANCH_EINPUT, "%s lacks \"model\", \"norm\", \"data\" or \"batch\"", path);
    int code = bl_norm_parse(o->norm, &o->network.norm);
    return code ? bl_fail_in(BLANCH_EINPUT, "%s", path) : 0;
}

/* A network that was read from a file stands in the directory too. */
static int read_network(struct bl_run_config *config, const char *dir) {
    char *path = bl_format("%s/network.json", dir);
    struct bl_network_options *network = &config->options.network;
    cJSON *json = NULL;
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && bl_path_exists(path)) {
        code = bl_json_read(path, &json);
        if (!code) code = bl_model_from_document(&config->model, network->model, json);
        if (code) bl_fail_in(code, "%s", path);
    }
    network->definition = config->model;
    free(path);
    return code;
}

int bl_run_read(struct bl_run_config *config, const char *dir) {
    *config = (struct bl_run_config){0};
    char *path = bl_format("%s/config.json", dir);
    if (!path) return BLANCH_ENOMEM;
    bl_folder_warn(dir);
    int code = bl_json_read(path, &config->json);
    if (!code) code = read_settings(config, path);
    if (!code) code = read_network(config, dir);
    if (!code) code = read_view(config, path);
    if (!code) code = read_class_names(config, path);
    if (!code) code = read_blocks(config, path);
    if (code) bl_run_release(config);
    free(path);
    return code;
}

void bl_run_release(struct bl_run_config *config) {
    cJSON_Delete(config->json);
    bl_model_free(config->model);
    free(config->layers);
    *config = (struct bl_run_config){0};
}

/* --- resolving ------------------------------------------------------------------------------- */

static void option_name(char name[32], const char *key) {
    snprintf(name, 32, "%s", key);
    for (char *c = name; *c; c++)
        if (*c == '_') *c = '-';
}

static int resume_settings(struct run *run, const struct bl_train_options *given) {
    int code = bl_run_read(&run->config, given->out);
    if (code) return bl_fail_in(code, "--resume");
    for (int i = 0; bl_settings[i].key; i++) {
        const struct bl_setting *s = &bl_settings[i];
        if (!bl_setting_given(given, s))
            bl_setting_copy(&run->o, &run->config.options, s);
        else if (!s->replaces && !bl_setting_equal(given, &run->config.options, s)) {
            char name[32];
            option_name(name, s->key);
            return bl_fail(BLANCH_EUSAGE, "--%s differs from the run's in %s/config.json; leave it out to resume", name,
                           given->out);
        }
    }
    run->o.network.definition = run->config.model; // the file may be gone by now, or another
    run->o.network.nd.layer = run->config.layers;
    run->o.network.nd.layers = run->config.options.network.nd.layers;
    if (given->epochs && !given->steps) run->o.steps = 0; // by epochs from now on
    return 0;
}

static void set_defaults(struct bl_train_options *o) {
    if (!o->network.batch) o->network.batch = 128;
    if (!o->epochs) o->epochs = 1;
    if (!o->network.optimiser) o->network.optimiser = bl_optimiser_list[0]->name;
    if (!o->schedule) o->schedule = "cosine";
    if (!o->precision) o->precision = bl_precision_name(BLANCH_FP32);
    if (o->network.seed == BL_SEED_DEFAULT) o->network.seed = 0;
    if (!o->record_every) o->record_every = 20;
    fill_amounts(o);
}

static int open_model(struct run *run) {
    struct bl_network_options *network = &run->o.network;
    int code = 0;
    if (network->definition)
        run->model = bl_model_hold(network->definition);
    else
        code = bl_model_open(&run->model, network->model);
    network->definition = run->model;
    return code;
}

/* What is of labels is no setting of a network that generates. */
static int check_task(const struct run *run) {
    const struct bl_train_options *o = &run->o;
    const bool generates = run->model->task == BL_GENERATE;
    if (o->task && generates != !strcmp(o->task, "generate"))
        return bl_fail(BLANCH_EUSAGE, "--task %s: %s is there to %s", o->task, run->model->name,
                       generates ? "generate" : "tell classes");
    if (!generates) return 0;
    const struct {
        const char *option;
        bool given;
    } of_labels[] = {{"class-weights", o->class_weights},
                     {"label-smoothing", o->network.loss.smoothing > 0},
                     {"mixup", o->mixup > 0},
                     {"cutmix", o->cutmix > 0},
                     {"expect-top1", o->expect_top1 > 0},
                     {"normalise", o->normalise && strcmp(o->normalise, "network") != 0}};
    for (int i = 0; i < BL_COUNT(of_labels); i++)
        if (of_labels[i].given)
            return bl_fail(BLANCH_EUSAGE, "--%s is nothing to %s, which generates images: leave it out",
                           of_labels[i].option, run->model->name);
    return 0;
}

static int resolve_budget(struct run *run) {
    run->budget = -1;
    int code = run->o.overhead_budget ? bl_budget_parse(run->o.overhead_budget, &run->budget) : 0;
    if (!code && run->budget < 0 && run->o.network.nd.block == BL_BLOCK_AUTO)
        code = bl_fail(BLANCH_EUSAGE, "--block auto chooses blocks that an overhead budget allows: give "
                                      "--overhead-budget P%% too");
    if (code || run->budget < 0) return code;
    if (bl_model_norm(run->model, run->o.network.norm) != BLANCH_ND)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget bounds network deconvolution: give --norm nd");
    if ((code = bl_model_check_budget(run->model))) return code;
    if (run->o.network.accumulate > 1)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget compares steps of one pass: leave --accumulate out");
    if (run->o.network.freeze_layers)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget compares steps of all layers: leave --freeze-layers out");
    if (run->o.network.nd.refresh)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget chooses when to refresh: leave --refresh out");
    return 0;
}

/* A run that was killed while it made its directory has no settings but those given. */
static bool is_recorded(const struct run *run, const struct bl_train_options *given) {
    bool all = (run->entered || run->lock.taken) && run->found == BL_FOUND_NOTHING && given->network.model &&
               given->data && given->norm;
    return given->resume && !all;
}

int bl_run_resolve(struct run *run, const struct bl_train_options *given) {
    run->o = *given;
    bool recorded = is_recorded(run, given);
    if (!given->norm && !recorded) run->o.norm = bl_norm_name(given->network.norm);
    int code = recorded ? resume_settings(run, given) : 0;
    if (code) return code;
    run->o.resume = run->found == BL_FOUND_CHECKPOINT;
    set_defaults(&run->o);
    if (!run->o.network.model) return bl_fail(BLANCH_EUSAGE, "--model is missing; `blanch models` lists the networks");
    if (run->o.keep && !run->o.save_every)
        return bl_fail(BLANCH_EUSAGE, "--keep is of what --save-every N saves: give it too");
    if (run->o.new_head && !run->o.init)
        return bl_fail(BLANCH_EUSAGE, "--new-head takes the weights of --init FILE but the classifier's: give it too");
    if (run->ranks && run->o.network.nd.block == BL_BLOCK_AUTO && !run->config.layers)
        return bl_fail(BLANCH_EUSAGE, "--block auto measures on one rank: give a block, or begin the run on one");
    if (run->o.sync_stats && run->o.validate && run->ranks)
        return bl_fail(BLANCH_EUSAGE, "--validate recomputes what one rank has: leave --sync-stats out");
    if (!run->o.data) return bl_fail(BLANCH_EUSAGE, "--data is missing: fashion-mnist, cifar10:DIR, folder:DIR, ...");
    if (run->o.network.seed > (1ull << 53)) return bl_fail(BLANCH_EUSAGE, "--seed goes up to 2^53");
    if ((code = bl_update_resolve(run->o.network.optimiser, &run->o.update))) return code;
    run->schedule.lr = run->o.update.lr;
    run->schedule.warmup = run->o.warmup, run->schedule.warmup_epochs = run->o.warmup_epochs;
    if ((code = bl_schedule_parse(&run->schedule, run->o.schedule))) return code;
    if ((code = bl_precision_parse(run->o.precision, &run->o.network.precision)) ||
        (code = bl_norm_parse(run->o.norm, &run->o.network.norm)) || (code = open_model(run)) ||
        (code = check_task(run)))
        return code;
    return resolve_budget(run);
}

/* --- the view -------------------------------------------------------------------------------- */

static int check_said(const struct run *run, const struct bl_view *said) {
    const int channels = run->o.network.channels;
    if (!run->o.init) return bl_fail(BLANCH_EUSAGE, "--normalise weights is that of --init FILE: give it too");
    if (!said->channels)
        return bl_fail(BLANCH_EUSAGE, "--normalise weights: %s does not say how its images were normalised",
                       run->o.init);
    if (said->channels == channels) return 0;
    return bl_fail(BLANCH_EUSAGE, "--normalise weights: %s is of images of %d channels, and the network takes %d",
                   run->o.init, said->channels, channels);
}

/* What a network that generates makes is turned back to pixels. */
static int choose_own_view(struct run *run) {
    const char *chosen = "none";
    int code = bl_view_choose(&run->view, run->data, &run->o.network, run->o.augment, &chosen);
    run->o.normalise = "network";
    for (int c = 0; c < run->view.channels; c++)
        run->view.mean[c] = run->model->mean, run->view.deviation[c] = run->model->deviation;
    return code;
}

int bl_run_choose_view(struct run *run) {
    if (run->model->task == BL_GENERATE) return choose_own_view(run);
    const char *name = run->o.normalise;
    const bool asked = name && !strcmp(name, "weights");
    struct bl_about_said said = {0};
    int code = run->o.init && (!name || asked) ? bl_about_said_read(&said, run->o.init) : 0;
    cJSON_Delete(said.class_names);
    if (!code && asked) code = check_said(run, &said.view);
    const bool taken = said.view.channels && said.view.channels == run->o.network.channels;
    const char *chosen = taken ? "none" : name;
    if (!code) code = bl_view_choose(&run->view, run->data, &run->o.network, run->o.augment, &chosen);
    if (code) return code;
    run->o.normalise = taken ? "weights" : chosen;
    if (!taken) return 0;
    memcpy(run->view.mean, said.view.mean, sizeof run->view.mean);
    memcpy(run->view.deviation, said.view.deviation, sizeof run->view.deviation);
    return 0;
}

/* --- writing config.json -------------------------------------------------------------------- */

static cJSON *device_json(const struct blanch_device_info *info) {
    static const char *const kinds[] = {
        [BLANCH_CPU] = "cpu", [BLANCH_GPU] = "gpu", [BLANCH_ACCELERATOR] = "accelerator"};
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", info->name);
    cJSON_AddStringToObject(json, "kind", kinds[info->kind]);
    cJSON_AddStringToObject(json, "platform", info->platform_name);
    cJSON_AddStringToObject(json, "version", info->version);
    cJSON_AddStringToObject(json, "driver", info->driver);
    cJSON_AddNumberToObject(json, "compute_units", info->compute_units);
    return json;
}

static int classes_of(const struct run *run) {
    return bl_dataset_classes(run->data);
}

static cJSON *class_names(const struct run *run) {
    cJSON *names = cJSON_CreateArray();
    for (int i = 0; i < bl_dataset_classes(run->data); i++) {
        const char *name = bl_dataset_class_name(run->data, i);
        cJSON_AddItemToArray(names, cJSON_CreateString(name ? name : ""));
    }
    return names;
}

static bool is_set(const struct bl_train_options *o, const struct bl_setting *s) {
    return bl_setting_given(o, s) && bl_setting_used(o, s);
}

int bl_run_check_former(const struct run *run) {
    const struct bl_train_options *former = &run->former.options;
    for (int i = 0; run->former.json && bl_settings[i].key; i++) {
        const struct bl_setting *s = &bl_settings[i];
        bool set = is_set(&run->o, s);
        if (s->replaces || (set == is_set(former, s) && (!set || bl_setting_equal(&run->o, former, s)))) continue;
        char name[32];
        option_name(name, s->key);
        return bl_fail(BLANCH_EUSAGE,
                       "%s holds a run with another --%s, stopped before its first checkpoint; give another "
                       "--out",
                       run->o.out, name);
    }
    return 0;
}

cJSON *bl_run_settings(const struct run *run) {
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; bl_settings[i].key; i++)
        if (bl_setting_given(&run->o, &bl_settings[i]) && bl_setting_used(&run->o, &bl_settings[i]))
            cJSON_AddItemToObject(json, bl_settings[i].key, bl_setting_json(&run->o, &bl_settings[i]));
    return json;
}

/* The settings stand at the top too, where files of format 1 have them. */
cJSON *bl_run_config_json(const struct run *run) {
    char hash[17] = "";
    cJSON *asked = bl_run_settings(run), *json = bl_document("train", blanch_device_info(run->dev), asked);
    for (const cJSON *item = asked ? asked->child : NULL; item; item = item->next)
        if (!cJSON_GetObjectItem(json, item->string))
            cJSON_AddItemToObject(json, item->string, cJSON_Duplicate(item, true));
    cJSON_AddNumberToObject(json, "classes", run->net->options.classes);
    cJSON_AddItemToObject(json, "view", bl_view_json(&run->view));
    cJSON_AddItemToObject(json, "device_info", device_json(blanch_device_info(run->dev)));
    cJSON_AddNumberToObject(json, "parameters", (double)bl_graph_trainable(run->net->graph));
    if (bl_network_hash(run->net, hash)) return cJSON_Delete(json), NULL;
    cJSON_AddStringToObject(json, "network_hash", hash);
    cJSON_AddNumberToObject(json, "steps_per_epoch", (double)run->batches);
    cJSON *ranks = bl_run_ranks_json(run);
    if (ranks) cJSON_AddItemToObject(json, "ranks", ranks);
    if (ranks) cJSON_AddStringToObject(json, "mpi", run->ranks->library);
    cJSON *engines = bl_tuner_choices(run->dev), *blocks = bl_blocks_json(run->net->graph);
    if (blocks) cJSON_AddItemToObject(json, "blocks", blocks);
    if (blocks) cJSON_AddBoolToObject(json, "exact", run->exact);
    if (engines) cJSON_AddItemToObject(json, "engines", engines);
    if (run->class_weight)
        cJSON_AddItemToObject(json, "class_weight", cJSON_CreateFloatArray(run->class_weight, classes_of(run)));
    cJSON_AddItemToObject(json, "class_names", class_names(run));
    cJSON_AddItemToObject(json, "data_found", bl_run_data_json(run->data));
    return json;
}
