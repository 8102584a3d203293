/* Searching CLBlast's parameters: the shipped set, the seed, then sets of a fixed sequence, timed on a square product.
 * The entry says how many sets were tried, so that a search that ended early goes on where it stopped. */
#include "sched/tune_internal.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const char bl_tune_clblast_shape[] = "clblast Xgemm";
enum { SIZE = 1024 };

struct search {
    struct bl_clblast_set best;
    double ms;      // of best; 0: none was right
    double shipped; // of the set that CLBlast ships; 0: not measured
    int tried;
};

static void read_search(const struct bl_tune_cache *cache, struct search *s) {
    cJSON *entry = bl_tune_cache_read(cache, bl_tune_clblast_shape);
    const cJSON *tried = cJSON_GetObjectItem(entry, "sets"), *shipped = cJSON_GetObjectItem(entry, "shipped_ms");
    *s = (struct search){0};
    if (entry && cJSON_IsNumber(tried) &&
        !bl_clblast_parse(&s->best, cJSON_GetObjectItem(entry, "choice")->valuestring)) {
        s->tried = tried->valueint;
        s->ms = cJSON_GetObjectItem(entry, "ms")->valuedouble;
        s->shipped = cJSON_IsNumber(shipped) ? shipped->valuedouble : 0;
    }
    cJSON_Delete(entry);
}

/* Another process may have searched meanwhile: what it found counts too. */
static int write_search(const struct bl_tune_cache *cache, struct search *s) {
    char text[256];
    struct search other;
    read_search(cache, &other);
    if (other.ms > 0 && other.ms < s->ms) s->best = other.best, s->ms = other.ms;
    if (other.tried > s->tried) s->tried = other.tried;
    cJSON *entry = cJSON_CreateObject();
    bl_clblast_text(&s->best, text, sizeof text);
    cJSON_AddStringToObject(entry, "choice", text);
    cJSON_AddItemToObject(entry, "ms", bl_json_number(s->ms, 5));
    cJSON_AddItemToObject(entry, "shipped_ms", bl_json_number(s->shipped, 5));
    cJSON_AddItemToObject(entry, "gflops", bl_json_number(2e-6 * SIZE * SIZE * SIZE / s->ms, 4));
    cJSON_AddNumberToObject(entry, "sets", s->tried);
    return bl_tune_cache_write(cache, bl_tune_clblast_shape, entry);
}

/* The one that is timed, and some that no tile divides: a set may be right where it divides, and wrong elsewhere. */
static const struct bl_gemm products[] = {
    {.m = SIZE, .n = SIZE, .k = SIZE},
    {.m = 391, .n = 262, .k = 197},
    {.m = 133, .n = 307, .k = 211, .trans_a = true},
    {.m = 218, .n = 149, .k = 331, .trans_b = true, .batch = 3},
};

/* With CLBlast alone; ms, of the first product, is 0 where one of them is wrong, slow or fails. */
static int measure(struct bl_tuner *tuner, struct blanch_device *dev, const struct bl_tune_bounds *bounds, double *ms) {
    int code = 0;
    tuner->clblast_alone = true;
    for (int i = 0; i < BL_COUNT(products) && !code; i++) {
        struct bl_tune_item item = {.dev = dev, .gemm = products[i]};
        struct bl_tune_trials trials = {.best = -1};
        code = bl_tune_gemm(tuner, &item, bounds, &trials);
        if (i == 0)
            *ms = trials.best >= 0 ? trials.trial[trials.best].ms : 0;
        else if (trials.best < 0)
            *ms = 0;
        if (!(*ms > 0)) break;
    }
    tuner->clblast_alone = false;
    return code;
}

/* First the shipped set, while nothing has replaced it, then the seed where there is one. */
static int use_set(struct blanch_device *dev, int position, struct bl_clblast_set *set) {
    const struct bl_clblast_set *seed = bl_clblast_seed(dev);
    if (position == 0) return bl_clblast_ship(dev), 0;
    if (position == 1 && seed)
        *set = *seed;
    else
        bl_clblast_random(set, blanch_device_info(dev)->kind == BLANCH_CPU, (uint64_t)position);
    return bl_clblast_set(dev, set);
}

static int try_set(struct bl_tuner *tuner, struct blanch_device *dev, const struct bl_tune_bounds *bounds,
                   struct search *s) {
    struct bl_clblast_set set;
    double ms = 0;
    int code = use_set(dev, s->tried, &set);
    if (!code) code = measure(tuner, dev, bounds, &ms);
    if (code == BLANCH_EINTERRUPTED || code == BLANCH_ENOMEM) return code;
    if (s->tried++ == 0)
        s->shipped = ms;
    else if (ms > 0 && (s->ms <= 0 || ms < s->ms))
        s->best = set, s->ms = ms;
    return 0;
}

int bl_tuner_clblast(struct bl_tuner *tuner, struct blanch_device *dev, int tries, const struct bl_tune_bounds *bounds,
                     struct bl_tune_report *report) {
    struct bl_tune_cache *cache;
    struct search s;
    const double start = bl_now();
    int code = bl_tune_place(tuner, dev, &cache);
    if (code) return code;
    read_search(cache, &s);
    report->known += s.tried < tries ? s.tried : tries;
    while (!code && s.tried < tries && bl_now() - start < bounds->seconds) {
        char text[80];
        if ((code = try_set(tuner, dev, bounds, &s))) break;
        report->measured++;
        if (s.ms > 0 && write_search(cache, &s) && !report->warning[0])
            snprintf(report->warning, sizeof report->warning, "what is measured is not kept: %s",
                     blanch_error_message());
        snprintf(text, sizeof text, "CLBlast, best %.1f GFLOP/s", s.ms > 0 ? 2e-6 * SIZE * SIZE * SIZE / s.ms : 0);
        if (bounds->progress) bounds->progress(bounds->context, s.tried, tries, text);
    }
    report->left = s.tried < tries ? tries - s.tried : 0;
    report->seconds += bl_now() - start;
    return code;
}

void bl_tune_apply_clblast(struct bl_tuner *tuner, const struct bl_tune_cache *cache, struct blanch_device *dev) {
    struct search s = {0};
    const cJSON *recorded = cJSON_GetObjectItemCaseSensitive(tuner->restored, bl_tune_clblast_shape);
    if (!tuner->frozen)
        read_search(cache, &s);
    else if (cJSON_IsString(recorded) && !bl_clblast_parse(&s.best, recorded->valuestring))
        s.ms = 1;
    if (s.shipped > 0 && s.ms >= s.shipped)
        bl_clblast_ship(dev);
    else if (s.ms > 0 && !bl_clblast_set(dev, &s.best))
        tuner->clblast = s.best, tuner->have_clblast = true;
}
