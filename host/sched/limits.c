/* Measuring a device's limits and keeping them. */
#include "sched/limits.h"
#include "io/files.h"
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 8, CHAINS = 12 };   // CHAINS as in kernels/limits.cl
static const double least_s = 4e-3; // of a launch that is timed
static const double most_s = 0.15;  // of all launches of one kind
static const size_t buffer_bytes = 64u << 20, first_bytes = 1u << 16;

/* --- measuring ------------------------------------------------------------------------------ */

struct probe {
    struct blanch_device *dev;
    struct bl_kernel *kernel, *read;
    struct bl_mem *x, *y;
    bool cpu;
    int vec, items, steps;
    size_t bytes;
};

static int launch_arithmetic(struct probe *p) {
    struct bl_range range = p->cpu ? BL_GROUPS1((size_t)p->items) : BL_ITEMS((size_t)p->items);
    return bl_launch(p->kernel, range, BL_MEM(p->y), BL_I32(p->items), BL_I32(p->steps));
}

static int launch_stream(struct probe *p, struct bl_kernel *kernel) {
    int64_t vectors = (int64_t)(p->bytes / sizeof(float)) / p->vec, count = (vectors + p->items - 1) / p->items;
    struct bl_range range = p->cpu ? BL_GROUPS1((size_t)p->items) : BL_ITEMS((size_t)p->items);
    return bl_launch(kernel, range, BL_MEM(p->x), BL_MEM(p->y), BL_I64(vectors), BL_I32(p->cpu ? count : 1),
                     BL_I32(p->cpu ? 1 : p->items), BL_I32(count));
}

static int launch_copy(struct probe *p) {
    return launch_stream(p, p->kernel);
}
static int launch_read(struct probe *p) {
    return launch_stream(p, p->read);
}

/* Seconds of the shortest of `rounds` launches, or of fewer where they are slow. */
static int shortest(struct probe *p, int (*launch)(struct probe *), int rounds, double *seconds) {
    int code = 0;
    double end = bl_now() + most_s;
    *seconds = 1e9;
    for (int i = 0; i < rounds && !code && (!i || bl_now() < end); i++) {
        double start = bl_now();
        code = launch(p);
        if (!code) code = bl_finish(p->dev);
        double took = bl_now() - start;
        if (took < *seconds) *seconds = took;
    }
    return code;
}

static int measure_operations(struct probe *p, double *rate) {
    const struct bl_define define = {"VEC", p->vec};
    double seconds = 0;
    int code = bl_kernel_get(p->dev, "limits", "multiply_add", &define, 1, &p->kernel);
    if (!code) code = bl_mem_alloc(p->dev, sizeof(float) * (size_t)p->items, &p->y);
    if (!code) code = bl_mem_fill(p->y, 0, sizeof(float) * (size_t)p->items, 1.0f);
    p->steps = 1;
    if (!code) code = shortest(p, launch_arithmetic, 1, &seconds); // the first may compile
    for (bool more = true; !code && more; p->steps *= more ? 2 : 1) {
        code = shortest(p, launch_arithmetic, 1, &seconds);
        more = seconds < least_s && p->steps < 1 << 26;
    }
    if (!code) code = shortest(p, launch_arithmetic, ROUNDS, &seconds);
    *rate = 2.0 * CHAINS * p->vec * (double)p->steps * p->items / seconds;
    bl_mem_free(p->y);
    return code;
}

/* A first small pass tells whether the large one is to be had in reasonable time (a simulator is a million times
 * slower). */
static int measure_bytes(struct probe *p, double *rate) {
    const struct blanch_device_info *info = blanch_device_info(p->dev);
    const struct bl_define define = {"VEC", p->vec > 4 ? p->vec : 4};
    size_t most = buffer_bytes;
    double copy = 1, read = 1;
    if (most > info->max_alloc / 2) most = info->max_alloc / 2 / 64 * 64;
    if (most > info->global_memory / 8) most = info->global_memory / 8 / 64 * 64;
    p->vec = (int)define.value;
    int code = bl_kernel_get(p->dev, "limits", "stream_copy", &define, 1, &p->kernel);
    if (!code) code = bl_kernel_get(p->dev, "limits", "stream_read", &define, 1, &p->read);
    if (!code) code = bl_mem_alloc(p->dev, most, &p->x);
    if (!code) code = bl_mem_alloc(p->dev, most, &p->y);
    if (!code) code = bl_mem_fill(p->x, 0, most, 1.0f);
    if (!code) code = bl_mem_fill(p->y, 0, most, 1.0f); // a page's first use may take longer than all that is timed
    p->bytes = most < first_bytes ? most : first_bytes;
    if (!code) code = shortest(p, launch_copy, 2, &copy);
    if (copy < 0.05) p->bytes = most;
    if (!code) code = shortest(p, launch_copy, ROUNDS, &copy);
    if (!code) code = shortest(p, launch_read, ROUNDS, &read);
    double by_copy = 2 * (double)p->bytes / copy, by_read = (double)p->bytes / read;
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

/* No device makes more than 1e18 a second. */
static double number(const cJSON *json, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsNumber(item) && item->valuedouble > 0 && item->valuedouble < 1e18 ? item->valuedouble : 0;
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
    if (code == BLANCH_ELIMIT) code = 0; // no memory is left for it
    if (code) goto done;
    if (found.operations > best->operations) best->operations = found.operations;
    if (found.bytes > best->bytes) best->bytes = found.bytes;
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

int bl_limits_now(struct blanch_device *dev, struct bl_limits *now) {
    struct bl_limits best;
    *now = (struct bl_limits){0};
    return look_up(dev, &best, now);
}

const char *bl_limit_beyond(enum bl_limit limit, double share) {
    static const char *const reason[] = {[BL_LIMIT_OPERATIONS] = "fewer", [BL_LIMIT_BYTES] = "cached"};
    return share > 1 ? reason[limit] : NULL;
}
