/* A run's settings and its directory: defaults, config.json, resuming. */
#include "train/run.h"
#include "io/document.h"
#include "io/files.h"
#include "optim/optim.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- settings ------------------------------------------------------------------------------- */

enum kind { TEXT, INT, INT64, UINT64, SEED, FLOAT, FLAG };
struct setting {
    const char *key; // in config.json; the option's name with _ for -
    enum kind kind;
    bool replaces; // may differ when a run is resumed
    size_t offset;
};
#define AT(field) offsetof(struct bl_train_options, field)
static const struct setting settings[] = {
    {"model", TEXT, false, AT(network.model)},
    {"norm", TEXT, false, AT(norm)},
    {"data", TEXT, false, AT(data)},
    {"batch", INT, false, AT(network.batch)},
    {"epochs", INT, true, AT(epochs)},
    {"steps", INT64, true, AT(steps)},
    {"optimiser", TEXT, false, AT(network.optimiser)},
    {"lr", FLOAT, false, AT(update.lr)},
    {"schedule", TEXT, false, AT(schedule)},
    {"momentum", FLOAT, false, AT(update.momentum)},
    {"nesterov", FLAG, false, AT(update.nesterov)},
    {"weight_decay", FLOAT, false, AT(update.weight_decay)},
    {"beta1", FLOAT, false, AT(update.beta1)},
    {"beta2", FLOAT, false, AT(update.beta2)},
    {"eps", FLOAT, false, AT(update.eps)},
    {"seed", SEED, false, AT(network.seed)},
    {"init", TEXT, false, AT(init)},
    {"augment", TEXT, false, AT(augment)},
    {"recompute", INT, true, AT(network.recompute)},
    {"device", TEXT, true, AT(device)},
    {"max_alloc", UINT64, true, AT(max_alloc)},
    {"block", INT, false, AT(network.nd.block)},
    {"nd_iter", INT, false, AT(network.nd.iterations)},
    {"nd_eps", FLOAT, false, AT(network.nd.eps)},
    {"nd_momentum", FLOAT, false, AT(network.nd.momentum)},
    {"sampling_stride", INT, false, AT(network.nd.sampling_stride)},
    {"block_fc", INT, false, AT(network.nd.block_fc)},
    {"refresh", INT, false, AT(network.nd.refresh)},
    {"overhead_budget", TEXT, false, AT(overhead_budget)},
    {"constant_gradient", INT, false, AT(network.nd.constant_gradient)},
    {"channel_deconv", INT, false, AT(network.nd.channel_deconv)},
    {"freeze", INT, false, AT(network.nd.freeze)},
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
        return *(const int *)field_of(o, s) != 0;
    case SEED:
        return *(const uint64_t *)field_of(o, s) != BL_SEED_DEFAULT;
    case FLOAT:
        return !isnan(float_of(o, s));
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
        return *(const int *)field_of(a, s) == *(const int *)field_of(b, s);
    case FLOAT:
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
        *(int *)field(to, s) = *(const int *)field_of(from, s);
        break;
    case FLOAT:
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
    switch (s->kind) {
    case TEXT:
        return cJSON_CreateString(text_of(o, s));
    case INT:
        return cJSON_CreateNumber(*(const int *)field_of(o, s));
    case FLOAT:
        return bl_json_float(float_of(o, s));
    case FLAG:
        return cJSON_CreateBool(*(const bool *)field_of(o, s));
    default:
        return cJSON_CreateNumber((double)*(const uint64_t *)field_of(o, s));
    }
}

static int read_setting(struct bl_train_options *o, const struct setting *s, const cJSON *item, const char *path) {
    const char *wanted = s->kind == TEXT ? "a text" : s->kind == FLAG ? "true or false" : "a number";
    bool right = s->kind == TEXT ? cJSON_IsString(item) : s->kind == FLAG ? cJSON_IsBool(item) : cJSON_IsNumber(item);
    if (!right) return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not %s", path, s->key, wanted);
    switch (s->kind) {
    case TEXT:
        *(const char **)field(o, s) = item->valuestring;
        break;
    case INT:
        *(int *)field(o, s) = item->valueint;
        break;
    case FLOAT:
        *(float *)field(o, s) = (float)item->valuedouble;
        break;
    case FLAG:
        *(bool *)field(o, s) = cJSON_IsTrue(item);
        break;
    default:
        *(uint64_t *)field(o, s) = item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
    }
    return 0;
}

/* --- reading config.json -------------------------------------------------------------------- */

static const struct bl_train_options nothing_given = {
    .network = {.nd = {.eps = NAN, .momentum = NAN}, .seed = BL_SEED_DEFAULT},
    .update = BL_UPDATE_DEFAULT,
};

static void read_three(const cJSON *array, float out[3]) {
    for (int i = 0; i < 3; i++) {
        const cJSON *item = cJSON_GetArrayItem(array, i);
        out[i] = cJSON_IsNumber(item) ? (float)item->valuedouble : 0;
    }
}

