/* The network with batch norm beside a trained one. */
#include "train/baseline.h"
#include "train/session.h"
#include <math.h>
#include <stdlib.h>

struct own {
    struct blanch_network *net;
    bool warm; // it has made a step: its kernels are built
};

/* Its learning rate is 0, so that it stays the network that it is. */
static int step(void *context, const struct bl_batch *batch, double *ms) {
    struct own *own = context;
    struct blanch_update still = bl_graph_optimiser(own->net->graph)->defaults;
    still.lr = still.weight_decay = 0;
    const struct bl_step wanted = {.batch = batch, .update = &still, .finish = true};
    struct bl_stepped stepped;
    int code = own->warm ? 0 : bl_session_step(own->net->session, &wanted, &stepped);
    own->warm = true;
    if (!code) code = bl_finish(own->net->dev); // what was trained before it is not its own
    if (!code) code = bl_session_step(own->net->session, &wanted, &stepped);
    *ms = code ? 0 : stepped.wall_ms;
    return code;
}

static void close_own(void *context) {
    struct own *own = context;
    blanch_network_free(own->net);
    free(own);
}

int bl_baseline_open(struct bl_baseline *baseline, const struct blanch_network *net) {
    struct bl_network_options options = net->options;
    struct own *own = bl_calloc(1, sizeof *own);
    if (!own) return BLANCH_ENOMEM;
    options.norm = BLANCH_BN;
    options.ema = 0;
    options.no_decay = NULL; // of the other's names
    options.nd = (struct blanch_nd_options){.eps = NAN, .momentum = NAN};
    int code = bl_network_create(&own->net, net->dev, &options);
    if (code) {
        code = bl_fail_in(code, "an overhead budget keeps the network with batch norm beside the trained one");
        close_own(own);
        return code;
    }
    *baseline = (struct bl_baseline){.context = own, .step = step, .close = close_own};
    return 0;
}
