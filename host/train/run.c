/* A run's settings: defaults, config.json, resuming. */
#include "train/run.h"
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

/* --- settings ------------------------------------------------------------------------------- */

enum kind { TEXT, INT, INT64, UINT64, SEED, FLOAT, AMOUNT, FLAG, WORD }; // of an AMOUNT, a float, 0 is not given
struct word { // a number that users write as text; where it has a range, as a number too
    int (*parse)(const char *text, int *value);
    void (*print)(int value, char text[24]);
};
static int parse_block(const char *text, int *block) {
    *block = BL_BLOCK_AUTO;
    return strcmp(text, "auto") ? bl_fail(BLANCH_EUSAGE, "--block takes auto or a number, not '%s'", text) : 0;
}
static void print_block(int block, char text[24]) {
    strcpy(text, "auto");
}
static const struct word whiten = {bl_whiten_parse, bl_whiten_text},
                         cov_samples = {bl_cov_samples_parse, bl_cov_samples_text}, block = {parse_block, print_block};
struct setting {
    const char *key; // in config.json; the option's name with _ for -
    enum kind kind;
    bool replaces; // may differ when a run is resumed
    size_t offset;
    double least, most; // of a number; 0 is not given
    const struct word *word;
};
#define AT(field) offsetof(struct bl_train_options, field)
static const struct setting settings[] = {
    {"model", TEXT, false, AT(network.model)},
    {"norm", TEXT, false, AT(norm)},
    {"data", TEXT, false, AT(data)},
    {"size", TEXT, false, AT(size)},
    {"batch", INT, false, AT(network.batch), 0, 1 << 20},
    {"epochs", INT, true, AT(epochs), 0, 1e6},
    {"steps", INT64, true, AT(steps), 0, 1e12},
    {"optimiser", TEXT, false, AT(network.optimiser)},
    {"lr", FLOAT, false, AT(update.lr), 0, 1e6},
    {"schedule", TEXT, false, AT(schedule)},
    {"warmup", INT64, false, AT(warmup), 0, 1e12},
    {"warmup_epochs", AMOUNT, false, AT(warmup_epochs), 0, 1e6},
    {"ema", AMOUNT, false, AT(network.ema), 0, 1},
    {"no_decay", TEXT, false, AT(network.no_decay)},
    {"freeze_layers", TEXT, false, AT(network.freeze_layers)},
    {"clip_grad_norm", AMOUNT, false, AT(update.clip_grad_norm), 0, 1e30},
    {"label_smoothing", AMOUNT, false, AT(network.loss.smoothing), 0, 1},
    {"momentum", FLOAT, false, AT(update.momentum), 0, 1},
    {"nesterov", FLAG, false, AT(update.nesterov)},
    {"weight_decay", FLOAT, false, AT(update.weight_decay), 0, 1e6},
    {"beta1", FLOAT, false, AT(update.beta1), 0, 1},
    {"beta2", FLOAT, false, AT(update.beta2), 0, 1},
    {"eps", FLOAT, false, AT(update.eps), 0, 1e6},
    {"seed", SEED, false, AT(network.seed), 0, 0x1p53},
    {"init", TEXT, false, AT(init)},
    {"new_head", FLAG, false, AT(new_head)},
    {"augment", TEXT, false, AT(augment)},
    {"normalise", TEXT, false, AT(normalise)},
    {"val_split", TEXT, false, AT(val_split)},
    {"split_file", TEXT, false, AT(split_file)},
    {"cache", TEXT, true, AT(cache)},
    {"drop_last", FLAG, false, AT(drop_last)},
    {"tensorboard", TEXT, true, AT(tensorboard)},
    {"recompute", INT, true, AT(network.recompute), -1, BL_MAX_SEGMENTS},
    {"device", TEXT, true, AT(device)},
    {"max_alloc", UINT64, true, AT(max_alloc), 0, 9e18},
    {"block", WORD, false, AT(network.nd.block), 0, 4096, &block},
    {"nd_iter", INT, false, AT(network.nd.iterations), 0, 64},
    {"nd_eps", FLOAT, false, AT(network.nd.eps), 0, 1e3},
    {"nd_momentum", FLOAT, false, AT(network.nd.momentum), 0, 1},
    {"sampling_stride", INT, false, AT(network.nd.sampling_stride), 0, 64},
    {"whiten", WORD, false, AT(network.nd.whiten), .word = &whiten},
    {"cov_samples", WORD, false, AT(network.nd.cov_samples), .word = &cov_samples},
    {"block_fc", INT, false, AT(network.nd.block_fc), 0, 4096},
    {"refresh", INT, false, AT(network.nd.refresh), 0, 1e6},
    {"overhead_budget", TEXT, false, AT(overhead_budget)},
    {"constant_gradient", INT, false, AT(network.nd.constant_gradient), 0, 1},
    {"channel_deconv", INT, false, AT(network.nd.channel_deconv), 0, 4096},
    {"freeze", INT, false, AT(network.nd.freeze), -1, 1},
};

