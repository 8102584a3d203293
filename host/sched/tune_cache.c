/* The tuning cache on disk. */
#include "sched/tune_cache.h"
#include "io/files.h"
#include <dirent.h>
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
    cache->folder = bl_cache_folder("tune");
    return bl_kernels_hash(&cache->kernels);
}

void bl_tune_cache_close(struct bl_tune_cache *cache) {
    free(cache->folder), free(cache->device), free(cache->driver);
    *cache = (struct bl_tune_cache){0};
}

static void hex(char text[20], uint64_t value) {
    snprintf(text, 20, "%016llx", (unsigned long long)value);
}

static char *path_of(const struct bl_tune_cache *cache, const char *shape) {
    uint64_t hash = bl_hash(BL_HASH_START, shape, strlen(shape) + 1);
    hash = bl_hash(hash, &cache->device_hash, sizeof hash);
    hash = bl_hash(hash, &cache->kernels, sizeof hash);
    hash = bl_hash(hash, &cache->limit, sizeof hash);
    return bl_format("%s/%016llx.json", cache->folder, (unsigned long long)hash);
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

static bool is_whole(const cJSON *entry) {
    return text_is(entry, "shape", NULL) && text_is(entry, "choice", NULL) && text_is(entry, "device", NULL) &&
           cJSON_IsNumber(cJSON_GetObjectItem(entry, "ms"));
}

cJSON *bl_tune_cache_read(const struct bl_tune_cache *cache, const char *shape) {
    char *path = cache->folder ? path_of(cache, shape) : NULL;
    cJSON *entry = NULL;
    if (path && bl_path_exists(path) && bl_json_read(path, &entry)) entry = NULL;
    free(path);
    if (entry && is_whole(entry) && is_current(cache, entry) && text_is(entry, "shape", shape)) return entry;
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

/* Each cache of each process writes a file of its own, which then takes the entry's name. */
int bl_tune_cache_write(const struct bl_tune_cache *cache, const char *shape, cJSON *entry) {
    if (!cache->folder) {
        cJSON_Delete(entry);
        return bl_fail(BLANCH_EIO, "the cache folder ($XDG_CACHE_HOME or ~/.cache, blanch/tune) cannot be made");
    }
    add_key(cache, shape, entry);
    add_conditions(entry);
    char *path = path_of(cache, shape);
    char *own = path ? bl_format("%s.%ld.%p", path, (long)getpid(), (const void *)cache) : NULL;
    int code = own ? bl_json_write(own, entry) : BLANCH_ENOMEM;
    if (!code && rename(own, path)) {
        code = bl_fail(BLANCH_EIO, "%s: cannot be replaced: %s", path, strerror(errno));
        remove(own);
    }
    cJSON_Delete(entry);
    free(own), free(path);
    return code;
}

static void list_file(const struct bl_tune_cache *cache, const char *name, cJSON *list) {
    size_t length = strlen(name);
    if (length < 6 || strcmp(name + length - 5, ".json")) return;
    char *path = bl_format("%s/%s", cache->folder, name);
    cJSON *entry = NULL;
    if (!path || bl_json_read(path, &entry) || !is_whole(entry)) {
        cJSON_Delete(entry);
    } else {
        cJSON_AddBoolToObject(entry, "current", is_current(cache, entry));
        cJSON_AddItemToArray(list, entry);
    }
    free(path);
}

cJSON *bl_tune_cache_list(const struct bl_tune_cache *cache) {
    cJSON *list = cJSON_CreateArray();
    DIR *folder = cache->folder ? opendir(cache->folder) : NULL;
    for (struct dirent *file; folder && (file = readdir(folder));) list_file(cache, file->d_name, list);
    if (folder) closedir(folder);
    return list;
}
