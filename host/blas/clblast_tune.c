/* CLBlast's parameters for products on a device. CLBlast holds one set per kernel and device for the life of the
 * process, and brings a database of its own; what is set here replaces that. */
#include "blas/internal.h"
#include "cl/cl_raw.h"
#include <clblast_c.h>
#include <pthread.h>

enum { PARAMETERS = BL_CLBLAST_PARAMETERS };

/* CPUs (PoCL 3.1 on two Zen 3 cores, a busy machine, results checked, GFLOP/s of processor time at 1024 x 1024 x 1024):
 * 40 to 44 where the set shipped makes 10 to 14. CPUs take it only where CLBlast is asked for: the kernel of gemm.cl
 * makes three times as much. */
static const struct bl_clblast_set cpu_seed = {{0, 1, 16, 1, 1, 1, 16, 8, 8, 128, 0, 0, 0, 0, 16, 4}};

/* Of the process, like what it is about: CLBlast's parameters by OpenCL device. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cl_device_id tuned[64];
static int tuned_count;

const struct bl_clblast_set *bl_clblast_seed(const struct blanch_device *dev) {
    return blanch_device_info(dev)->kind == BLANCH_CPU ? &cpu_seed : NULL;
}

static int override(cl_device_id id, const char *kernel, int count, const char *const *name, const size_t *value) {
    const char *list[PARAMETERS];
    for (int i = 0; i < count; i++) list[i] = name[i];
    CLBlastStatusCode status =
        CLBlastOverrideParameters(id, kernel, CLBlastPrecisionSingle, (size_t)count, list, value);
    return status == CLBlastSuccess
               ? 0
               : bl_fail(BLANCH_EDEVICE, "CLBlast refuses parameters for %s (status %d)", kernel, (int)status);
}

static void mark_tuned(cl_device_id id) {
    int at = 0;
    while (at < tuned_count && tuned[at] != id) at++;
    if (at == tuned_count && at < BL_COUNT(tuned)) tuned[tuned_count++] = id;
}

void bl_clblast_ship(struct blanch_device *dev) {
    pthread_mutex_lock(&lock);
    mark_tuned(bl_raw_device(dev));
    pthread_mutex_unlock(&lock);
}

int bl_clblast_set(struct blanch_device *dev, const struct bl_clblast_set *set) {
    static const char *const routine[] = {"XGEMM_MIN_INDIRECT_SIZE"};
    static const size_t least[] = {128}; // below, XgemmDirect, for which nothing is set
    size_t value[PARAMETERS];
    for (int i = 0; i < PARAMETERS; i++) value[i] = (size_t)set->value[i];
    cl_device_id id = bl_raw_device(dev);
    pthread_mutex_lock(&lock);
    int code = override(id, "Xgemm", PARAMETERS, bl_clblast_names, value);
    if (!code && blanch_device_info(dev)->kind == BLANCH_CPU) code = override(id, "GemmRoutine", 1, routine, least);
    mark_tuned(id);
    pthread_mutex_unlock(&lock);
    return code;
}

int bl_clblast_tune(struct blanch_device *dev) {
    const struct bl_clblast_set *seed = bl_clblast_seed(dev);
    cl_device_id id = bl_raw_device(dev);
    bool known = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < tuned_count; i++) known = known || tuned[i] == id;
    pthread_mutex_unlock(&lock);
    return known || !seed ? 0 : bl_clblast_set(dev, seed);
}
