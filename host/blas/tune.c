/* CLBlast's parameters by kind of device, where those it ships serve badly. */
#include "blas/internal.h"
#include "cl/cl_raw.h"
#include <clblast_c.h>
#include <pthread.h>

struct tuning {
    enum blanch_device_kind kind;
    const char *kernel;
    int count;
    const char *names[16];
    size_t values[16];
};

/* CPUs (PoCL 3.1 on two Zen 3 cores, the best of about 30 sets tried at random, results checked, GFLOP/s of processor
 * time at 1024 x 1024 x 1024): 47 where the set shipped makes 16. CPUs take it only under BLANCH_GEMM=clblast: the
 * kernel of gemm.cl makes 127 there and 172 at 576. */
static const struct tuning tunings[] = {
    {BLANCH_CPU,
     "Xgemm",
     16,
     {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB", "NDIMC", "NWG", "SA", "SB", "STRM", "STRN",
      "VWM", "VWN"},
     {0, 1, 16, 1, 2, 2, 32, 2, 2, 128, 0, 0, 0, 0, 16, 8}},
    {BLANCH_CPU, "GemmRoutine", 1, {"XGEMM_MIN_INDIRECT_SIZE"}, {128}}, // XgemmDirect makes 13
};

/* CLBlast keeps one set per device for good, so each device needs it once in the life of the process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cl_device_id tuned[64];
static int tuned_count;

static int apply(cl_device_id id, const struct tuning *t) {
    const char *names[16];
    for (int i = 0; i < t->count; i++) names[i] = t->names[i];
    CLBlastStatusCode status =
        CLBlastOverrideParameters(id, t->kernel, CLBlastPrecisionSingle, (size_t)t->count, names, t->values);
    return status == CLBlastSuccess
               ? 0
               : bl_fail(BLANCH_EDEVICE, "CLBlast refuses parameters for %s (status %d)", t->kernel, (int)status);
}

int bl_clblast_tune(struct blanch_device *dev) {
    cl_device_id id = bl_raw_device(dev);
    int code = 0, at = 0;
    pthread_mutex_lock(&lock);
    while (at < tuned_count && tuned[at] != id) at++;
    if (at == tuned_count && at < BL_COUNT(tuned)) {
        tuned[tuned_count++] = id;
        for (int i = 0; i < BL_COUNT(tunings) && !code; i++)
            if (tunings[i].kind == blanch_device_info(dev)->kind) code = apply(id, &tunings[i]);
    }
    pthread_mutex_unlock(&lock);
    return code;
}
