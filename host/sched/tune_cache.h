/* The tuning cache: what was measured, one small file an entry, $XDG_CACHE_HOME/blanch/tune/HASH.json. An entry holds
 * the whole key in clear (device, driver, hash of the kernels' text, memory limit, shape), so that a damaged or foreign
 * file is known for one and measured anew. Files appear by rename: any number of processes may read and write at once.
 */
#ifndef BL_TUNE_CACHE_H
#define BL_TUNE_CACHE_H

#include "base/cache.h"
#include "cl/cl.h"
#include <cjson/cJSON.h>

struct bl_tune_cache {
    struct bl_cache files;
    char *device, *driver;
    uint64_t device_hash, kernels, limit; // limit: as bl_memory_limit
};
int bl_tune_cache_open(struct bl_tune_cache *cache, const struct blanch_device *dev);
void bl_tune_cache_close(struct bl_tune_cache *cache);
/* The entry of a shape, to be deleted; NULL: none, or none that can be used. */
cJSON *bl_tune_cache_read(const struct bl_tune_cache *cache, const char *shape);
/* Adds the key, the date and the system's load to entry and writes it; entry is deleted. */
void bl_tune_cache_write(const struct bl_tune_cache *cache, const char *shape, cJSON *entry);
/* All entries that are whole, an array; each gets "current": it holds for this device, driver, kernels and limit. */
cJSON *bl_tune_cache_list(const struct bl_tune_cache *cache);

#endif
