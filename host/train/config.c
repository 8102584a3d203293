/* --config FILE: settings as config.json has them, for what options leave open. */
#include "train/settings.h"
#include "base/text.h"
#include "io/files.h"
#include "train/open.h"
#include "train/run.h"
#include <math.h>
#include <string.h>

enum { MOST_SETTINGS = 255 };

/* What a run's config.json says of the run besides. */
static bool is_record(const char *key) {
    static const char *const keys[] = {
        "format",   "kind",    "date",        "blanch",       "host",       "device",          "device_info",
        "settings", "classes", "view",        "parameters",   "exact",      "steps_per_epoch", "network_hash",
        "blocks",   "engines", "class_names", "class_weight", "data_found", "ranks",           "mpi"};
    for (int i = 0; i < BL_COUNT(keys); i++)
        if (!strcmp(key, keys[i])) return true;
    return false;
}

static int check_key(const char *key, const char *path) {
    const char *names[MOST_SETTINGS + 1] = {NULL};
    for (int i = 0; bl_settings[i].key && i < MOST_SETTINGS; i++) {
        names[i] = bl_settings[i].key;
        if (!strcmp(key, names[i])) return 0;
    }
    const char *near = bl_nearest(key, names);
    return bl_fail(BLANCH_EINPUT, "%s: there is no setting \"%.60s\"%s%s%s", path, key, near ? ", did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static int check_keys(const cJSON *json, const char *path) {
    const cJSON *item, *asked = cJSON_GetObjectItemCaseSensitive(json, "settings");
    if (!cJSON_IsObject(json) || (asked && !cJSON_IsObject(asked)))
        return bl_fail(BLANCH_EINPUT, "%s: %sholds no settings by their names", path, asked ? "\"settings\" " : "");
    int code = 0;
    cJSON_ArrayForEach(item, json) if (!code && !is_record(item->string)) code = check_key(item->string, path);
    if (asked) cJSON_ArrayForEach(item, asked) if (!code) code = check_key(item->string, path);
    return code;
}

/* An option that says the same in other words leaves the file's out. */
static void give_way(struct bl_train_options *file, const struct bl_train_options *given) {
    if (given->epochs && !given->steps) file->steps = 0;
    if (given->steps) file->epochs = 0;
    if (given->warmup || given->warmup_epochs > 0) file->warmup = 0, file->warmup_epochs = 0;
    if (given->split_file) file->val_split = NULL;
    if (given->val_split) file->split_file = NULL;
    if (given->overhead_budget) file->network.nd.refresh = 0;
    if (given->network.nd.refresh) file->overhead_budget = NULL;
    if (!given->network.optimiser || !file->network.optimiser ||
        !strcmp(given->network.optimiser, file->network.optimiser))
        return;
    file->update = (struct blanch_update)BL_UPDATE_DEFAULT; // those of another optimiser
}

static int check_norm(struct bl_train_options *o) {
    if (o->norm || !o->network.model) return 0;
    if (!bl_model_is_file(o->network.model)) return bl_model_lacks_norm(o->network.model);
    o->norm = bl_norm_name(BLANCH_OWN);
    return 0;
}

int bl_config_take(struct bl_train_options *o, cJSON **json) {
    const char *path = o->config;
    struct bl_train_options file = BL_TRAIN_DEFAULT;
    if (o->resume) return bl_fail(BLANCH_EUSAGE, "--resume goes on with the settings of the run: leave --config out");
    int code = bl_json_read(path, json);
    if (!code) code = check_keys(*json, path);
    for (int i = 0; bl_settings[i].key && !code; i++) {
        const cJSON *item = bl_setting_find(*json, &bl_settings[i]);
        if (item) code = bl_setting_read(&file, &bl_settings[i], item, path);
    }
    if (code) return code;
    give_way(&file, o);
    for (int i = 0; bl_settings[i].key; i++)
        if (!bl_setting_given(o, &bl_settings[i])) bl_setting_copy(o, &file, &bl_settings[i]);
    return check_norm(o);
}
