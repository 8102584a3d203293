/* Measuring a device's limits and keeping them. */
#include "sched/limits.h"
#include "io/files.h"
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 6, CHAINS = 12, PASSES = 16 }; // CHAINS as in kernels/limits.cl
static const double least_s = 4e-3;            // of what is timed
static const double most_s = 0.15;             // of all rounds of one size
static const double growth = 1.6;              // what twice the work takes at least, where the work is what is timed
static const double most_rate = 1e18;          // no device makes more a second
static const size_t first_bytes = 1u << 16;

/* --- measuring ------------------------------------------------------------------------------ */

struct probe {
    struct blanch_device *dev;
    struct bl_kernel *kernel;
    struct bl_mem *x, *y;
    bool cpu;
    int vec, items;
    size_t bytes;
};

static int run_arithmetic(void *context, int steps, double *seconds) {
    const struct probe *p = context;
    struct bl_range range = p->cpu ? BL_GROUPS1((size_t)p->items) : BL_ITEMS((size_t)p->items);
    double start = bl_now();
    int code = bl_launch(p->kernel, range, BL_MEM(p->y), BL_I32(p->items), BL_I32(steps));
    if (!code) code = bl_finish(p->dev);
    *seconds = bl_now() - start;
    return code;
}

static int run_stream(void *context, int passes, double *seconds) {
    const struct probe *p = context;
    int64_t vectors = (int64_t)(p->bytes / sizeof(float)) / p->vec, count = (vectors + p->items - 1) / p->items;
    struct bl_range range = p->cpu ? BL_GROUPS1((size_t)p->items) : BL_ITEMS((size_t)p->items);
    int code = 0;
    double start = bl_now();
    for (int i = 0; i < passes && !code; i++)
        code = bl_launch(p->kernel, range, BL_MEM(p->x), BL_MEM(p->y), BL_I64(vectors), BL_I32(p->cpu ? count : 1),
                         BL_I32(p->cpu ? 1 : p->items), BL_I32(count));
    if (!code) code = bl_finish(p->dev);
    *seconds = bl_now() - start;
    return code;
}

/* Seconds of the shortest of some rounds, or of fewer where they are slow. */
static int shortest(const struct bl_growing *work, int size, double *seconds) {
    int code = 0;
    double end = bl_now() + most_s;
    *seconds = 1e9;
    for (int i = 0; i < ROUNDS && !code && (!i || bl_now() < end); i++) {
        double took = 0;
        code = work->run(work->context, size, &took);
        if (took < *seconds) *seconds = took;
    }
    return code;
}

int bl_growing_rate(const struct bl_growing *work, double *rate) {
    double before, now;
    int size = 1, code = work->run(work->context, 1, &before); // may compile
    *rate = 0;
    if (!code) code = shortest(work, size, &before);
    while (!code && size <= work->most / 2) {
        size *= 2;
        code = shortest(work, size, &now);
        if (!code && now >= growth * before && (now >= least_s || size > work->most / 2)) {
            *rate = size / now;
            return 0;
        }
        before = now;
    }
    return code;
}

/* What the work does a second, each unit of it so much; 0 where that cannot be told. */
static int measure_rate(const struct bl_growing *work, double each, double *rate) {
    int code = bl_growing_rate(work, rate);
    *rate *= each;
    if (!(*rate < most_rate)) *rate = 0;
    return code;
}

static int measure_operations(struct probe *p, double *rate) {
    const struct bl_define define = {"VEC", p->vec};
    const struct bl_growing work = {.run = run_arithmetic, .context = p, .most = 1 << 26};
    int code = bl_kernel_get(p->dev, "limits", "multiply_add", &define, 1, &p->kernel);
    if (!code) code = bl_mem_alloc(p->dev, sizeof(float) * (size_t)p->items, &p->y);
    if (!code) code = bl_mem_fill(p->y, 0, sizeof(float) * (size_t)p->items, 1.0f);
    if (!code) code = measure_rate(&work, 2.0 * CHAINS * p->vec * p->items, rate);
    bl_mem_free(p->y);
    return code;
}

/* Two buffers larger than the caches of most devices: a GPU's last one may have 96 MiB. Where a GPU's memory is taken,
 * smaller ones. */
static int make_buffers(struct probe *p, const struct blanch_device_info *info) {
    const size_t least = 64u << 20;
    size_t most = p->cpu || info->unified_memory ? least : 4 * least;
    if (most > info->max_alloc / 2) most = info->max_alloc / 2 / 64 * 64;
    if (most > info->global_memory / 8) most = info->global_memory / 8 / 64 * 64;
    for (;; most /= 2) {
        int code = bl_mem_alloc(p->dev, most, &p->x);
        if (!code) code = bl_mem_alloc(p->dev, most, &p->y);
        if (!code) p->bytes = most;
        if (code != BLANCH_ELIMIT || most / 2 < least) return code;
        bl_mem_free(p->x), bl_mem_free(p->y);
        p->x = p->y = NULL;
    }
}

/* A first small pass tells whether the large one is to be had in reasonable time (a simulator is a million times
 * slower). */