static void *field(struct bl_train_options *options, const struct setting *s) {
    return (char *)options + s->offset;
}
static const void *field_of(const struct bl_train_options *options, const struct setting *s) {
    return (const char *)options + s->offset;
}
static const char *text_of(const struct bl_train_options *o, const struct setting *s) {
    return *(const char *const *)field_of(o, s);
}
static float float_of(const struct bl_train_options *o, const struct setting *s) {
    return *(const float *)field_of(o, s);
}

static bool is_given(const struct bl_train_options *o, const struct setting *s) {
    switch (s->kind) {
    case TEXT:
        return text_of(o, s) != NULL;
    case INT:
    case WORD:
        return *(const int *)field_of(o, s) != 0;
    case SEED:
        return *(const uint64_t *)field_of(o, s) != BL_SEED_DEFAULT;
    case FLOAT:
        return !isnan(float_of(o, s));
    case AMOUNT:
        return float_of(o, s) != 0;
    case FLAG:
        return *(const bool *)field_of(o, s);
    default:
        return *(const int64_t *)field_of(o, s) != 0;
    }
}

static bool is_equal(const struct bl_train_options *a, const struct bl_train_options *b, const struct setting *s) {
    switch (s->kind) {
    case TEXT:
        return text_of(b, s) && !strcmp(text_of(a, s), text_of(b, s));
    case INT:
    case WORD:
        return *(const int *)field_of(a, s) == *(const int *)field_of(b, s);
    case FLOAT:
    case AMOUNT:
        return float_of(a, s) == float_of(b, s);
    case FLAG:
        return *(const bool *)field_of(a, s) == *(const bool *)field_of(b, s);
    default:
        return *(const uint64_t *)field_of(a, s) == *(const uint64_t *)field_of(b, s);
    }
}

static void copy_setting(struct bl_train_options *to, const struct bl_train_options *from, const struct setting *s) {
    switch (s->kind) {
    case TEXT:
        *(const char **)field(to, s) = text_of(from, s);
        break;
    case INT:
    case WORD:
        *(int *)field(to, s) = *(const int *)field_of(from, s);
        break;
    case FLOAT:
    case AMOUNT:
        *(float *)field(to, s) = float_of(from, s);
        break;
    case FLAG:
        *(bool *)field(to, s) = *(const bool *)field_of(from, s);
        break;
    default:
        *(uint64_t *)field(to, s) = *(const uint64_t *)field_of(from, s);
    }
}

static cJSON *setting_json(const struct bl_train_options *o, const struct setting *s) {
    char text[24];
    switch (s->kind) {
    case WORD:
        if (s->most > 0 && *(const int *)field_of(o, s) > 0) return cJSON_CreateNumber(*(const int *)field_of(o, s));
        s->word->print(*(const int *)field_of(o, s), text);
        return cJSON_CreateString(text);
    case TEXT:
        return cJSON_CreateString(text_of(o, s));
    case INT:
        return cJSON_CreateNumber(*(const int *)field_of(o, s));
    case FLOAT:
    case AMOUNT:
        return bl_json_float(float_of(o, s));
    case FLAG:
        return cJSON_CreateBool(*(const bool *)field_of(o, s));
    default:
        return cJSON_CreateNumber((double)*(const uint64_t *)field_of(o, s));
    }
}

