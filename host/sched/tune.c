/* The tuner: choices that are known, and measuring those that are not. */
#include "sched/tune_internal.h"
#include "io/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is known ---------------------------------------------------------------------------- */

static const char by_rule[] = "rule"; // the choice where every candidate is wrong or cannot run

static void know(struct bl_tune_item *item, const char *choice) {
    snprintf(item->choice, sizeof item->choice, "%s", choice);
    item->state = strcmp(choice, by_rule) ? BL_TUNE_KNOWN : BL_TUNE_UNDECIDED;
}

const char *bl_tune_replayed(const struct bl_tuner *t, const char *shape) {
    const cJSON *choice = cJSON_GetObjectItemCaseSensitive(t->replayed, shape);
    char blank_type[16], plain[160];
    snprintf(blank_type, sizeof blank_type, " %s", bl_type_traits[BL_F32].name);
    const char *type = strstr(shape, blank_type);
    if (!choice && type) {
        snprintf(plain, sizeof plain, "%.*s%s", (int)(type - shape), shape, type + strlen(blank_type));
        choice = cJSON_GetObjectItemCaseSensitive(t->replayed, plain);
    }
    return cJSON_IsString(choice) ? choice->valuestring : NULL;
}

static bool is_choice(const struct bl_tune_item *item, const char *choice) {
    const char *name;
    if (!strcmp(choice, by_rule)) return true;
    for (int i = 0; item->is_conv && (name = bl_conv_engine_name(i)); i++)
        if (!strcmp(name, choice)) return true;
    for (int i = BL_GEMM_RULE + 1; !item->is_conv && i < BL_GEMM_ROUTES; i++)
        if (!strcmp(bl_gemm_route_names[i], choice)) return true;
    return false;
}

/* A new item learns from the run's record, or from the cache. */
static void learn(struct bl_tuner *t, struct bl_tune_item *item) {
    if (t->replayed) {
        const char *choice = bl_tune_replayed(t, item->shape);
        item->state = BL_TUNE_UNDECIDED;
        if (choice) know(item, choice);
        return;
    }
    cJSON *entry = bl_tune_cache_read(&t->cache, item->shape);
    const char *choice = cJSON_GetStringValue(cJSON_GetObjectItem(entry, "choice"));
    if (choice && is_choice(item, choice)) know(item, choice);
    cJSON_Delete(entry);
}

static struct bl_tune_item *find(const struct bl_tuner *t, uint64_t key) {
    for (size_t i = 0; i < t->items; i++)
        if (t->item[i]->key == key) return t->item[i];
    return NULL;
}

static struct bl_tune_item *note(struct bl_tuner *t, const struct bl_tune_item *like) {
    if (bl_grow((void **)&t->item, &t->capacity, t->items + 1, sizeof(struct bl_tune_item *))) return NULL;
    struct bl_tune_item *item = bl_calloc(1, sizeof *item);
    if (!item) return NULL;
    *item = *like;
    t->item[t->items++] = item;
    learn(t, item);
    return item;
}

/* --- being asked ------------------------------------------------------------------------------ */

/* Of the numbers of a shape and the name of its elements' type. */
static uint64_t key_of(const int64_t *numbers, size_t bytes, const char *type) {
    return bl_hash(bl_hash(BL_HASH_START, numbers, bytes), type, strlen(type));
}

/* The bias and the order of the weights' features are beside the point. */
static struct bl_tune_item conv_item(const struct bl_conv_shape *s, enum bl_conv_pass pass) {
    const struct bl_conv_attrs *a = &s->attrs;
    const char *type = bl_type_traits[s->type].name, *name = s->inference ? "inference" : bl_conv_pass_names[pass];
    const int64_t numbers[] = {s->n,          s->h,           s->w,           a->in_channels, a->out_channels,
                               a->kernel[0],  a->kernel[1],   a->stride[0],   a->stride[1],   a->padding[0],
                               a->padding[1], a->dilation[0], a->dilation[1], a->groups,      (int64_t)pass,
                               s->inference};
    struct bl_tune_item item = {.is_conv = true, .conv = *s, .pass = pass};
    item.conv.interleave = 1, item.conv.attrs.bias = 0;
    item.key = key_of(numbers, sizeof numbers, type);
    snprintf(
        item.shape, sizeof item.shape,
        "convolution %s %s %lld x %dx%lldx%lld to %d, kernel %dx%d stride %dx%d padding %dx%d dilation %dx%d groups %d",
        name, type, (long long)s->n, a->in_channels, (long long)s->h, (long long)s->w, a->out_channels, a->kernel[0],
        a->kernel[1], a->stride[0], a->stride[1], a->padding[0], a->padding[1], a->dilation[0], a->dilation[1],
        a->groups);
    return item;
}

