/* Devices whose compiler ends loops early. */
#include "cl/internal.h"
#include <string.h>

/* Mesa's llvmpipe of some versions (seen: 22.3) lets all loops of a work-item take 65,535 turns together, then ends
 * them without a word: sums lack what comes last. Kernels for CPUs take more. */
int bl_check_loops(struct blanch_device *dev) {
    enum { TURNS = 200000 };
    uint32_t got = 0, want = 1;
    struct bl_mem *y = NULL;
    struct bl_kernel *kernel;
    for (int i = 0; i < TURNS; i++) want = 1664525u * want + 1013904223u;
    int code = bl_mem_alloc(dev, sizeof got, &y);
    if (!code) code = bl_kernel_get(dev, "probe", "probe_loop", NULL, 0, &kernel);
    if (!code) code = bl_launch(kernel, BL_GROUPS1(1), BL_MEM(y), BL_I32(TURNS));
    if (!code) code = bl_mem_read(y, 0, sizeof got, &got);
    bl_mem_free(y);
    if (code || got == want) return code;
    return bl_fail(BLANCH_EDEVICE,
                   "%s (driver %s) does not take the %d turns of a loop, so that results would be wrong: take another "
                   "device or another version of its driver",
                   dev->info.name, dev->info.driver, TURNS);
}

int bl_check_known(struct blanch_device *dev) {
    return strstr(dev->info.name, "llvmpipe") ? bl_check_loops(dev) : 0;
}
