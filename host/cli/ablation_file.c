/* The file of an ablation: which options are varied, over which values; the names of its cells. */
#include "base/path.h"
#include "base/text.h"
#include "cli/ablation.h"
#include "io/files.h"
#include "io/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 60, MOST_CELLS = 4096 };

/* --- words ------------------------------------------------------------------------------------ */

static void free_words(struct bl_ablation_words *words) {
    for (int i = 0; i < words->count; i++) free(words->word[i]);
    free(words->word);
}

static int add_word(struct bl_ablation_words *words, char *word) {
    if (!word) return BLANCH_ENOMEM;
    if (!words->word && !(words->word = bl_calloc(MOST_WORDS, sizeof *words->word))) {
        free(word);
        return BLANCH_ENOMEM;
    }
    if (words->count == MOST_WORDS) {
        free(word);
        return bl_fail(BLANCH_EINPUT, "more than %d options at once", MOST_WORDS / 2);
    }
    words->word[words->count++] = word;
    return 0;
}

/* What the study sets itself. */
static int check_option(const char *name) {
    static const char *const own[] = {"model",  "data",    "out",    "steps", "epochs", "seed",        "resume",
                                      "config", "devices", "shares", "quiet", "help",   "tensorboard", "device"};
    for (int i = 0; i < BL_COUNT(own); i++)
        if (!strcmp(own[i], name)) return bl_fail(BLANCH_EINPUT, "--%s is no option to vary: the study sets it", name);
    return 0;
}

/* cJSON keeps all of a key that an object has several times. */
static int check_once(const cJSON *object, const cJSON *item) {
    for (const cJSON *before = object->child; before != item; before = before->next)
        if (!strcmp(before->string, item->string))
            return bl_fail(BLANCH_EINPUT, "it has \"%.60s\" twice", item->string);
    return 0;
}

/* "lr": 0.1, "nesterov": true; null and false: it is not given. */
static int take_option(struct bl_ablation_words *words, const char *name, const cJSON *item) {
    int code = check_option(name);
    if (code || cJSON_IsNull(item) || cJSON_IsFalse(item)) return code;
    if (!cJSON_IsTrue(item) && !cJSON_IsNumber(item) && !cJSON_IsString(item))
        return bl_fail(BLANCH_EINPUT, "\"%s\" takes a number, a text, true or false", name);
    if ((code = add_word(words, bl_format("--%s", name))) || cJSON_IsTrue(item)) return code;
    if (cJSON_IsString(item)) return add_word(words, bl_strdup(item->valuestring));
    return add_word(words, bl_json_print(item, false));
}

static int take_options(struct bl_ablation_words *words, const cJSON *object) {
    const cJSON *item;
    int code = 0;
    if (!cJSON_IsObject(object)) return bl_fail(BLANCH_EINPUT, "it is no object of options and their values");
    cJSON_ArrayForEach(item, object) {
        if (!code) code = check_once(object, item);
        if (!code) code = take_option(words, item->string, item);
    }
    return code;
}

static bool is_option(const char *word) {
    return !strncmp(word, "--", 2);
}

static const char *value_at(const struct bl_ablation_words *words, int i) {
    return i + 1 < words->count && !is_option(words->word[i + 1]) ? words->word[i + 1] : "";
}

/* Where the option stands in words; -1: it does not. */
static int find_option(const struct bl_ablation_words *words, const char *option) {
    for (int i = 0; i < words->count; i++)
        if (!strcmp(words->word[i], option)) return i;
    return -1;
}

/* The same options and values, in whatever order. */
static bool is_same(const struct bl_ablation_words *one, const struct bl_ablation_words *other) {
    for (int i = 0; i < one->count; i++) {
        if (!is_option(one->word[i])) continue;
        const int at = find_option(other, one->word[i]);
        if (at < 0 || strcmp(value_at(one, i), value_at(other, at)) != 0) return false;
    }
    return one->count == other->count;
}

