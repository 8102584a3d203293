/* What `blanch bench` times besides networks. */
#ifndef BL_CLI_BENCH_H
#define BL_CLI_BENCH_H

#include "cli/common.h"

/* A matrix product, shape "MxNxK" or one number for all three, by every way to compute it; `rounds` calls each. */
int bl_bench_product(const struct bl_common *common, const char *shape, int rounds);

#endif
