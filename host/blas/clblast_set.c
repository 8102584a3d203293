/* Sets of parameters for CLBlast's products: as text, and those that a search tries. They need no CLBlast. */
#include "blas/internal.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMETERS = BL_CLBLAST_PARAMETERS, UNROLLED = 512 }; // vector operations of an unrolled loop that compiles soon
const char *const bl_clblast_names[PARAMETERS] = {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB",
                                                  "NDIMC", "NWG",  "SA",  "SB",  "STRM",  "STRN",  "VWM", "VWN"};

void bl_clblast_text(const struct bl_clblast_set *set, char *text, size_t size) {
    size_t length = 0;
    for (int i = 0; i < PARAMETERS && length < size; i++)
        length +=
            (size_t)snprintf(text + length, size - length, "%s%s=%d", i ? "," : "", bl_clblast_names[i], set->value[i]);
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
        const size_t length = strlen(bl_clblast_names[i]);
        char *end;
        right = !strncmp(at, bl_clblast_names[i], length) && at[length] == '=';
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