static void join(const struct bl_ablation_words *words, char *text, size_t size) {
    size_t used = strlen(text);
    for (int i = 0; i < words->count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", words->word[i]);
}

/* --- the grid --------------------------------------------------------------------------------- */

static int take_value(struct bl_ablation_axis *axis, const cJSON *item) {
    if (axis->values == BL_ABLATION_VALUES)
        return bl_fail(BLANCH_EINPUT, "\"%s\" has more than %d values", axis->name, BL_ABLATION_VALUES);
    struct bl_ablation_value *value = &axis->value[axis->values++];
    int code = cJSON_IsObject(item) ? take_options(&value->words, item) : take_option(&value->words, axis->name, item);
    join(&value->words, value->label, sizeof value->label);
    if (!*value->label) strcat(strcpy(value->label, "without "), axis->name);
    for (int i = 0; !code && i < axis->values - 1; i++)
        if (!strcmp(axis->value[i].label, value->label) || is_same(&axis->value[i].words, &value->words))
            code = bl_fail(BLANCH_EINPUT, "\"%s\" has %s twice", axis->name, value->label);
    return code ? bl_fail_in(code, "\"grid\", \"%s\"", axis->name) : 0;
}

static int take_axis(struct bl_ablation *a, const cJSON *list) {
    if (a->axes == BL_ABLATION_AXES)
        return bl_fail(BLANCH_EINPUT, "\"grid\" has more than %d options", BL_ABLATION_AXES);
    struct bl_ablation_axis *axis = &a->axis[a->axes++];
    const cJSON *item;
    int code = 0;
    snprintf(axis->name, sizeof axis->name, "%s", list->string);
    if (!cJSON_IsArray(list) || !cJSON_GetArraySize(list))
        return bl_fail(BLANCH_EINPUT, "\"grid\", \"%s\" takes a list of values", list->string);
    cJSON_ArrayForEach(item, list) if (!code) code = take_value(axis, item);
    return code;
}

/* Of an option that two axes set the last value alone would count. */
static int check_apart(const struct bl_ablation_axis *axis, const struct bl_ablation_axis *other) {
    for (int v = 0; v < axis->values; v++)
        for (int i = 0; i < axis->value[v].words.count; i++) {
            const char *word = axis->value[v].words.word[i];
            for (int k = 0; k < other->values && is_option(word); k++)
                if (find_option(&other->value[k].words, word) >= 0)
                    return bl_fail(BLANCH_EINPUT, "\"grid\", \"%s\" and \"%s\" both set %s", axis->name, other->name,
                                   word);
        }
    return 0;
}

static int take_grid(struct bl_ablation *a, const cJSON *grid) {
    const cJSON *item;
    int code = 0;
    cJSON_ArrayForEach(item, grid) {
        if (!code && (code = check_once(grid, item))) code = bl_fail_in(code, "\"grid\"");
        if (!code) code = take_axis(a, item);
    }
    for (int i = 0; i < a->axes; i++)
        for (int k = 0; k < i && !code; k++) code = check_apart(&a->axis[k], &a->axis[i]);
    return code;
}

static int take_best(struct bl_ablation *a, const cJSON *list) {
    const cJSON *item;
    if (!cJSON_IsArray(list)) return bl_fail(BLANCH_EINPUT, "\"best\" takes a list of names that the grid has");
    cJSON_ArrayForEach(item, list) {
        struct bl_ablation_axis *found = NULL;
        for (int i = 0; i < a->axes; i++)
            if (cJSON_IsString(item) && !strcmp(a->axis[i].name, item->valuestring)) found = &a->axis[i];
        if (!found)
            return bl_fail(BLANCH_EINPUT, "\"best\" has %s, which \"grid\" has not",
                           cJSON_IsString(item) ? item->valuestring : "what is no text");
        if (found->swept) return bl_fail(BLANCH_EINPUT, "\"best\" has %s twice", found->name);
        found->swept = true;
    }
    return 0;
}

/* --- the rest --------------------------------------------------------------------------------- */

/* What the names of a network's cells begin with. */
static void put_model(const char *model, char *label, size_t size) {
    snprintf(label, size, "%.60s", bl_path_name(model));
}

static int check_models(const struct bl_ablation *a) {
    char one[64], other[64];
    for (int i = 0; i < a->models; i++)
        for (int k = 0; k < i; k++) {
            put_model(a->model[i], one, sizeof one);
            put_model(a->model[k], other, sizeof other);
            if (!strcmp(a->model[i], a->model[k]))
                return bl_fail(BLANCH_EINPUT, "\"models\" has %s twice", a->model[i]);
            if (!strcmp(one, other))
                return bl_fail(BLANCH_EINPUT,
                               "\"models\" has %s and %s, whose cells would share their folders: give them other names",
                               a->model[k], a->model[i]);
        }
    return 0;
}

static int take_models(struct bl_ablation *a, const cJSON *list) {
    const cJSON *item;
    if (!cJSON_IsArray(list) || !cJSON_GetArraySize(list))
        return bl_fail(BLANCH_EINPUT, "\"models\" takes a list of networks, such as [\"smallcnn\"]");
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item)) return bl_fail(BLANCH_EINPUT, "\"models\" takes names of networks");
        if (a->models == BL_ABLATION_MODELS)
            return bl_fail(BLANCH_EINPUT, "\"models\" takes at most %d networks", BL_ABLATION_MODELS);
        a->model[a->models++] = item->valuestring;
    }
    return check_models(a);
}

