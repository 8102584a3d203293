/* An entry of the cache of limits: what is kept of this device is usable, or measured anew. */
#include "fuzz.h"
#include "../../host/sched/limits.c"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct blanch_device_info info = {.name = "d", .driver = "v"};
    const struct bl_cache cache = {0};
    struct bl_limits limits;
    memory_file("entry", data, size);
    read_kept(&cache, "entry", &info, &limits);
    if (!(limits.operations >= 0 && limits.operations < 1e18 && limits.bytes >= 0 && limits.bytes < 1e18)) abort();
    if (limits.operations > 0 && limits.bytes > 0) expect_read(0);
    return 0;
}
