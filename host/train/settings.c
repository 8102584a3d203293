/* The settings of a run, as config.json has them: a table, and what can be done with any of them. */
#include "train/settings.h"
#include "io/files.h"
#include "io/json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT, INT, INT64, UINT64, SEED, FLOAT, AMOUNT, FLAG, WORD }; // of an AMOUNT, a float, 0 is not given
struct bl_setting_word { // a number that users write as text; where it has a range, as a number too
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
static const struct bl_setting_word whiten = {bl_whiten_parse, bl_whiten_text},
                                    cov_samples = {bl_cov_samples_parse, bl_cov_samples_text},
                                    block = {parse_block, print_block};

#define AT(field) offsetof(struct bl_train_options, field)
const struct bl_setting bl_settings[] = {
    {"model", TEXT, false, AT(network.model)},
    {"norm", TEXT, false, AT(norm)},
    {"data", TEXT, false, AT(data)},
    {"size", TEXT, false, AT(size)},
    {"batch", INT, false, AT(network.batch), 0, 1 << 20},
    {"epochs", INT, true, AT(epochs), 0, 1e6},
    {"steps", INT64, true, AT(steps), 0, 1e12},
    {"early_stop", INT, true, AT(early_stop), 0, 1e6},
    {"save_every", INT, true, AT(save_every), 0, 1e6},
    {"keep", INT, true, AT(keep), 0, 1e6},
    {"optimiser", TEXT, false, AT(network.optimiser)},
    {"lr", FLOAT, false, AT(update.lr), 0, 1e6},
    {"schedule", TEXT, false, AT(schedule)},
    {"warmup", INT64, false, AT(warmup), 0, 1e12},
    {"warmup_epochs", AMOUNT, false, AT(warmup_epochs), 0, 1e6},
    {"accumulate", INT, false, AT(network.accumulate), 0, 1 << 20},
    {"class_weights", TEXT, false, AT(class_weights)},
    {"ema", FLOAT, false, AT(network.ema), 0, 1},
    {"no_decay", TEXT, false, AT(network.no_decay)},
    {"freeze_layers", TEXT, false, AT(network.freeze_layers)},
    {"clip_grad_norm", AMOUNT, false, AT(update.clip_grad_norm), 0, 1e30},
    {"label_smoothing", FLOAT, false, AT(network.loss.smoothing), 0, 1},
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
    {"task", TEXT, false, AT(task)},
    {"auto_augment", TEXT, false, AT(auto_augment)},
    {"random_erase", FLOAT, false, AT(random_erase), 0, 1},
    {"normalise", TEXT, false, AT(normalise)},
    {"val_split", TEXT, false, AT(val_split)},
    {"split_file", TEXT, false, AT(split_file)},
    {"mixup", FLOAT, false, AT(mixup), 0, BL_MOST_ALPHA},
    {"cutmix", FLOAT, false, AT(cutmix), 0, BL_MOST_ALPHA},
    {"cache", TEXT, true, AT(cache)},
    {"drop_last", FLAG, false, AT(drop_last)},
    {"tensorboard", TEXT, true, AT(tensorboard)},
    {"precision", TEXT, false, AT(precision)},
    {"recompute", INT, true, AT(network.recompute), -1, BL_MAX_SEGMENTS},
    {"device", TEXT, true, AT(device)},
    {"sync_stats", FLAG, false, AT(sync_stats)},
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
    {"constant_gradient", INT, false, AT(network.nd.constant_gradient), -1, 1},
    {"channel_deconv", INT, false, AT(network.nd.channel_deconv), 0, 4096},
    {"freeze", INT, false, AT(network.nd.freeze), -1, 1},
    {"nd_keep_norm", INT, false, AT(network.nd.keep_norm), -1, 1},
    {NULL},
};

static void *field(struct bl_train_options *options, const struct bl_setting *s) {
    return (char *)options + s->offset;
}
static const void *field_of(const struct bl_train_options *options, const struct bl_setting *s) {
    return (const char *)options + s->offset;
}
static const char *text_of(const struct bl_train_options *o, const struct bl_setting *s) {
    return *(const char *const *)field_of(o, s);
}
static float float_of(const struct bl_train_options *o, const struct bl_setting *s) {
    return *(const float *)field_of(o, s);
}

bool bl_setting_given(const struct bl_train_options *o, const struct bl_setting *s) {
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

bool bl_setting_equal(const struct bl_train_options *a, const struct bl_train_options *b, const struct bl_setting *s) {
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

void bl_setting_copy(struct bl_train_options *to, const struct bl_train_options *from, const struct bl_setting *s) {
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

const cJSON *bl_setting_find(const cJSON *document, const struct bl_setting *s) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(document, s->key);
    const bool device = cJSON_IsObject(item) && !strcmp(s->key, "device");
    if (item && !device) return item;
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(document, "settings"), s->key);
}

cJSON *bl_setting_json(const struct bl_train_options *o, const struct bl_setting *s) {
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

static int check_setting(const struct bl_setting *s, const cJSON *item, const char *path) {
    const bool fraction = s->kind == FLOAT || s->kind == AMOUNT;
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (s->kind == TEXT || (s->kind == WORD && (!(s->most > 0) || cJSON_IsString(item))))
        return cJSON_IsString(item) ? 0 : bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not a text", path, s->key);
    if (s->kind == FLAG)
        return cJSON_IsBool(item) ? 0 : bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not true or false", path, s->key);
    if (fraction && value != 0 && (float)value == 0)
        return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is 0 in float32: %g", path, s->key, value);
    if (value >= s->least && value <= s->most && (fraction || value == floor(value))) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not a %snumber from %.0f to %.10g", path, s->key,
                   fraction ? "" : "whole ", s->least, s->most);
}

int bl_setting_read(struct bl_train_options *o, const struct bl_setting *s, const cJSON *item, const char *path) {
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

bool bl_setting_used(const struct bl_train_options *o, const struct bl_setting *s) {
    struct bl_train_options defaults = {.update.size = sizeof defaults.update};
    bool of_update = s->offset >= AT(update) && s->offset < AT(update) + sizeof o->update;
    if (s->kind != FLOAT || float_of(o, s) != 0) return true;
    if (!of_update) return false;
    return !blanch_update_defaults(o->network.optimiser, &defaults.update) && float_of(&defaults, s) != 0;
}

/* --- of a network alone ----------------------------------------------------------------------- */

/* Of how it computes; when to refresh is training's. */
static bool is_of_network(const struct bl_setting *s) {
    return s->offset >= AT(network.nd) && s->offset < AT(network.nd) + sizeof(struct blanch_nd_options) &&
           s->offset != AT(network.nd.refresh);
}

cJSON *bl_network_settings(const struct bl_network_options *network) {
    struct bl_train_options o = {.network = *network};
    if (o.network.nd.layers) o.network.nd.block = o.network.nd.cov_samples = 0; // the layers have their own
    cJSON *json = cJSON_CreateObject();
    for (const struct bl_setting *s = bl_settings; s->key; s++)
        if (is_of_network(s) && bl_setting_given(&o, s)) cJSON_AddItemToObject(json, s->key, bl_setting_json(&o, s));
    return json;
}

int bl_network_settings_read(struct bl_network_options *network, const cJSON *json, const char *path) {
    struct bl_train_options o = {.network = *network};
    int code = 0;
    for (const struct bl_setting *s = bl_settings; s->key && !code; s++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, s->key);
        if (item && is_of_network(s)) code = bl_setting_read(&o, s, item, path);
    }
    *network = o.network;
    return code;
}