static int check_setting(const struct setting *s, const cJSON *item, const char *path) {
    const bool fraction = s->kind == FLOAT || s->kind == AMOUNT;
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (s->kind == TEXT || (s->kind == WORD && (!(s->most > 0) || cJSON_IsString(item))))
        return cJSON_IsString(item) ? 0 : bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not a text", path, s->key);
    if (s->kind == FLAG)
        return cJSON_IsBool(item) ? 0 : bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not true or false", path, s->key);
    if (value >= s->least && value <= s->most && (fraction || value == floor(value))) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not a %snumber from %.0f to %.10g", path, s->key,
                   fraction ? "" : "whole ", s->least, s->most);
}

static int read_setting(struct bl_train_options *o, const struct setting *s, const cJSON *item, const char *path) {
    int code = check_setting(s, item, path);
    if (code) return code;
    switch (s->kind) {
    case WORD:
        if (cJSON_IsNumber(item)) return *(int *)field(o, s) = (int)item->valuedouble, 0;
        code = s->word->parse(item->valuestring, field(o, s));
        return code ? bl_fail_in(BLANCH_EINPUT, "%s", path) : 0;
    case TEXT:
        *(const char **)field(o, s) = item->valuestring;
        break;
    case INT:
        *(int *)field(o, s) = (int)item->valuedouble;
        break;
    case FLOAT:
    case AMOUNT:
        *(float *)field(o, s) = (float)item->valuedouble;
        break;
    case FLAG:
        *(bool *)field(o, s) = cJSON_IsTrue(item);
        break;
    default:
        *(uint64_t *)field(o, s) = (uint64_t)item->valuedouble;
    }
    return 0;
}

/* --- of a network alone ----------------------------------------------------------------------- */

/* Of how it computes; when to refresh is training's. */
static bool is_of_network(const struct setting *s) {
    return s->offset >= AT(network.nd) && s->offset < AT(network.nd) + sizeof(struct blanch_nd_options) &&
           s->offset != AT(network.nd.refresh);
}

cJSON *bl_network_settings(const struct bl_network_options *network) {
    struct bl_train_options o = {.network = *network};
    if (o.network.nd.layers) o.network.nd.block = o.network.nd.cov_samples = 0; // the layers have their own
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < BL_COUNT(settings); i++)
        if (is_of_network(&settings[i]) && is_given(&o, &settings[i]))
            cJSON_AddItemToObject(json, settings[i].key, setting_json(&o, &settings[i]));
    return json;
}

int bl_network_settings_read(struct bl_network_options *network, const cJSON *json, const char *path) {
    struct bl_train_options o = {.network = *network};
    int code = 0;
    for (int i = 0; i < BL_COUNT(settings) && !code; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, settings[i].key);
        if (item && is_of_network(&settings[i])) code = read_setting(&o, &settings[i], item, path);
    }
    *network = o.network;
    return code;
}

/* --- reading config.json -------------------------------------------------------------------- */

