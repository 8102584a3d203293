/* The tuning cache on disk. */
#include "sched/tune_cache.h"
#include "base/private.h"
#include "io/files.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int bl_tune_cache_open(struct bl_tune_cache *cache, const struct blanch_device *dev) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    *cache = (struct bl_tune_cache){.device = bl_strdup(info->name),
                                    .driver = bl_format("%s %s", info->version, info->driver),
                                    .device_hash = bl_device_hash(dev),
                                    .limit = bl_memory_limit(dev)};
    if (!cache->device || !cache->driver) return bl_tune_cache_close(cache), BLANCH_ENOMEM;
    bl_cache_open(&cache->files, "tune");
    return bl_kernels_hash(&cache->kernels);
}

void bl_tune_cache_close(struct bl_tune_cache *cache) {
    bl_cache_close(&cache->files);
    free(cache->device), free(cache->driver);
    *cache = (struct bl_tune_cache){0};
}

static void hex(char text[20], uint64_t value) {
    snprintf(text, 20, "%016llx", (unsigned long long)value);
}

enum { NAME = 32 };

static void name_of(const struct bl_tune_cache *cache, const char *shape, char name[NAME]) {
    uint64_t hash = bl_hash(BL_HASH_START, shape, strlen(shape) + 1);
    hash = bl_hash(hash, &cache->device_hash, sizeof hash);
    hash = bl_hash(hash, &cache->kernels, sizeof hash);
    hash = bl_hash(hash, &cache->limit, sizeof hash);
    snprintf(name, NAME, "%016llx.json", (unsigned long long)hash);
}

static bool text_is(const cJSON *entry, const char *key, const char *value) {
    const cJSON *item = cJSON_GetObjectItem(entry, key);
    return cJSON_IsString(item) && (!value || !strcmp(item->valuestring, value));
}

static bool is_current(const struct bl_tune_cache *cache, const cJSON *entry) {
    char device[20], kernels[20];
    const cJSON *limit = cJSON_GetObjectItem(entry, "limit");
    hex(device, cache->device_hash), hex(kernels, cache->kernels);
    return text_is(entry, "device_hash", device) && text_is(entry, "kernels", kernels) && cJSON_IsNumber(limit) &&
           limit->valuedouble == (double)cache->limit;
}

/* A time in milliseconds; 0 is of a search that has found nothing yet. */
static bool is_time(const cJSON *item) {
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 1e12;
}

static bool is_whole(const cJSON *entry) {
    return text_is(entry, "shape", NULL) && text_is(entry, "choice", NULL) && text_is(entry, "device", NULL) &&
           is_time(cJSON_GetObjectItem(entry, "ms"));
}

cJSON *bl_tune_cache_read(const struct bl_tune_cache *cache, const char *shape) {
    char name[NAME];
    name_of(cache, shape, name);
    cJSON *entry = bl_json_cached(&cache->files, name);
    if (is_whole(entry) && is_current(cache, entry) && text_is(entry, "shape", shape)) return entry;
    cJSON_Delete(entry);
    return NULL;
}

/* What a reader of the entry may want to know. */
static void add_conditions(cJSON *entry) {
    char date[40] = "";
    double load;
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    cJSON_AddStringToObject(entry, "measured", date);
    if (getloadavg(&load, 1) == 1) cJSON_AddItemToObject(entry, "load", bl_json_number(load, 3));
}

static void add_key(const struct bl_tune_cache *cache, const char *shape, cJSON *entry) {
    char text[20];
    cJSON_AddStringToObject(entry, "shape", shape);
    cJSON_AddStringToObject(entry, "device", cache->device);
    cJSON_AddStringToObject(entry, "driver", cache->driver);
    hex(text, cache->device_hash);
    cJSON_AddStringToObject(entry, "device_hash", text);
    hex(text, cache->kernels);
    cJSON_AddStringToObject(entry, "kernels", text);
    cJSON_AddNumberToObject(entry, "limit", (double)cache->limit);
}

void bl_tune_cache_write(const struct bl_tune_cache *cache, const char *shape, cJSON *entry) {
    char name[NAME];
    name_of(cache, shape, name);
    add_key(cache, shape, entry);
    add_conditions(entry);
    bl_json_cache(&cache->files, name, entry);
    cJSON_Delete(entry);
}

static void list_file(const struct bl_tune_cache *cache, const char *name, cJSON *list) {
    size_t length = strlen(name);
    if (length < 6 || strcmp(name + length - 5, ".json")) return;
    cJSON *entry = bl_json_cached(&cache->files, name);
    if (!is_whole(entry)) {
        cJSON_Delete(entry);
        return;
    }
    cJSON_AddBoolToObject(entry, "current", is_current(cache, entry));
    cJSON_AddItemToArray(list, entry);
}

cJSON *bl_tune_cache_list(const struct bl_tune_cache *cache) {
    cJSON *list = cJSON_CreateArray();
    DIR *folder = cache->files.path ? bl_folder_list(cache->files.folder) : NULL;
    if (folder)
        for (struct dirent *file; errno = 0, file = readdir(folder);) list_file(cache, file->d_name, list);
    if (cache->files.path && errno) bl_warn("%s cannot be listed: %s", cache->files.path, strerror(errno));
    if (folder) closedir(folder);
    return list;
}
