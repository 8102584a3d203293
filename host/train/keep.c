/* The weights of epochs, where they are asked for: DIR/epoch-0010.safetensors. */
#include "train/run.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *path_of(const struct run *run, int64_t epoch) {
    return bl_format("%s/epoch-%04" PRId64 ".safetensors", run->o.out, epoch);
}

/* Those before the kept ones, down to one that is gone already. */
static int drop(const struct run *run, int64_t epoch) {
    bool more = true;
    for (int64_t e = epoch - (int64_t)run->o.keep * run->o.save_every; e > 0 && more; e -= run->o.save_every) {
        char *path = path_of(run, e);
        if (!path) return BLANCH_ENOMEM;
        more = !unlink(path);
        const int code =
            more || errno == ENOENT ? 0 : bl_fail(BLANCH_EIO, "%s cannot be removed: %s", path, strerror(errno));
        free(path);
        if (code) return code;
    }
    return 0;
}

int bl_run_keep_epoch(const struct run *run, int64_t epoch) {
    if (!bl_run_writes(run) || !run->o.save_every || epoch % run->o.save_every) return 0;
    char *path = path_of(run, epoch);
    int code = path ? bl_weights_save(run->net->graph, path, run->position.step) : BLANCH_ENOMEM;
    free(path);
    return code || !run->o.keep ? code : drop(run, epoch);
}