static int read_view(struct bl_run_config *config, const char *path) {
    const cJSON *view = cJSON_GetObjectItem(config->json, "view"), *augment = cJSON_GetObjectItem(view, "augment");
    const cJSON *channels = cJSON_GetObjectItem(view, "channels"), *size = cJSON_GetObjectItem(view, "size");
    const cJSON *classes = cJSON_GetObjectItem(config->json, "classes");
    if (!cJSON_IsString(augment) || !cJSON_IsNumber(channels) || !cJSON_IsNumber(size) || !cJSON_IsNumber(classes))
        return bl_fail(BLANCH_EINPUT, "%s lacks \"classes\" or a part of \"view\"", path);
    if (channels->valueint < 1 || channels->valueint > 3 || size->valueint < 1 || classes->valueint < 1)
        return bl_fail(BLANCH_EINPUT, "%s: \"classes\", \"channels\" or \"size\" is out of range", path);
    config->view.channels = config->options.network.channels = channels->valueint;
    config->view.size = config->options.network.height = config->options.network.width = size->valueint;
    config->options.network.classes = classes->valueint;
    read_three(cJSON_GetObjectItem(view, "mean"), config->view.mean);
    read_three(cJSON_GetObjectItem(view, "deviation"), config->view.deviation);
    return bl_augment_parse(augment->valuestring, &config->view.augment);
}

