/* Who computes the products of a layer's inverse root where several ranks share its covariance. No two layers' roots
 * are needed at once: a layer's output needs its D, and its input all those before. So each product is divided, and
 * F^2/2 values are exchanged after it, for F^3/2 multiply-adds forwards and F^3 backwards. What that brings depends on
 * device and network: it is measured in the layer's first pass, and all ranks go by the slowest of them.
 *
 * The products of folding have the same share: O rows of weights, O F values for O F^2 multiply-adds forwards and twice
 * as many backwards. W D goes with the iteration's products, as its bits do not depend on who computes them. Gradients
 * are summed over ranks before they are multiplied where rows are divided, and after it where not, which is other
 * rounding: that is not left to a measurement, but done where all ranks are of one host. */
#include "ops/common.h"
#include "ops/nd/inverse_root.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_FEATURES = 64, TIMED = 5 };
static const double worth = 0.9; // of the time, at most

enum choice { MEASURED, WHOLE, DIVIDED };

/* BLANCH_ROOTS=whole|divided, for tests and to measure what dividing brings. */
static enum choice asked_for(void) {
    const char *text = getenv("BLANCH_ROOTS");
    return !text ? MEASURED : !strcmp(text, "whole") ? WHOLE : !strcmp(text, "divided") ? DIVIDED : MEASURED;
}

static double hash_of(const char *text) {
    return (double)(uint32_t)bl_hash(BL_HASH_START, text, strlen(text));
}

/* What rank 0 was asked for; whole where it cannot be or would be slow. Devices that differ would compute parts of D
 * differently, and wait for each other. */
static int choose(struct bl_inverse_root *root, const struct bl_collectives *all, enum choice *choice) {
    const struct blanch_device_info *info = blanch_device_info(root->node->dev);
    enum { HOST = 4, FACTS };
    char host[256] = "";
    if (gethostname(host, sizeof host - 1)) *host = 0; // then all have one name, and are slower at worst
    const bool pays = root->features >= LEAST_FEATURES || asked_for() == DIVIDED;
    const double own[FACTS] = {asked_for(), bl_on_cpu(root->node->dev) && pays, hash_of(info->name),
                               info->compute_units, hash_of(host)};
    bool together = true;
    double *facts = bl_calloc((size_t)all->ranks, sizeof own);
    int code = facts ? all->gather_host(all->context, own, FACTS, facts) : BLANCH_ENOMEM;
    if (!code) *choice = (enum choice)facts[0];
    for (int i = FACTS; i < FACTS * all->ranks && !code; i++)
        if (facts[i] != facts[i % FACTS]) {
            if (i % FACTS == HOST)
                together = false;
            else if (i % FACTS)
                *choice = WHOLE;
        }
    if (!code && !(facts[1] > 0)) *choice = WHOLE;
    root->division.rows = *choice == DIVIDED || (*choice == MEASURED && together);
    free(facts);
    return code;
}

/* Which all ranks begin together. *seconds becomes the best so far. */
static int time_product(struct bl_inverse_root *root, const struct bl_collectives *all, bool divided, double *seconds) {
    const struct bl_symmetric_product square = {.a = root->s->mem, .b = root->s->mem, .alpha = 1, .c = root->last->mem};
    root->product.all = divided ? all : NULL;
    int code = bl_finish(root->node->dev);
    if (!code) code = bl_sum_host(all, &(double){0}, 1);
    const double start = bl_now();
    if (!code) code = bl_symmetric_multiply(&root->product, &square);
    if (!code) code = bl_finish(root->node->dev);
    *seconds = fmin(*seconds, bl_now() - start);
    return code;
}

/* In turns. A product of the gradient has two pairs of factors, and as much to exchange. */
static int measure(struct bl_inverse_root *root, const struct bl_collectives *all) {
    enum { WAYS = 2 };
    double own[WAYS] = {INFINITY, INFINITY}, whole = 0, divided = 0, *times = bl_calloc((size_t)all->ranks, sizeof own);
    int code = times ? 0 : BLANCH_ENOMEM;
    for (int i = 0; i < WAYS * TIMED && !code; i++) code = time_product(root, all, i % WAYS, &own[i % WAYS]);
    if (!code) code = all->gather_host(all->context, own, WAYS, times);
    for (int k = 0; k < all->ranks && !code; k++)
        whole = fmax(whole, times[WAYS * k]), divided = fmax(divided, times[WAYS * k + 1]);
    free(times);
    root->division.forward = divided < worth * whole;
    root->division.backward = divided + whole / all->ranks < worth * 2 * whole;
    return code;
}

int bl_inverse_root_divide(struct bl_inverse_root *root, const struct bl_collectives *all) {
    enum choice choice = WHOLE;
    root->product.all = NULL;
    if (!all || root->division.ranks == all->ranks) return 0;
    int code = choose(root, all, &choice);
    if (!code && choice != WHOLE) code = bl_symmetric_divide(&root->product, all->ranks);
    root->division.forward = root->division.backward = choice == DIVIDED;
    if (!code && choice == MEASURED) code = measure(root, all);
    if (!code) root->division.ranks = all->ranks;
    return code;
}
