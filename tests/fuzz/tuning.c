/* An entry of the tuning cache, as the tuner and as `tune --show` read it. */
#include "fuzz.h"
#include "blas/internal.h"
#include "io/files.h"
#include "../../host/sched/tune_cache.c"

static const char shape[] = "shape";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char device[] = "d", driver[] = "v";
    const struct bl_tune_cache cache = {.device = device, .driver = driver, .device_hash = 1, .kernels = 2};
    struct bl_clblast_set set;
    static char name[NAME];
    name_of(&cache, shape, name);
    memory_file(name, data, size);
    cJSON *entry = bl_tune_cache_read(&cache, shape);
    if (entry) expect_read(bl_clblast_parse(&set, cJSON_GetObjectItem(entry, "choice")->valuestring));
    cJSON_Delete(entry);
    cJSON *list = cJSON_CreateArray();
    list_file(&cache, name, list);
    cJSON_Delete(list);
    return 0;
}