/* Products are of floats, which may be rounded. */
static const char *type_of(const struct bl_gemm *g) {
    return bl_type_traits[g->rounds].name;
}
static uint64_t gemm_key(const struct bl_gemm *g) {
    const int64_t batch = g->batch > 0 ? g->batch : 1;
    const int64_t numbers[] = {g->m, g->n, g->k, g->trans_a, g->trans_b, g->symmetric, batch};
    return key_of(numbers, sizeof numbers, type_of(g));
}

static struct bl_tune_item gemm_item(const struct bl_gemm *g) {
    const char *type = type_of(g);
    struct bl_tune_item item = {.gemm = *g, .key = gemm_key(g)};
    snprintf(item.shape, sizeof item.shape, "product %s %lldx%lldx%lld %c%c%s batch %d", type, (long long)g->m,
             (long long)g->n, (long long)g->k, g->trans_a ? 't' : 'n', g->trans_b ? 't' : 'n',
             g->symmetric ? " symmetric" : "", g->batch > 0 ? g->batch : 1);
    return item;
}

static const char *choose_conv(void *context, const struct bl_conv_shape *shape, enum bl_conv_pass pass) {
    struct bl_tuner *t = context;
    if (t->engine) return pass == t->pass ? t->engine : NULL;
    const struct bl_tune_item like = conv_item(shape, pass);
    struct bl_tune_item *item = find(t, like.key);
    if (!item && !(item = note(t, &like))) t->code = BLANCH_ENOMEM;
    return item && item->state == BL_TUNE_KNOWN ? item->choice : NULL;
}

/* Asked at every product of every step, so the text is made for a new shape alone. */
static enum bl_gemm_route choose_gemm(void *context, const struct bl_gemm *g) {
    struct bl_tuner *t = context;
    if (t->route != BL_GEMM_RULE) return t->route;
    struct bl_tune_item *item = find(t, gemm_key(g));
    if (!item && !t->trying) {
        const struct bl_tune_item like = gemm_item(g);
        if (!(item = note(t, &like))) t->code = BLANCH_ENOMEM;
    }
    for (int i = 0; item && item->state == BL_TUNE_KNOWN && i < BL_GEMM_ROUTES; i++)
        if (!strcmp(bl_gemm_route_names[i], item->choice)) return (enum bl_gemm_route)i;
    return BL_GEMM_RULE;
}

/* --- life ------------------------------------------------------------------------------------- */

static char tuner_key; // its address is the key

static void release(void *what) {
    struct bl_tuner *t = what;
    bl_conv_choose_by(t->dev, NULL);
    bl_gemm_choose_by(t->dev, NULL);
    for (size_t i = 0; i < t->items; i++) free(t->item[i]);
    bl_tune_cache_close(&t->cache);
    cJSON_Delete(t->replayed);
    free(t->item), free(t);
}

static int create(struct bl_tuner **tuner, struct blanch_device *dev, const cJSON *choices) {
    struct bl_tuner *t = bl_calloc(1, sizeof *t);
    if (!t) return BLANCH_ENOMEM;
    t->dev = dev;
    t->conv_chooser = (struct bl_conv_chooser){choose_conv, t, NULL};
    t->gemm_chooser = (struct bl_gemm_chooser){choose_gemm, t, false};
    int code = bl_tune_cache_open(&t->cache, dev);
    if (!code && choices && !(t->replayed = cJSON_Duplicate(choices, true)))
        code = bl_fail(BLANCH_ENOMEM, "out of host memory");
    if (!code) code = bl_conv_choose_by(dev, &t->conv_chooser);
    if (!code) code = bl_gemm_choose_by(dev, &t->gemm_chooser);
    if (!code) code = bl_attach(dev, &tuner_key, t, release);
    if (code) return release(t), code;
    bl_tune_apply_clblast(t);
    *tuner = t;
    return 0;
}

struct bl_tuner *bl_tuner_of(const struct blanch_device *dev) {
    return bl_attached(dev, &tuner_key);
}

int bl_tuner_open(struct blanch_device *dev, const struct bl_tune_bounds *bounds) {
    struct bl_tuner *t = bl_tuner_of(dev);
    int code = t ? 0 : create(&t, dev, NULL);
    if (!code) t->bounds = *bounds, t->used = 0;
    return code;
}

int bl_tuner_replay(struct blanch_device *dev, const cJSON *choices) {
    struct bl_tuner *t = bl_tuner_of(dev);
    if (t) bl_detach(dev, &tuner_key), release(t);
    return create(&t, dev, choices);
}

const struct bl_tune_report *bl_tuner_report(const struct bl_tuner *t) {
    return &t->report;
}

