/* --accumulate auto: in how many passes a step's images fit the device. Recomputation goes first, since it changes no
 * value, where smaller passes have statistics of their own. */
#include "train/run.h"

int bl_run_choose_passes(struct run *run) {
    struct bl_network_options *o = &run->o.network;
    const int images = o->batch;
    int code = 0;
    if (o->accumulate != BL_ACCUMULATE_AUTO) return 0;
    if (run->ranks) return bl_fail(BLANCH_EUSAGE, "--accumulate auto is of one rank: give a number of passes");
    for (int passes = 1; passes <= images; passes++) {
        struct bl_network_options network = *o;
        struct blanch_network *net = NULL;
        if (images % passes) continue;
        network.batch = images / passes, network.accumulate = passes;
        if (!network.recompute) network.recompute = BLANCH_RECOMPUTE_AUTO;
        code = bl_network_create(&net, run->dev, &network);
        blanch_network_free(net);
        if (code == BLANCH_ELIMIT) continue;
        if (code) return code;
        o->batch = network.batch, o->accumulate = passes, o->recompute = network.recompute;
        if (passes > 1)
            bl_run_tell(run, BL_TRAIN_NOTICE,
                        "a step's %d images fit in %d passes of %d, whose statistics are their own", images, passes,
                        network.batch);
        return 0;
    }
    return code;
}