static bool is_whole(const cJSON *item, double least, double most) {
    return cJSON_IsNumber(item) && item->valuedouble >= least && item->valuedouble <= most &&
           item->valuedouble == (double)(int64_t)item->valuedouble;
}

static int take_seeds(struct bl_ablation *a, const cJSON *item) {
    const cJSON *seed;
    if (is_whole(item, 1, BL_ABLATION_SEEDS)) {
        for (a->seeds = 0; a->seeds < item->valueint; a->seeds++) a->seed[a->seeds] = a->seeds;
        return 0;
    }
    int count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 0;
    if (count < 1 || count > BL_ABLATION_SEEDS)
        return bl_fail(BLANCH_EINPUT, "\"seeds\" takes how many, 1 to %d, or a list of seeds", BL_ABLATION_SEEDS);
    a->seeds = 0;
    cJSON_ArrayForEach(seed, item) {
        if (!is_whole(seed, 0, 1e9)) return bl_fail(BLANCH_EINPUT, "\"seeds\" takes whole numbers from 0");
        for (int i = 0; i < a->seeds; i++)
            if (a->seed[i] == seed->valueint) return bl_fail(BLANCH_EINPUT, "\"seeds\" has %d twice", seed->valueint);
        a->seed[a->seeds++] = seed->valueint;
    }
    return 0;
}

static int take_length(struct bl_ablation *a, const cJSON *json) {
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(json, "steps"),
                *epochs = cJSON_GetObjectItemCaseSensitive(json, "epochs");
    if (a->steps) return 0;
    if (steps && epochs) return bl_fail(BLANCH_EINPUT, "it has \"steps\" and \"epochs\": one of them says the length");
    if (steps && !is_whole(steps, 1, 1e12)) return bl_fail(BLANCH_EINPUT, "\"steps\" takes a whole number from 1");
    if (epochs && !is_whole(epochs, 1, 1e6)) return bl_fail(BLANCH_EINPUT, "\"epochs\" takes a whole number from 1");
    if (steps) a->steps = (int64_t)steps->valuedouble;
    a->epochs = epochs ? epochs->valueint : steps ? 0 : 1;
    return 0;
}

static int check_keys(const cJSON *json) {
    static const char *const keys[] = {"data", "models", "steps", "epochs", "seeds", "base", "grid", "best", NULL};
    const cJSON *item;
    if (!cJSON_IsObject(json)) return bl_fail(BLANCH_EINPUT, "it is no object with \"models\" and \"grid\"");
    cJSON_ArrayForEach(item, json) {
        bool known = false;
        for (int i = 0; keys[i]; i++) known |= !strcmp(keys[i], item->string);
        const char *near = known ? NULL : bl_nearest(item->string, keys);
        if (!known)
            return bl_fail(BLANCH_EINPUT, "there is no \"%.60s\"%s%s%s", item->string, near ? ", did you mean \"" : "",
                           near ? near : "", near ? "\"?" : "");
        int code = check_once(json, item);
        if (code) return code;
    }
    return 0;
}

static int take_all(struct bl_ablation *a) {
    const cJSON *json = a->json;
    int code = check_keys(json);
    if (code) return code;
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(json, "data"),
                *base = cJSON_GetObjectItemCaseSensitive(json, "base"),
                *grid = cJSON_GetObjectItemCaseSensitive(json, "grid"),
                *seeds = cJSON_GetObjectItemCaseSensitive(json, "seeds"),
                *best = cJSON_GetObjectItemCaseSensitive(json, "best");
    if (data && !cJSON_IsString(data)) return bl_fail(BLANCH_EINPUT, "\"data\" takes what --data takes");
    if (!a->data && data) a->data = data->valuestring;
    if ((code = take_models(a, cJSON_GetObjectItemCaseSensitive(json, "models"))) || (code = take_length(a, json)))
        return code;
    a->seeds = 1;
    if (seeds && (code = take_seeds(a, seeds))) return code;
    if (base && (code = take_options(&a->base, base))) return bl_fail_in(code, "\"base\"");
    if (!cJSON_IsObject(grid))
        return bl_fail(BLANCH_EINPUT, "\"grid\" is missing: options, each with a list of values");
    if ((code = take_grid(a, grid))) return code;
    return best ? take_best(a, best) : 0;
}

static int count_cells(struct bl_ablation *a) {
    a->settings = a->sweeps = 1;
    for (int i = 0; i < a->axes; i++) {
        int *count = a->axis[i].swept ? &a->sweeps : &a->settings;
        *count *= a->axis[i].values;
        if ((int64_t)a->models * a->settings * a->sweeps * a->seeds > MOST_CELLS)
            return bl_fail(BLANCH_EINPUT, "\"grid\" has more than %d cells", MOST_CELLS);
    }
    a->cells = bl_calloc((size_t)(a->models * a->settings * a->sweeps * a->seeds), sizeof *a->cells);
    return a->cells ? 0 : BLANCH_ENOMEM;
}

