/* CLBlast's parameters for products on a device. CLBlast holds one set per kernel and device for the life of the
 * process, and brings a database of its own; what is set here replaces that. */
#include "blas/internal.h"
#include "cl/cl_raw.h"
#include <clblast_c.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMETERS = 16, UNROLLED = 512 }; // vector operations of an unrolled loop that compiles within seconds
static const char *const names[PARAMETERS] = {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB",
                                              "NDIMC", "NWG",  "SA",  "SB",  "STRM",  "STRN",  "VWM", "VWN"};

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
    int code = override(id, "Xgemm", PARAMETERS, names, value);
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

void bl_clblast_text(const struct bl_clblast_set *set, char *text, size_t size) {
    size_t length = 0;
    for (int i = 0; i < PARAMETERS && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%s=%d", i ? "," : "", names[i], set->value[i]);
}

/* --- the search space ------------------------------------------------------------------------- */

static int pick(uint32_t word, const int *list, int count) {
    return list[bl_below(word, (uint32_t)count)];
}
#define PICK(word, ...) pick((word), (const int[]){__VA_ARGS__}, BL_COUNT(((const int[]){__VA_ARGS__})))

/* What CLBlast's kernels demand of a set, and accumulators that may stay in registers. */
static bool is_valid(const struct bl_clblast_set *s) {
    enum { KWG = 2, KWI, MDIMA, MDIMC, MWG, NDIMB, NDIMC, NWG, SA, SB, STRM, STRN, VWM, VWN };
    const int *v = s->value, items = v[MDIMC] * v[NDIMC];
    if (v[KWG] % v[KWI] || v[MWG] % (v[MDIMC] * v[VWM]) || v[NWG] % (v[NDIMC] * v[VWN])) return false;
    if (items < 64 && v[MWG] / v[MDIMC] / v[VWM] * (v[NWG] / v[NDIMC]) * v[KWI] > UNROLLED) return false;
    if (v[MWG] / v[MDIMC] * (v[NWG] / v[NDIMC]) > (items < 64 ? 1024 : 256)) return false;
    if (!v[SA] && !v[SB]) return true; // the rest is about copies in local memory
    if (v[MWG] % (v[MDIMA] * v[VWM]) || v[NWG] % (v[NDIMB] * v[VWN]) || items % v[MDIMA] || items % v[NDIMB])
        return false;
    return v[KWG] % (items / v[MDIMA]) == 0 && v[KWG] % (items / v[NDIMB]) == 0;
}

/* What stands in a file may be anything: of all sets, those that the search may come to are used. */
static bool is_in_space(const struct bl_clblast_set *s) {
    enum { KREG = 1, KWG, SA = 10, STRN = 13, MOST = 4096 };
    const int *v = s->value;
    if (v[0] != 0 || v[KREG] != 1) return false;
    for (int i = KWG; i < PARAMETERS; i++) {
        bool flag = i >= SA && i <= STRN;
        if (v[i] < !flag || v[i] > (flag ? 1 : MOST)) return false;
    }
    return is_valid(s);
}

int bl_clblast_parse(struct bl_clblast_set *set, const char *text) {
    const char *at = text;
    bool right = true;
    for (int i = 0; i < PARAMETERS && right; i++) {
        const size_t length = strlen(names[i]);
        char *end;
        right = !strncmp(at, names[i], length) && at[length] == '=';
        if (!right) break;
        const long value = strtol(at + length + 1, &end, 10);
        right = end > at + length + 1 && value >= 0 && value <= INT_MAX && *end == (i + 1 < PARAMETERS ? ',' : 0);
        set->value[i] = (int)value;
        at = end + 1;
    }
    if (right && is_in_space(set)) return 0;
    return bl_fail(BLANCH_EINPUT, "CLBlast's parameters '%s' are malformed or out of range", text);
}

static void random_gpu(struct bl_clblast_set *set, const uint32_t *w) {
    int mdim = PICK(w[0], 8, 16, 32), ndim = PICK(w[1], 8, 16, 32);
    *set = (struct bl_clblast_set){{0, 1, PICK(w[2], 16, 32, 64), PICK(w[3], 1, 2, 4, 8, 16), mdim, mdim,
                                    PICK(w[4], 8, 16, 32, 64, 128), ndim, ndim, PICK(w[5], 8, 16, 32, 64, 128),
                                    (int)(w[6] & 1), (int)(w[7] & 1), (int)(w[8] & 1), (int)(w[9] & 1),
                                    PICK(w[10], 1, 2, 4, 8, 16), PICK(w[11], 1, 2, 4, 8)}};
}

/* No local memory: on a CPU a copy in it is only a copy, and its barriers put the accumulators into memory (3 to 17
 * GFLOP/s where the seed's kind makes 30 to 44). Items of a group beyond the first read what its cache holds. GEMMK
 * stays 0: with 1, CLBlast 1.5.3 reached 55, but wrote past the end of its buffers where MWG and NWG differ, and NaN
 * came out of some products of other shapes where they do not. */
static void random_cpu(struct bl_clblast_set *set, const uint32_t *w) {
    int vwm = PICK(w[0], 8, 16), vwn = PICK(w[1], 1, 2, 4, 8), mdim = PICK(w[2], 1, 2, 4),
        ndim = PICK(w[3], 1, 2, 4, 8, 16, 32);
    *set = (struct bl_clblast_set){
        {0, 1, PICK(w[4], 8, 16, 32), PICK(w[5], 1, 2, 4, 8), mdim, mdim, mdim * vwm * PICK(w[6], 1, 2, 4), ndim, ndim,
         ndim * vwn * PICK(w[7], 1, 2, 4, 8, 16), 0, 0, (int)(w[8] & 1), (int)(w[9] & 1), vwm, vwn}};
}

void bl_clblast_random(struct bl_clblast_set *set, bool cpu, uint64_t position) {
    for (uint64_t try = 0;; try++) {
        uint32_t w[12];
        for (int i = 0; i < 3; i++) bl_philox(0, BL_RANDOM_DATA, position, 3 * try + (uint64_t)i, w + 4 * i);
        if (cpu)
            random_cpu(set, w);
        else
            random_gpu(set, w);
        if (is_valid(set)) return;
    }
}
