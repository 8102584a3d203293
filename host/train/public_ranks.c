/* The public call that makes a network that of one rank of several. */
#include "train/public.h"
#include "train/session.h"
#include "dist/staged.h"

static int check_table(const struct blanch_collectives *all) {
    if (!all->gather || !all->exchange || !all->spread)
        return bl_fail(BLANCH_EUSAGE, "collectives lack gather, exchange or spread");
    if (all->ranks >= 1 && all->ranks <= BL_MOST_RANKS && all->rank >= 0 && all->rank < all->ranks) return 0;
    return bl_fail(BLANCH_EUSAGE, "collectives are of rank %d of %d: there are 1 to %d, from 0", all->rank, all->ranks,
                   BL_MOST_RANKS);
}

static int take_meanwhile(struct blanch_collectives *meanwhile, struct blanch_collectives *all) {
    if (!all->meanwhile) return 0;
    int code = bl_take(meanwhile, sizeof *meanwhile, all->meanwhile, "blanch_collectives");
    if (!code) code = check_table(meanwhile);
    if (!code && (meanwhile->rank != all->rank || meanwhile->ranks != all->ranks))
        code = bl_fail(BLANCH_EUSAGE, "collectives of rank %d of %d come with others of rank %d of %d", all->rank,
                       all->ranks, meanwhile->rank, meanwhile->ranks);
    all->meanwhile = meanwhile;
    return code;
}

/* Of one rank alone, unlike what is refused for its arguments: the others would wait for it. */
static int refuse(const struct blanch_collectives *all, int code) {
    if (all->give_up) all->give_up(all->context, code);
    if (all->meanwhile && all->meanwhile->give_up) all->meanwhile->give_up(all->meanwhile->context, code);
    return code;
}

int blanch_network_join(struct blanch_network *network, const struct blanch_collectives *all, bool sync_stats) {
    struct blanch_collectives own, meanwhile;
    int code = bl_given(network && all, __func__);
    if (!code) code = bl_take(&own, sizeof own, all, "blanch_collectives");
    if (!code) code = check_table(&own);
    if (!code) code = take_meanwhile(&meanwhile, &own);
    if (!code && network->options.inference)
        code = bl_fail(BLANCH_EUSAGE, "a network made for inference has no steps that ranks could share");
    if (!code && network->staged) code = bl_fail(BLANCH_EUSAGE, "the network is of several ranks already");
    if (code || own.ranks == 1) return code;
    if ((code = bl_staged_open(&network->staged, &own))) return refuse(&own, code);
    const struct bl_collectives *table = bl_staged_table(network->staged);
    if ((code = bl_graph_join(network->graph, table, sync_stats))) {
        bl_staged_close(network->staged); // of which nothing was asked
        network->staged = NULL;
        return code == BLANCH_EUSAGE ? code : refuse(&own, code);
    }
    code = bl_graph_spread(network->graph);
    if (code) table->give_up(table->context, code); // every step is refused by it
    return code;
}