static int read_settings(struct bl_run_config *config, const char *path) {
    config->options = nothing_given;
    for (int i = 0; i < BL_COUNT(settings); i++) {
        const cJSON *item = cJSON_GetObjectItem(config->json, settings[i].key);
        if (!item || cJSON_IsObject(item)) // "device" is the device itself at the top
            item = cJSON_GetObjectItem(cJSON_GetObjectItem(config->json, "settings"), settings[i].key);
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

int bl_run_read(struct bl_run_config *config, const char *dir) {
    *config = (struct bl_run_config){0};
    char *path = bl_format("%s/config.json", dir);
    if (!path) return BLANCH_ENOMEM;
    int code = bl_json_read(path, &config->json);
    if (!code) code = read_settings(config, path);
    if (!code) code = read_view(config, path);
    if (!code) {
        config->class_name = cJSON_GetObjectItem(config->json, "class_names");
        config->class_names = cJSON_GetArraySize(config->class_name);
    } else
        bl_run_release(config);
    free(path);
    return code;
}

void bl_run_release(struct bl_run_config *config) {
    cJSON_Delete(config->json);
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

static int resolve_budget(struct run *run) {
    run->budget = -1;
    if (!run->o.overhead_budget) return 0;
    int code = bl_budget_parse(run->o.overhead_budget, &run->budget);
    if (code || run->budget < 0) return code;
    if (run->o.network.norm != BLANCH_ND)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget bounds network deconvolution: give --norm nd");
    if (run->o.network.nd.refresh)
        return bl_fail(BLANCH_EUSAGE, "--overhead-budget chooses when to refresh: leave --refresh out");
    return 0;
}

int bl_run_resolve(struct run *run, const struct bl_train_options *given) {
    run->o = *given;
    if (!given->out) return bl_fail(BLANCH_EUSAGE, "--out is missing: the run's directory");
    if (!given->norm && !given->resume) run->o.norm = bl_norm_name(given->network.norm);
    int code = given->resume ? resume_settings(run, given) : 0;
    if (code) return code;
    set_defaults(&run->o);
    if (!run->o.network.model) return bl_fail(BLANCH_EUSAGE, "--model is missing; `blanch models` lists the networks");
    if (!run->o.data) return bl_fail(BLANCH_EUSAGE, "--data is missing: fashion-mnist, cifar10:DIR, folder:DIR, ...");
    if (run->o.network.seed > (1ull << 53)) return bl_fail(BLANCH_EUSAGE, "--seed goes up to 2^53");
    if ((code = bl_update_resolve(run->o.network.optimiser, &run->o.update))) return code;
    run->schedule.lr = run->o.update.lr;
    if ((code = bl_schedule_parse(&run->schedule, run->o.schedule))) return code;
    if ((code = bl_norm_parse(run->o.norm, &run->o.network.norm))) return code;
    return resolve_budget(run);
}

/* --- the directory -------------------------------------------------------------------------- */

/* 1: it has entries; 0: it is empty or does not exist; negative: it cannot be looked at. */
static int directory_used(const char *path) {
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return 0;
    if (!dir) return bl_fail(BLANCH_EUSAGE, "--out %s: %s", path, strerror(errno));
    int used = 0;
    for (struct dirent *entry; !used && (entry = readdir(dir));)
        used = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return used;
}

int bl_run_check_directory(const struct bl_train_options *options) {
    if (!options->out) return bl_fail(BLANCH_EUSAGE, "--out is missing: the run's directory");
    if (options->resume) return 0;
    int used = directory_used(options->out);
    if (used > 0)
        return bl_fail(BLANCH_EUSAGE, "%s exists and is not empty; continue it with --resume or give another --out",
                       options->out);
    return used;
}

static cJSON *view_json(const struct bl_view *view) {
    cJSON *json = cJSON_CreateObject(), *mean = cJSON_CreateArray(), *deviation = cJSON_CreateArray();
    cJSON_AddNumberToObject(json, "channels", view->channels);
    cJSON_AddNumberToObject(json, "size", view->size);
    cJSON_AddStringToObject(json, "augment", bl_augment_name(view->augment));
    for (int c = 0; c < view->channels; c++) {
        cJSON_AddItemToArray(mean, bl_json_float(view->mean[c]));
        cJSON_AddItemToArray(deviation, bl_json_float(view->deviation[c]));
    }
    cJSON_AddItemToObject(json, "mean", mean);
    cJSON_AddItemToObject(json, "deviation", deviation);
    return json;
}

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
    struct bl_train_options defaults = {0};
    bool of_update = s->offset >= AT(update) && s->offset < AT(update) + sizeof o->update;
    if (s->kind != FLOAT || !of_update || float_of(o, s) != 0) return true;
    return !blanch_update_defaults(o->network.optimiser, &defaults.update) && float_of(&defaults, s) != 0;
}

cJSON *bl_run_settings(const struct run *run) {
    cJSON *json = cJSON_CreateObject();
    for (int i = 0; i < BL_COUNT(settings); i++)
        if (is_given(&run->o, &settings[i]) && is_used(&run->o, &settings[i]))
            cJSON_AddItemToObject(json, settings[i].key, setting_json(&run->o, &settings[i]));
    return json;
}

/* The settings stand at the top too, where files of format 1 have them. */
static cJSON *config_json(const struct run *run) {
    cJSON *asked = bl_run_settings(run), *json = bl_document("train", 2, blanch_device_info(run->dev), asked);
    for (const cJSON *item = asked ? asked->child : NULL; item; item = item->next)
        if (!cJSON_GetObjectItem(json, item->string))
            cJSON_AddItemToObject(json, item->string, cJSON_Duplicate(item, true));
    cJSON_AddNumberToObject(json, "classes", run->net->options.classes);
    cJSON_AddItemToObject(json, "view", view_json(&run->view));
    cJSON_AddItemToObject(json, "device_info", device_json(blanch_device_info(run->dev)));
    cJSON_AddNumberToObject(json, "parameters", (double)bl_graph_trainable(run->net->graph));
    cJSON_AddNumberToObject(json, "steps_per_epoch", (double)run->batches);
    cJSON *engines = bl_tuner_choices(run->dev);
    if (engines) cJSON_AddItemToObject(json, "engines", engines);
    cJSON_AddItemToObject(json, "class_names", class_names(run));
    return json;
}

static bool line_is_done(const cJSON *line, const struct bl_position *position) {
    const cJSON *type = cJSON_GetObjectItem(line, "type"), *step = cJSON_GetObjectItem(line, "step");
    const cJSON *epoch = cJSON_GetObjectItem(line, "epoch");
    if (!cJSON_IsString(type)) return false;
    if (strcmp(type->valuestring, "epoch")) return cJSON_IsNumber(step) && step->valuedouble <= (double)position->step;
    return cJSON_IsNumber(epoch) && epoch->valuedouble <= (double)position->epoch;
}

/* A run that stopped without a checkpoint has logged steps that are going to be made again. */
static int prune_log(const struct run *run) {
    char *text = NULL, *to;
    size_t size;
    if (!bl_path_exists(run->log_path)) return 0;
    int code = bl_file_read(run->log_path, &text, &size);
    if (code) return code;
    to = text;
    for (char *line = text, *end; !code && *line && (end = strchr(line, '\n')); line = end + 1) {
        cJSON *json = cJSON_ParseWithLength(line, (size_t)(end - line));
        if (!json) code = bl_memory_lacked();
        if (json && line_is_done(json, &run->position)) {
            memmove(to, line, (size_t)(end + 1 - line));
            to += end + 1 - line;
        }
        cJSON_Delete(json);
    }
    if (!code) code = bl_file_write(run->log_path, text, (size_t)(to - text));
    free(text);
    return code;
}

int bl_run_open_directory(struct run *run) {
    char *path = bl_format("%s/config.json", run->o.out);
    run->log_path = bl_format("%s/log.jsonl", run->o.out);
    cJSON *json = config_json(run);
    int code = path && run->log_path ? bl_make_dirs(run->o.out) : BLANCH_ENOMEM;
    if (!code) code = bl_json_write(path, json);
    if (!code && run->o.resume) code = prune_log(run);
    if (!code && !(run->log = fopen(run->log_path, "a")))
        code = bl_fail(BLANCH_EIO, "%s: %s", run->log_path, strerror(errno));
    cJSON_Delete(json);
    free(path);
    return code;
}
