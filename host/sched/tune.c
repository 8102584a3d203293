/* The tuner: choices that are known, and measuring those that are not. */
#include "sched/tune_internal.h"
#include "io/files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is known ---------------------------------------------------------------------------- */

int bl_tune_place(struct bl_tuner *t, struct blanch_device *dev, struct bl_tune_cache **cache) {
    for (size_t i = 0; i < t->places; i++)
        if (t->place[i].dev == dev) return *cache = &t->place[i].cache, 0;
    int code = bl_grow((void **)&t->place, &t->place_capacity, t->places + 1, sizeof *t->place);
    if (code) return code;
    struct bl_tune_place *place = &t->place[t->places];
    place->dev = dev;
    if ((code = bl_tune_cache_open(&place->cache, dev))) return code;
    t->places++;
    bl_tune_apply_clblast(t, &place->cache, dev);
    *cache = &place->cache;
    return 0;
}

static void know(struct bl_tune_item *item, const char *choice) {
    snprintf(item->choice, sizeof item->choice, "%s", choice);
    item->state = BL_TUNE_KNOWN;
}

/* A new item learns from the run's record, or from the cache. */
static void learn(struct bl_tuner *t, struct bl_tune_item *item) {
    struct bl_tune_cache *cache;
    if (bl_tune_place(t, item->dev, &cache)) return;
    if (t->frozen) {
        const cJSON *choice = cJSON_GetObjectItemCaseSensitive(t->restored, item->shape);
        item->state = BL_TUNE_UNDECIDED;
        if (cJSON_IsString(choice)) know(item, choice->valuestring);
        return;
    }
    cJSON *entry = bl_tune_cache_read(cache, item->shape);
    if (entry) know(item, cJSON_GetObjectItem(entry, "choice")->valuestring);
    cJSON_Delete(entry);
}

