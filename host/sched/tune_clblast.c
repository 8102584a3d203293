/* Searching CLBlast's parameters: the shipped set, the seed, then sets of a fixed sequence, timed on a square product.
 * The entry says how many sets were tried, so that a search that ended early goes on where it stopped, and has the
 * choice "none" while none but the shipped one was right. */
#include "sched/tune_internal.h"
#include "io/files.h"
#include <stdio.h>
#include <string.h>

const char bl_tune_clblast_shape[] = "clblast Xgemm f32";
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
    const char *choice = entry ? cJSON_GetObjectItem(entry, "choice")->valuestring : "";
    *s = (struct search){0};
    if (cJSON_IsNumber(tried) && tried->valueint >= 0 &&
        (!strcmp(choice, "none") || !bl_clblast_parse(&s->best, choice))) {
        s->tried = tried->valueint;
        s->ms = strcmp(choice, "none") ? cJSON_GetObjectItem(entry, "ms")->valuedouble : 0;
        s->shipped = cJSON_IsNumber(shipped) && shipped->valuedouble >= 0 ? shipped->valuedouble : 0;
    }
    cJSON_Delete(entry);
}

/* Another process may have searched meanwhile: what it found counts too. */
static void write_search(struct bl_tuner *tuner, struct search *s) {
    char text[256] = "none";
    struct search other;
    read_search(&tuner->cache, &other);
    if (other.ms > 0 && (s->ms <= 0 || other.ms < s->ms)) s->best = other.best, s->ms = other.ms;
    if (other.tried > s->tried) s->tried = other.tried;
    if (s->ms > 0) bl_clblast_text(&s->best, text, sizeof text);
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "choice", text);
    cJSON_AddItemToObject(entry, "ms", bl_json_number(s->ms, 5));
    cJSON_AddItemToObject(entry, "shipped_ms", bl_json_number(s->shipped, 5));
    if (s->ms > 0) cJSON_AddItemToObject(entry, "gflops", bl_json_number(2e-6 * SIZE * SIZE * SIZE / s->ms, 4));
    cJSON_AddNumberToObject(entry, "sets", s->tried);
    bl_tune_cache_write(&tuner->cache, bl_tune_clblast_shape, entry);
}

/* The one that is timed, and some that no tile divides: a set may be right where it divides, and wrong elsewhere. */
static const struct bl_gemm products[] = {
    {.m = SIZE, .n = SIZE, .k = SIZE},
    {.m = 391, .n = 262, .k = 197},
    {.m = 133, .n = 307, .k = 211, .trans_a = true},
    {.m = 218, .n = 149, .k = 331, .trans_b = true, .batch = 3},
};

/* With CLBlast alone; ms, of the first product, is 0 where one of them is wrong, slow or fails. */
static int measure(struct bl_tuner *tuner, double *ms) {
    int code = 0;
    tuner->clblast_alone = true;
    for (int i = 0; i < BL_COUNT(products) && !code; i++) {
        struct bl_tune_item item = {.gemm = products[i], .shape = "a set of its parameters"};
        struct bl_tune_trials trials = {.best = -1};
        code = bl_tune_gemm(tuner, &item, &trials);
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

static int try_set(struct bl_tuner *tuner, struct search *s) {
    struct bl_clblast_set set;
    double ms = 0;
    int code = use_set(tuner->dev, s->tried, &set);
    if (!code) code = measure(tuner, &ms);
    if (bl_tune_beyond(code)) return code;
    if (s->tried++ == 0)
        s->shipped = ms;
    else if (ms > 0 && (s->ms <= 0 || ms < s->ms))
        s->best = set, s->ms = ms;
    return 0;
}

static void say_none(const struct bl_tuner *tuner, const struct search *s) {
    char line[200];
    if (s->ms > 0 || !tuner->bounds.said) return;
    snprintf(line, sizeof line,
             "CLBlast: %s of the %d sets tried is right and within the bounds (a call %.3g s, building %.3g s)",
             s->shipped > 0 ? "none but the shipped" : "none", s->tried, tuner->bounds.candidate, tuner->bounds.build);
    tuner->bounds.said(tuner->bounds.context, line);
}

int bl_tuner_clblast(struct bl_tuner *tuner, int tries) {
    const struct bl_tune_bounds *bounds = &tuner->bounds;
    struct bl_tune_report *report = &tuner->report;
    struct search s;
    const double start = bl_now(), rest = bounds->seconds - tuner->used;
    int code = 0;
    read_search(&tuner->cache, &s);
    report->known += s.tried < tries ? s.tried : tries;
    while (s.tried < tries && bl_now() - start < rest) {
        char text[80];
        if ((code = try_set(tuner, &s))) break;
        report->measured++;
        write_search(tuner, &s);
        snprintf(text, sizeof text, "CLBlast, best %.1f GFLOP/s", s.ms > 0 ? 2e-6 * SIZE * SIZE * SIZE / s.ms : 0);
        if (bounds->progress) bounds->progress(bounds->context, s.tried, tries, text);
    }
    if (bounds->progress) bounds->progress(bounds->context, s.tried, tries, NULL);
    if (!code) say_none(tuner, &s);
    report->left = s.tried < tries ? tries - s.tried : 0;
    tuner->used += bl_now() - start, report->seconds += bl_now() - start;
    return code;
}

/* true: `set` is to be set. The shipped one stays where it was faster, or alone was right. */
static bool found(struct blanch_device *dev, const struct search *s) {
    const bool alone = s->ms <= 0 && s->tried > 1;
    if (s->shipped > 0 && (alone || s->ms >= s->shipped))
        bl_clblast_ship(dev);
    else if (s->ms > 0)
        return !bl_clblast_set(dev, &s->best);
    return false;
}

void bl_tune_apply_clblast(struct bl_tuner *tuner) {
    struct search s = {0};
    const char *recorded = bl_tune_replayed(tuner, bl_tune_clblast_shape);
    if (!tuner->replayed)
        read_search(&tuner->cache, &s);
    else if (recorded && !bl_clblast_parse(&s.best, recorded))
        s.ms = 1;
    tuner->have_clblast = found(tuner->dev, &s);
    tuner->clblast = s.best;
}

int bl_tune_clblast_apply(struct blanch_device *dev) {
    struct bl_tune_cache cache;
    struct search s;
    int code = bl_tune_cache_open(&cache, dev);
    if (code) return code;
    read_search(&cache, &s);
    bl_tune_cache_close(&cache);
    (void)found(dev, &s);
    return 0;
}