static const struct bl_train_options nothing_given = {
    .network = {.nd = {.eps = NAN, .momentum = NAN}, .seed = BL_SEED_DEFAULT},
    .update = BL_UPDATE_DEFAULT,
};

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
    const cJSON *asked = cJSON_GetObjectItemCaseSensitive(config->json, "settings");
    config->options = nothing_given;
    for (int i = 0; i < BL_COUNT(settings); i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(config->json, settings[i].key);
        if (!item || cJSON_IsObject(item)) // "device" is the device itself at the top
            item = cJSON_GetObjectItemCaseSensitive(asked, settings[i].key);
        int code = item ? read_setting(&config->options, &settings[i], item, path) : 0;
        if (code) return code;
    }
    struct bl_train_options *o = &config->options;
    if (!o->network.optimiser) o->network.optimiser = bl_optimiser_list[0]->name; // of a run before there was a choice
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
    for (int i = 0; i < BL_COUNT(settings); i++) {
        const struct setting *s = &settings[i];
        if (!is_given(given, s))
            copy_setting(&run->o, &run->config.options, s);
        else if (!s->replaces && !is_equal(given, &run->config.options, s)) {
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
    if (o->network.seed == BL_SEED_DEFAULT) o->network.seed = 0;
    if (!o->record_every) o->record_every = 20;
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
    if (run->o.network.freeze_layers)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget compares steps of all layers: leave --freeze-layers out");
    if (run->o.network.nd.refresh)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget chooses when to refresh: leave --refresh out");
    return 0;
}

/* A run that was killed while it made its directory has no settings but those given. */
static bool is_recorded(const struct run *run, const struct bl_train_options *given) {
    bool all = run->lock.taken && run->found == BL_FOUND_NOTHING && given->network.model && given->data && given->norm;
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
    if (run->o.new_head && !run->o.init)
        return bl_fail(BLANCH_EUSAGE, "--new-head takes the weights of --init FILE but the classifier's: give it too");
    if (!run->o.data) return bl_fail(BLANCH_EUSAGE, "--data is missing: fashion-mnist, cifar10:DIR, folder:DIR, ...");
    if (run->o.network.seed > (1ull << 53)) return bl_fail(BLANCH_EUSAGE, "--seed goes up to 2^53");
    if ((code = bl_update_resolve(run->o.network.optimiser, &run->o.update))) return code;
    run->schedule.lr = run->o.update.lr;
    run->schedule.warmup = run->o.warmup, run->schedule.warmup_epochs = run->o.warmup_epochs;
    if ((code = bl_schedule_parse(&run->schedule, run->o.schedule))) return code;
    if ((code = bl_norm_parse(run->o.norm, &run->o.network.norm)) || (code = open_model(run))) return code;
    return resolve_budget(run);
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

static cJSON *class_names(const struct run *run) {
    cJSON *names = cJSON_CreateArray();
    for (int i = 0; i < bl_dataset_classes(run->data); i++) {
        const char *name = bl_dataset_class_name(run->data, i);
        cJSON_AddItemToArray(names, cJSON_CreateString(name ? name : ""));
    }
    return names;
}

/* Not what the optimiser has no use for: 0 by its defaults, and still. */
static bool is_used(const struct bl_train_options *o, const struct setting *s) {
    struct bl_train_options defaults = {.update.size = sizeof defaults.update};
    bool of_update = s->offset >= AT(update) && s->offset < AT(update) + sizeof o->update;
    if (s->kind != FLOAT || !of_update || float_of(o, s) != 0) return true;
    return !blanch_update_defaults(o->network.optimiser, &defaults.update) && float_of(&defaults, s) != 0;
}

static bool is_set(const struct bl_train_options *o, const struct setting *s) {
    return is_given(o, s) && is_used(o, s);
}

int bl_run_check_former(const struct run *run) {
    const struct bl_train_options *former = &run->former.options;
    for (int i = 0; run->former.json && i < BL_COUNT(settings); i++) {
        const struct setting *s = &settings[i];
        bool set = is_set(&run->o, s);
        if (s->replaces || (set == is_set(former, s) && (!set || is_equal(&run->o, former, s)))) continue;
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
    for (int i = 0; i < BL_COUNT(settings); i++)
        if (is_given(&run->o, &settings[i]) && is_used(&run->o, &settings[i]))
            cJSON_AddItemToObject(json, settings[i].key, setting_json(&run->o, &settings[i]));
    return json;
}

/* The settings stand at the top too, where files of format 1 have them. */
cJSON *bl_run_config_json(const struct run *run) {
    cJSON *asked = bl_run_settings(run), *json = bl_document("train", 2, blanch_device_info(run->dev), asked);
    for (const cJSON *item = asked ? asked->child : NULL; item; item = item->next)
        if (!cJSON_GetObjectItem(json, item->string))
            cJSON_AddItemToObject(json, item->string, cJSON_Duplicate(item, true));
    cJSON_AddNumberToObject(json, "classes", run->net->options.classes);
    cJSON_AddItemToObject(json, "view", bl_view_json(&run->view));
    cJSON_AddItemToObject(json, "device_info", device_json(blanch_device_info(run->dev)));
    cJSON_AddNumberToObject(json, "parameters", (double)bl_graph_trainable(run->net->graph));
    cJSON_AddNumberToObject(json, "steps_per_epoch", (double)run->batches);
    cJSON *engines = bl_tuner_choices(run->dev), *blocks = bl_blocks_json(run->net->graph);
    if (blocks) cJSON_AddItemToObject(json, "blocks", blocks);
    if (blocks) cJSON_AddBoolToObject(json, "exact", run->exact);
    if (engines) cJSON_AddItemToObject(json, "engines", engines);
    cJSON_AddItemToObject(json, "class_names", class_names(run));
    cJSON_AddItemToObject(json, "data_found", bl_run_data_json(run->data));
    return json;
}