cJSON *bl_tuner_choices(const struct blanch_device *dev) {
    const struct bl_tuner *t = bl_tuner_of(dev);
    if (!t) return NULL;
    if (t->replayed) return cJSON_Duplicate(t->replayed, true);
    cJSON *choices = NULL;
    for (size_t i = 0; i < t->items; i++) {
        if (t->item[i]->state != BL_TUNE_KNOWN) continue;
        if (!choices) choices = cJSON_CreateObject();
        cJSON_AddStringToObject(choices, t->item[i]->shape, t->item[i]->choice);
    }
    if (choices && t->have_clblast) {
        char text[256];
        bl_clblast_text(&t->clblast, text, sizeof text);
        cJSON_AddStringToObject(choices, bl_tune_clblast_shape, text);
    }
    return choices;
}

bool bl_tuner_drop_engines(struct bl_tuner *t) {
    bool any = false;
    for (size_t i = 0; i < t->items; i++) {
        struct bl_tune_item *item = t->item[i];
        if (!item->is_conv) continue;
        any = any || item->state == BL_TUNE_KNOWN;
        item->state = BL_TUNE_UNDECIDED;
    }
    return any;
}

/* --- measuring -------------------------------------------------------------------------------- */

static cJSON *entry_of(const struct bl_tune_trials *trials) {
    cJSON *entry = cJSON_CreateObject(), *tried = cJSON_CreateArray();
    const struct bl_tune_trial *best = trials->best < 0 ? NULL : &trials->trial[trials->best];
    cJSON_AddStringToObject(entry, "choice", best ? best->name : by_rule);
    cJSON_AddItemToObject(entry, "ms", bl_json_number(best ? best->ms : 0, 5));
    for (int i = 0; i < trials->count; i++) {
        cJSON *trial = cJSON_CreateObject();
        cJSON_AddStringToObject(trial, "name", trials->trial[i].name);
        cJSON_AddStringToObject(trial, "result", bl_tune_result_names[trials->trial[i].result]);
        cJSON_AddItemToObject(trial, "ms", bl_json_number(trials->trial[i].ms, 5));
        cJSON_AddItemToArray(tried, trial);
    }
    cJSON_AddItemToObject(entry, "tried", tried);
    return entry;
}

/* With other bounds a candidate that is slow may come to be timed. */
static bool is_final(const struct bl_tune_trials *trials) {
    bool bounded = !trials->count;
    for (int i = 0; i < trials->count; i++)
        bounded |= trials->trial[i].result == BL_TUNE_SLOW || trials->trial[i].result == BL_TUNE_SLOW_BUILD;
    return trials->best >= 0 || !bounded;
}

static int measure_item(struct bl_tuner *t, struct bl_tune_item *item) {
    struct bl_tune_trials trials = {.best = -1};
    t->trying = true;
    int code = item->is_conv ? bl_tune_conv(t, item, &trials) : bl_tune_gemm(t, item, &trials);
    t->trying = false;
    if (code) return code;
    for (int i = 0; i < trials.count; i++) {
        t->report.wrong += trials.trial[i].result == BL_TUNE_WRONG;
        t->report.failed += trials.trial[i].result == BL_TUNE_FAILED;
    }
    t->report.measured++;
    item->counted = true;
    know(item, trials.best < 0 ? by_rule : trials.trial[trials.best].name);
    if (is_final(&trials)) bl_tune_cache_write(&t->cache, item->shape, entry_of(&trials));
    return 0;
}

static int count_wanted(const struct bl_tuner *t) {
    int count = 0;
    for (size_t i = 0; i < t->items; i++) count += t->item[i]->state == BL_TUNE_WANTED;
    return count;
}

/* Another process may have measured it meanwhile. */
static bool is_known(struct bl_tuner *t, struct bl_tune_item *item) {
    if (item->state == BL_TUNE_WANTED) learn(t, item);
    if (item->state == BL_TUNE_KNOWN && !item->counted) {
        t->report.known++;
        item->counted = true;
    }
    return item->state != BL_TUNE_WANTED;
}

int bl_tuner_measure(struct bl_tuner *t) {
    const struct bl_tune_bounds *bounds = &t->bounds;
    const double start = bl_now(), rest = bounds->seconds - t->used;
    const int total = count_wanted(t);
    int code = t->code ? bl_fail(t->code, "out of host memory for what is tuned") : 0, done = 0;
    for (size_t i = 0; i < t->items && !code; i++) {
        struct bl_tune_item *item = t->item[i];
        if (is_known(t, item)) continue;
        if ((code = bl_check_interrupted()) || bl_now() - start >= rest) break;
        if (!(code = measure_item(t, item)) && bounds->progress)
            bounds->progress(bounds->context, ++done, total, item->shape);
    }
    if (done && bounds->progress) bounds->progress(bounds->context, done, total, NULL);
    t->used += bl_now() - start, t->report.seconds += bl_now() - start;
    t->report.left = count_wanted(t);
    return code;
}