static struct bl_tune_item *find(const struct bl_tuner *t, const struct blanch_device *dev, uint64_t key) {
    for (size_t i = 0; i < t->items; i++)
        if (t->item[i]->key == key && t->item[i]->dev == dev) return t->item[i];
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

/* The bias and the order of the weights' features are beside the point. */
static struct bl_tune_item conv_item(struct blanch_device *dev, const struct bl_conv_shape *s, enum bl_conv_pass pass) {
    const struct bl_conv_attrs *a = &s->attrs;
    const int64_t numbers[] = {s->n,          s->h,           s->w,           a->in_channels, a->out_channels,
                               a->kernel[0],  a->kernel[1],   a->stride[0],   a->stride[1],   a->padding[0],
                               a->padding[1], a->dilation[0], a->dilation[1], a->groups,      (int64_t)pass};
    struct bl_tune_item item = {.dev = dev, .is_conv = true, .conv = *s, .pass = pass};
    item.conv.interleave = 1, item.conv.attrs.bias = 0;
    item.key = bl_hash(BL_HASH_START, numbers, sizeof numbers);
    snprintf(
        item.shape, sizeof item.shape,
        "convolution %s %lld x %dx%lldx%lld to %d, kernel %dx%d stride %dx%d padding %dx%d dilation %dx%d groups %d",
        bl_conv_pass_names[pass], (long long)s->n, a->in_channels, (long long)s->h, (long long)s->w, a->out_channels,
        a->kernel[0], a->kernel[1], a->stride[0], a->stride[1], a->padding[0], a->padding[1], a->dilation[0],
        a->dilation[1], a->groups);
    return item;
}

static struct bl_tune_item gemm_item(struct blanch_device *dev, const struct bl_gemm *g) {
    const int64_t numbers[] = {g->m, g->n, g->k, g->trans_a, g->trans_b, g->symmetric, g->batch > 0 ? g->batch : 1};
    struct bl_tune_item item = {.dev = dev, .gemm = *g};
    item.key = bl_hash(BL_HASH_START, numbers, sizeof numbers);
    snprintf(item.shape, sizeof item.shape, "product %lldx%lldx%lld %c%c%s batch %lld", (long long)g->m,
             (long long)g->n, (long long)g->k, g->trans_a ? 't' : 'n', g->trans_b ? 't' : 'n',
             g->symmetric ? " symmetric" : "", (long long)numbers[6]);
    return item;
}

static const char *choose_conv(void *context, struct blanch_device *dev, const struct bl_conv_shape *shape,
                               enum bl_conv_pass pass) {
    struct bl_tuner *t = context;
    if (t->engine) return pass == t->pass ? t->engine : NULL;
    if (shape->type != BL_F32) return NULL; // what is stored in 16 bits has one engine for each shape
    const struct bl_tune_item like = conv_item(dev, shape, pass);
    struct bl_tune_item *item = find(t, dev, like.key);
    if (!item) item = note(t, &like);
    return item && item->state == BL_TUNE_KNOWN ? item->choice : NULL;
}

/* Asked at every product of every step, so the text is made for a new shape alone. */
static enum bl_gemm_route choose_gemm(void *context, struct blanch_device *dev, const struct bl_gemm *g) {
    struct bl_tuner *t = context;
    if (t->route != BL_GEMM_RULE) return t->route;
    const int64_t numbers[] = {g->m, g->n, g->k, g->trans_a, g->trans_b, g->symmetric, g->batch > 0 ? g->batch : 1};
    struct bl_tune_item *item = find(t, dev, bl_hash(BL_HASH_START, numbers, sizeof numbers));
    if (!item && !t->trying) {
        const struct bl_tune_item like = gemm_item(dev, g);
        item = note(t, &like);
    }
    for (int i = 0; item && item->state == BL_TUNE_KNOWN && i < BL_GEMM_ROUTES; i++)
        if (!strcmp(bl_gemm_route_names[i], item->choice)) return (enum bl_gemm_route)i;
    return BL_GEMM_RULE;
}

/* --- life ------------------------------------------------------------------------------------- */

int bl_tuner_create(struct bl_tuner **tuner) {
    struct bl_tuner *t = *tuner = bl_calloc(1, sizeof *t);
    if (!t) return BLANCH_ENOMEM;
    bl_conv_set_chooser(choose_conv, t);
    bl_gemm_set_chooser(choose_gemm, t);
    return 0;
}

void bl_tuner_free(struct bl_tuner *t) {
    if (!t) return;
    bl_conv_set_chooser(NULL, NULL);
    bl_gemm_set_chooser(NULL, NULL);
    for (size_t i = 0; i < t->items; i++) free(t->item[i]);
    for (size_t i = 0; i < t->places; i++) bl_tune_cache_close(&t->place[i].cache);
    cJSON_Delete(t->restored);
    free(t->item), free(t->place), free(t);
}

cJSON *bl_tuner_choices(const struct bl_tuner *t) {
    if (t->frozen) return t->restored ? cJSON_Duplicate(t->restored, true) : NULL;
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

int bl_tuner_restore(struct bl_tuner *t, const cJSON *choices) {
    t->frozen = true;
    if (!choices) return 0;
    t->restored = cJSON_Duplicate(choices, true);
    return t->restored ? 0 : bl_fail(BLANCH_ENOMEM, "out of host memory");
}

int bl_tuner_apply(struct bl_tuner *t, struct blanch_device *dev) {
    struct bl_tune_cache *cache;
    return bl_tune_place(t, dev, &cache);
}

bool bl_tuner_drop_engines(struct bl_tuner *t, const struct blanch_device *dev) {
    bool any = false;
    for (size_t i = 0; i < t->items; i++) {
        struct bl_tune_item *item = t->item[i];
        if (!item->is_conv || item->dev != dev) continue;
        any = any || item->state == BL_TUNE_KNOWN;
        item->state = BL_TUNE_UNDECIDED;
    }
    return any;
}

/* --- measuring -------------------------------------------------------------------------------- */

static cJSON *entry_of(const struct bl_tune_trials *trials) {
    cJSON *entry = cJSON_CreateObject(), *tried = cJSON_CreateArray();
    const struct bl_tune_trial *best = &trials->trial[trials->best];
    cJSON_AddStringToObject(entry, "choice", best->name);
    cJSON_AddItemToObject(entry, "ms", bl_json_number(best->ms, 5));
    for (int i = 0; i < trials->count; i++) {
        cJSON *trial = cJSON_CreateObject();
        cJSON_AddStringToObject(trial, "name", trials->trial[i].name);
        cJSON_AddStringToObject(trial, "result", trials->trial[i].result);
        cJSON_AddItemToObject(trial, "ms", bl_json_number(trials->trial[i].ms, 5));
        cJSON_AddItemToArray(tried, trial);
    }
    cJSON_AddItemToObject(entry, "tried", tried);
    return entry;
}

static void warn(struct bl_tune_report *report) {
    if (!report->warning[0])
        snprintf(report->warning, sizeof report->warning, "what is measured is not kept: %s", blanch_error_message());
}

static int measure_item(struct bl_tuner *t, struct bl_tune_item *item, const struct bl_tune_bounds *bounds,
                        struct bl_tune_report *report) {
    struct bl_tune_trials trials = {.best = -1};
    struct bl_tune_cache *cache;
    t->trying = true;
    int code = item->is_conv ? bl_tune_conv(t, item, bounds, &trials) : bl_tune_gemm(t, item, bounds, &trials);
    t->trying = false;
    if (code) return code;
    for (int i = 0; i < trials.count; i++) {
        report->wrong += trials.trial[i].result[0] == 'w';
        report->failed += trials.trial[i].result[0] == 'f';
    }
    report->measured++;
    item->counted = true;
    if (trials.best < 0) {
        item->state = BL_TUNE_UNDECIDED;
        return 0;
    }
    know(item, trials.trial[trials.best].name);
    if ((code = bl_tune_place(t, item->dev, &cache))) return code;
    if (bl_tune_cache_write(cache, item->shape, entry_of(&trials))) warn(report);
    return 0;
}

int bl_tuner_wanted(const struct bl_tuner *t, const struct blanch_device *dev) {
    int count = 0;
    for (size_t i = 0; i < t->items; i++) count += t->item[i]->dev == dev && t->item[i]->state == BL_TUNE_WANTED;
    return count;
}

/* Another process may have measured it meanwhile. */
static bool known_now(struct bl_tuner *t, struct bl_tune_item *item) {
    learn(t, item);
    return item->state != BL_TUNE_WANTED;
}

int bl_tuner_measure(struct bl_tuner *t, struct blanch_device *dev, const struct bl_tune_bounds *bounds,
                     struct bl_tune_report *report) {
    const double start = bl_now();
    const int total = bl_tuner_wanted(t, dev);
    int code = 0, done = 0;
    for (size_t i = 0; i < t->items && !code; i++) {
        struct bl_tune_item *item = t->item[i];
        if (item->dev != dev || item->state == BL_TUNE_UNDECIDED) continue;
        if (item->state == BL_TUNE_KNOWN || known_now(t, item)) {
            report->known += !item->counted;
            item->counted = true;
            continue;
        }
        if (bounds->stop && *bounds->stop)
            code = bl_fail(BLANCH_EINTERRUPTED, "interrupted");
        else if (bl_now() - start >= bounds->seconds)
            break;
        else if (!(code = measure_item(t, item, bounds, report)) && bounds->progress)
            bounds->progress(bounds->context, ++done, total, item->shape);
    }
    report->seconds += bl_now() - start;
    report->left = bl_tuner_wanted(t, dev);
    return code;
}