static int by_text(const void *one, const void *other) {
    return strcmp(one, other);
}

/* Values that differ may still have one name: what a file's name cannot have stands in it as ~. */
static int check_folders(const struct bl_ablation *a) {
    const int count = a->models * a->settings * a->sweeps;
    char(*name)[200] = bl_calloc((size_t)count, sizeof *name);
    int code = name ? 0 : BLANCH_ENOMEM;
    for (int i = 0; i < count && !code; i++)
        bl_ablation_name(a, i / (a->settings * a->sweeps), i / a->sweeps % a->settings, i % a->sweeps, 0, name[i]);
    if (!code) qsort(name, (size_t)count, sizeof *name, by_text);
    for (int i = 1; i < count && !code; i++)
        if (!strcmp(name[i - 1], name[i]))
            code = bl_fail(BLANCH_EINPUT, "two of its cells would share the folder %s: give other values", name[i]);
    free(name);
    return code;
}

int bl_ablation_read(struct bl_ablation *a, const char *path, const char *data, int64_t steps) {
    *a = (struct bl_ablation){.data = data, .steps = steps};
    if (!(a->path = bl_strdup(path))) return BLANCH_ENOMEM;
    int code = bl_json_read_given(path, &a->json);
    if (code) return code;
    if (!(code = take_all(a)) && !(code = count_cells(a))) code = check_folders(a);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

void bl_ablation_free(struct bl_ablation *a) {
    for (int i = 0; i < a->axes; i++)
        for (int v = 0; v < a->axis[i].values; v++) free_words(&a->axis[i].value[v].words);
    free_words(&a->base);
    cJSON_Delete(a->json);
    free(a->cells);
    free(a->path);
}

/* --- cells ------------------------------------------------------------------------------------ */

struct bl_cell *bl_ablation_cell(const struct bl_ablation *a, int model, int setting, int sweep, int seed) {
    return &a->cells[((model * a->settings + setting) * a->sweeps + sweep) * a->seeds + seed];
}

/* The last axis changes fastest. */
const struct bl_ablation_value *bl_ablation_value(const struct bl_ablation *a, int axis, int setting, int sweep) {
    int index = a->axis[axis].swept ? sweep : setting;
    for (int i = a->axes - 1; i > axis; i--)
        if (a->axis[i].swept == a->axis[axis].swept) index /= a->axis[i].values;
    return &a->axis[axis].value[index % a->axis[axis].values];
}

static void put_labels(const struct bl_ablation *a, bool swept, int index, char *text, size_t size) {
    *text = 0;
    for (int i = 0; i < a->axes; i++) {
        size_t used = strlen(text);
        if (a->axis[i].swept == swept)
            snprintf(text + used, size - used, "%s%s", used ? " " : "", bl_ablation_value(a, i, index, index)->label);
    }
}

void bl_ablation_setting(const struct bl_ablation *a, int setting, char *text, size_t size) {
    put_labels(a, false, setting, text, size);
    if (!*text) snprintf(text, size, "%s", "as \"base\" has it");
}

void bl_ablation_sweep(const struct bl_ablation *a, int sweep, char *text, size_t size) {
    put_labels(a, true, sweep, text, size);
}

/* "--norm nd --block 16" as ",norm=nd,block=16": letters, digits and what a shell takes as it stands. */
static void put_words(const struct bl_ablation_value *value, char *name, size_t size) {
    for (int i = 0; i < value->words.count; i++) {
        const char *word = value->words.word[i];
        size_t used = strlen(name);
        bool option = is_option(word);
        if (used + 2 >= size) return;
        name[used++] = option ? ',' : '=';
        for (word += option ? 2 : 0; *word && used + 1 < size; word++)
            name[used++] = strchr("/:;*?\"'<>|&$` ()\\", *word) || (unsigned char)*word < 0x20 ? '~' : *word;
        name[used] = 0;
    }
}

void bl_ablation_name(const struct bl_ablation *a, int model, int setting, int sweep, int seed, char name[200]) {
    enum { MOST = 150 };
    char text[1024] = "";
    put_model(a->model[model], text, sizeof text);
    for (int i = 0; i < a->axes; i++) put_words(bl_ablation_value(a, i, setting, sweep), text, sizeof text);
    if (strlen(text) > MOST)
        snprintf(text + MOST - 10, sizeof text - MOST + 10, "~%08x",
                 (unsigned)bl_hash(BL_HASH_START, text, strlen(text)));
    snprintf(name, 200, "%.*s,%lld%s,seed%d", MOST, text, a->steps ? (long long)a->steps : (long long)a->epochs,
             a->steps ? "" : "epochs", a->seed[seed]);
}