static int measure_bytes(struct probe *p, double *rate) {
    const struct bl_define define = {"VEC", p->vec > 4 ? p->vec : 4};
    const struct bl_growing work = {.run = run_stream, .context = p, .most = PASSES};
    struct bl_kernel *copy = NULL, *read = NULL;
    double first = 1, by_copy = 0, by_read = 0;
    p->vec = (int)define.value;
    int code = bl_kernel_get(p->dev, "limits", "stream_copy", &define, 1, &copy);
    if (!code) code = bl_kernel_get(p->dev, "limits", "stream_read", &define, 1, &read);
    if (!code) code = make_buffers(p, blanch_device_info(p->dev));
    const size_t most = p->bytes;
    if (!code) code = bl_mem_fill(p->x, 0, most, 1.0f);
    if (!code) code = bl_mem_fill(p->y, 0, most, 1.0f); // a page's first use may take longer than all that is timed
    p->kernel = copy;
    p->bytes = most < first_bytes ? most : first_bytes;
    if (!code) code = run_stream(p, 1, &first); // may compile
    if (!code) code = shortest(&work, 1, &first);
    if (first < 0.05) p->bytes = most;
    if (!code) code = measure_rate(&work, 2 * (double)p->bytes, &by_copy);
    p->kernel = read;
    if (!code) code = measure_rate(&work, (double)p->bytes, &by_read);
    *rate = by_copy > by_read ? by_copy : by_read;
    bl_mem_free(p->x), bl_mem_free(p->y);
    return code;
}

static int measure(struct blanch_device *dev, struct bl_limits *limits) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    int units = info->compute_units > 0 ? info->compute_units : 1;
    struct probe p = {.dev = dev, .cpu = info->kind == BLANCH_CPU};
    p.vec = !p.cpu ? 1 : info->float_width >= 16 ? 16 : 8;
    p.items = p.cpu ? 4 * units : 2048 * (units < 4096 ? units : 4096);
    int code = measure_operations(&p, &limits->operations);
    p.x = p.y = NULL;
    return code ? code : measure_bytes(&p, &limits->bytes);
}

/* --- keeping -------------------------------------------------------------------------------- */

enum { NAME = 32 };

static void name_of(const struct blanch_device_info *info, char name[NAME]) {
    const char *const parts[] = {info->platform_name, info->name, info->version, info->driver};
    uint64_t key = bl_hash(BL_HASH_START, &info->compute_units, sizeof info->compute_units);
    for (int i = 0; i < BL_COUNT(parts); i++) key = bl_hash(key, parts[i], strlen(parts[i]) + 1);
    snprintf(name, NAME, "%016llx.json", (unsigned long long)key);
}

static double number(const cJSON *json, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsNumber(item) && item->valuedouble > 0 && item->valuedouble < most_rate ? item->valuedouble : 0;
}

static bool text_is(const cJSON *json, const char *key, const char *value) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
    return text && !strcmp(text, value);
}

/* Zero where nothing usable is kept, or another device's: it is measured anew then. */
static void read_kept(const struct bl_cache *cache, const char *name, const struct blanch_device_info *info,
                      struct bl_limits *limits) {
    cJSON *json = bl_json_cached(cache, name);
    *limits = (struct bl_limits){0};
    if (text_is(json, "device", info->name) && text_is(json, "driver", info->driver)) {
        limits->operations = number(json, "operations_per_s");
        limits->bytes = number(json, "bytes_per_s");
    }
    cJSON_Delete(json);
}

static void keep(const struct bl_cache *cache, const char *name, const struct blanch_device_info *info,
                 const struct bl_limits *limits) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "device", info->name);
    cJSON_AddStringToObject(json, "platform", info->platform_name);
    cJSON_AddStringToObject(json, "driver", info->driver);
    cJSON_AddNumberToObject(json, "compute_units", info->compute_units);
    cJSON_AddItemToObject(json, "operations_per_s", bl_json_number(limits->operations, 5));
    cJSON_AddItemToObject(json, "bytes_per_s", bl_json_number(limits->bytes, 5));
    bl_json_cache(cache, name, json);
    cJSON_Delete(json);
    if (limits->operations > 0) bl_device_keep_rate(info, limits->operations);
}

static void note_lack(struct bl_limits *limits, bool full) {
    const char *why = full ? "no memory was left for it" : "kernels took no longer with more work: a busy machine?";
    bool lacks = !(limits->operations > 0 && limits->bytes > 0);
    snprintf(limits->lacking, sizeof limits->lacking, "%s", lacks ? why : "");
}

/* now NULL: only where nothing is known. */
static int look_up(struct blanch_device *dev, struct bl_limits *best, struct bl_limits *now) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    struct bl_limits found = {0};
    struct bl_cache cache;
    char name[NAME];
    int code = 0;
    name_of(info, name);
    bl_cache_open(&cache, "limits");
    read_kept(&cache, name, info, best);
    bool known = best->operations > 0 && best->bytes > 0;
    if (known && !now) goto done;
    code = measure(dev, &found);
    const bool full = code == BLANCH_ELIMIT;
    if (full) code = 0;
    if (code) goto done;
    note_lack(&found, full);
    if (found.operations > best->operations) best->operations = found.operations;
    if (found.bytes > best->bytes) best->bytes = found.bytes;
    note_lack(best, full);
    if (now) *now = found;
    keep(&cache, name, info, best);
done:
    bl_cache_close(&cache);
    return code;
}

int bl_limits_get(struct blanch_device *dev, bool again, struct bl_limits *limits) {
    struct bl_limits now;
    return look_up(dev, limits, again ? &now : NULL);
}

int bl_limits_at_end(struct blanch_device *dev, struct bl_limits *limits) {
    const double short_s = 10;
    return bl_limits_get(dev, bl_device_seconds(dev) >= short_s, limits);
}

int bl_limits_now(struct blanch_device *dev, struct bl_limits *now) {
    struct bl_limits best;
    *now = (struct bl_limits){0};
    return look_up(dev, &best, now);
}

const char *bl_limit_beyond(enum bl_limit limit, double share) {
    static const char *const reason[] = {[BL_LIMIT_OPERATIONS] = "fewer", [BL_LIMIT_BYTES] = "cached"};
    return share > 1 ? reason[limit] : NULL;
}
