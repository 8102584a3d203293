/* blanch train: trains a network on a dataset into a run directory. */
#include "cli/common.h"
#include "cli/launch.h"
#include "cli/train.h"
#include "cli/tune.h"
#include "dist/mpi.h"
#include "train/open.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

struct screen {
    bool quiet;
    struct bl_progress *progress;
};

/* Steps move the bar; everything else is a line of its own. */
static void listen(void *context, enum bl_train_event event, int64_t step, int64_t steps, const char *text) {
    struct screen *screen = context;
    if (screen->quiet && event != BL_TRAIN_WARNING && event != BL_TRAIN_NOTICE) return;
    if (event == BL_TRAIN_STEP) {
        if (!screen->progress) screen->progress = bl_progress_start("train", steps);
        bl_progress_step(screen->progress, step, "%s", text);
        return;
    }
    bl_progress_line(screen->progress, "%s%s", event == BL_TRAIN_WARNING ? "warning: " : "", text);
}

static int parse(int argc, char **argv, struct bl_train_call *call, bool *help) {
    struct bl_train_options *o = &call->options;
    const struct bl_option own[] = {
        {"data", BL_OPT_TEXT, &o->data, 0, 0, "SPEC",
         "fashion-mnist[:DIR], mnist|cifar10|cifar100|folder:DIR, npz:FILE, synthetic:CxHxW:N; with masks pairs:DIR, "
         "voc:DIR, synthetic-seg:CxHxW:N"},
        {"task", BL_OPT_TEXT, &o->task, 0, 0, "NAME",
         "classify, segment or generate: refuses a network that does another"},
        {"out", BL_OPT_TEXT, &o->out, 0, 0, "DIR", "the run's directory, made by the run"},
        {"config", BL_OPT_TEXT, &o->config, 0, 0, "FILE", "settings as config.json has them; options go before it"},
        {"resume", BL_OPT_FLAG, &o->resume, 0, 0, NULL, "continues the run in --out from its last checkpoint"},
        {"epochs", BL_OPT_INT, &o->epochs, 1, 1e6, "N", "passes over the training images (1)"},
        {"steps", BL_OPT_INT64, &o->steps, 1, 1e12, "N", "ends after so many steps instead"},
        {"early-stop", BL_OPT_INT, &o->early_stop, 1, 1e6, "N", "ends after N epochs without a better top-1 (never)"},
        {"save-every", BL_OPT_INT, &o->save_every, 1, 1e6, "N", "epoch-E.safetensors after every N-th epoch (none)"},
        {"keep", BL_OPT_INT, &o->keep, 1, 1e6, "N", "the last N of them alone (all)"},
        {"init", BL_OPT_TEXT, &o->init, 0, 0, "FILE", "starts from these weights (safetensors)"},
        {"new-head", BL_OPT_FLAG, &o->new_head, 0, 0, NULL, "of --init all is taken but the classifier"},
        {"accumulate", BL_OPT_AUTO, &o->network.accumulate, 1, 1 << 20, "K|auto",
         "a step takes K batches, a pass each (1); auto: one, in as few passes as fit the device"},
        {"class-weights", BL_OPT_TEXT, &o->class_weights, 0, 0, "balanced|FILE",
         "of the loss, by how rare a class is, or as JSON has them (1 each)"},
        {"ema", BL_OPT_FLOAT, &o->network.ema, 0, 0.9999999, "DECAY",
         "averages of the weights, evaluated too and kept in ema.safetensors (none)"},
        {"no-decay", BL_OPT_TEXT, &o->network.no_decay, 0, 0, "PATTERN,...",
         "parameters without weight decay, by name; norm-bias: those of norms, and biases (none)"},
        {"freeze-layers", BL_OPT_TEXT, &o->network.freeze_layers, 0, 0, "PATTERN,...",
         "parameters that stay as they are, by name: layer1, '*.bias' (none)"},
        {"label-smoothing", BL_OPT_FLOAT, &o->network.loss.smoothing, 0, 0.999999, "X",
         "of the training labels: so much is shared by all classes (0)"},
        {"drop-last", BL_OPT_FLAG, &o->drop_last, 0, 0, NULL, "leaves every partial batch out"},
        {"validate", BL_OPT_INT64, &o->validate, 1, 1e12, "N", "recomputes every N-th step's layers in plain C (slow)"},
        {"diagnose", BL_OPT_FLAG, &o->diagnose, 0, 0, NULL,
         "ND: logs how well every layer whitens, at every 20th step"},
        {"overhead-budget", BL_OPT_TEXT, &o->overhead_budget, 0, 0, "P%",
         "ND: refreshes the whitening as often as this overhead over BN allows (none)"},
        {"tensorboard", BL_OPT_TEXT, &o->tensorboard, 0, 0, "DIR", "writes event files for TensorBoard there"},
        {"expect-top1", BL_OPT_FLOAT, &o->expect_top1, 1e-6, 100, "P",
         "ends with status 1 where the best top-1 is less, per cent (none)"},
        {"devices", BL_OPT_TEXT, &call->devices, 0, 0, "A,B,...",
         "several devices of this machine train together, a rank each"},
        {"device-per-rank", BL_OPT_TEXT, &o->device_per_rank, 0, 0, "auto|LIST",
         "of ranks that mpirun starts: devices, one for each rank of a host (auto)"},
        {"shares", BL_OPT_TEXT, &o->shares, 0, 0, "auto|equal|N,N,...",
         "of the batch, a number for each rank; auto: by measured speed where devices are unlike (auto)"},
        {"rank-timeout", BL_OPT_INT, &call->timeout, 1, 86400, "SECONDS",
         "a rank that keeps the others waiting so long counts as hung (600)"},
        {"sync-stats", BL_OPT_FLAG, &o->sync_stats, 0, 0, NULL, "statistics of a batch are those of all ranks"},
        {"quiet", BL_OPT_FLAG, &call->quiet, 0, 0, NULL, "no progress; warnings, and what is left out, are still said"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &call->common,
                      BL_COMMON_NETWORK | BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_SEED | BL_COMMON_ND |
                          BL_COMMON_TUNE | BL_COMMON_OPTIMISER | BL_COMMON_UPDATE | BL_COMMON_RECOMPUTE |
                          BL_COMMON_IMAGES | BL_COMMON_DIVISION | BL_COMMON_CACHE | BL_COMMON_WORKERS |
                          BL_COMMON_PRECISION);
    return bl_options_parse(&bl_command_train, options, argc, argv, NULL, help);
}

static void take_data(struct bl_train_options *o, const struct bl_common_data *data) {
    o->augment = data->augment, o->normalise = data->normalise, o->auto_augment = data->auto_augment;
    o->random_erase = data->random_erase;
    o->mixup = data->mixup, o->cutmix = data->cutmix;
    o->val_split = data->val_split, o->split_file = data->split_file;
    o->cache = data->cache, o->workers = data->workers;
}

static int take_common(struct bl_train_options *o, const struct bl_common *common) {
    if (o->steps && o->epochs) return bl_fail(BLANCH_EUSAGE, "give --steps or --epochs, not both");
    o->network.model = common->model;
    o->size = common->size;
    o->network.batch = common->batch;
    o->network.optimiser = common->optimiser;
    o->network.seed = common->seed < 0 ? BL_SEED_DEFAULT : (uint64_t)common->seed;
    o->update = common->update;
    o->schedule = common->schedule;
    o->warmup = common->warmup, o->warmup_epochs = common->warmup_epochs;
    o->norm = common->norm;
    o->precision = common->precision;
    take_data(o, &common->data);
    o->device = common->device;
    o->max_alloc = common->max_alloc;
    int code = bl_common_nd(common, true, &o->network.nd);
    return code ? code : bl_common_recompute(common, &o->network.recompute);
}

int bl_train_call_read(struct bl_train_call *call, int argc, char **argv, bool *help) {
    *call = (struct bl_train_call){.options = BL_TRAIN_DEFAULT};
    bl_common_init(&call->common);
    int code = parse(argc, argv, call, help);
    return code || *help ? code : take_common(&call->options, &call->common);
}

/* A run that is resumed, or has a file of settings, finds its network itself. What has no effect is said. */
static int open_model(struct bl_train_options *o, const struct bl_common *common, int rank,
                      struct blanch_model **model) {
    enum blanch_norm norm;
    if (o->resume || o->config) return 0;
    int code = bl_common_model(common, model, &norm);
    if (code) return code;
    const bool nd = bl_model_norm(*model, norm) == BLANCH_ND;
    o->network.definition = *model;
    o->norm = bl_norm_name(norm);
    if (!rank) bl_common_say_unused(common, nd);
    if (!rank && o->diagnose && !nd)
        bl_progress_line(NULL, "warning: --diagnose has no effect: the network has no deconvolution");
    return 0;
}

/* As one rank or as one of several. What the cache knows of engines is taken; ranks that measure at once disturb each
 * other. */
static int train(struct bl_train_options *o, struct bl_first_use *use, int ranks, int timeout) {
    int code = ranks > 1 ? bl_ranks_open(&o->ranks, timeout) : 0;
    if (!code && o->ranks) code = bl_launched_begin(o->ranks);
    if (o->ranks) use->bounds.seconds = 0;
    return code ? code : bl_train(o);
}

/* One line tells what has failed, whichever rank it was. */
static int end_ranks(struct bl_ranks *ranks, int code) {
    if (bl_ranks_agree(ranks, &code)) bl_print_error(code);
    if (bl_ranks_part(ranks, &code)) bl_print_error(code);
    bl_ranks_close(ranks);
    return bl_exit_status(code);
}

/* A single device needs no ranks. */
static int take_devices(struct bl_train_call *call, int ranks) {
    if (ranks > 1)
        return bl_fail(BLANCH_EUSAGE, "--devices starts ranks, and mpirun has: give --device-per-rank instead");
    if (call->common.device) return bl_fail(BLANCH_EUSAGE, "give --devices or --device, not both");
    if (call->options.device_per_rank) return bl_fail(BLANCH_EUSAGE, "give --devices or --device-per-rank, not both");
    if (*call->devices && !strchr(call->devices, ',')) call->options.device = call->devices, call->devices = NULL;
    return 0;
}

static int run(int argc, char **argv) {
    struct blanch_model *model = NULL;
    struct bl_train_call call;
    struct bl_train_options *o = &call.options;
    struct screen screen = {0};
    bool help;
    int rank, ranks;
    bl_ranks_look(&rank, &ranks);
    int code = bl_train_call_read(&call, argc, argv, &help);
    if (!code && !help) {
        bl_end_in_order();
        if (ranks > 1) bl_end_patiently();
        if (call.devices) code = take_devices(&call, ranks);
        if (!code && call.devices) return bl_launch_ranks(call.devices, argc, argv);
    }
    if (!code && !help && !call.devices) {
        if (ranks <= 1 && (o->shares || o->device_per_rank))
            bl_progress_line(NULL, "warning: --%s has no effect: there is one rank",
                             o->shares ? "shares" : "device-per-rank");
        screen.quiet = call.quiet;
        struct bl_first_use use = {.quiet = call.quiet || rank};
        bl_first_use_init(&use, call.common.no_tune);
        if (use.wanted) o->tune = &use.bounds;
        o->listener = listen;
        o->context = &screen;
        code = open_model(o, &call.common, rank, &model);
        if (!code) code = train(o, &use, ranks, call.timeout);
        bl_progress_end(screen.progress);
        bl_model_free(model);
    }
    if (o->ranks) return end_ranks(o->ranks, code);
    return code && rank ? bl_exit_status(code) : code; // what all ranks see alike, the first one tells
}

const struct bl_command bl_command_train = {
    .name = "train",
    .summary = "trains a network on a dataset",
    .usage =
        "usage: blanch train --model NAME|FILE.json|FILE.onnx --norm bn|gn|ln|nd|none|own --data SPEC --out DIR "
        "[options]\n"
        "       blanch train --resume --out DIR [--epochs N | --steps N]\n"
        "\n"
        "Trains with SGD, AdamW or Muon. DIR receives config.json, log.jsonl, last.safetensors, best.safetensors "
        "(state "
        "dicts with\n"
        "PyTorch's names), last.state.safetensors, ledger.json (time by layer and phase) and trace.json. After an\n"
        "interruption (Ctrl-C, a signal, an error, a kill) --resume goes on with the settings of config.json, as if\n"
        "there had been none; with more --epochs or --steps it goes on further, along the schedule of the new length.\n"
        "A run that was stopped before its first checkpoint begins anew, by the same command or by --resume.\n"
        "\n"
        "--validate finds the layer behind results that differ from another device's: the first step and every N-th\n"
        "after it are first run layer by layer, each layer is recomputed on the host from the inputs that the device\n"
        "has, and the first that differs or is not finite ends the run with exit status 1 and its name. Outputs are\n"
        "compared on the first 8 images. Batch norm and deconvolution need the whole batch, in double precision on "
        "one\n"
        "core, which makes such a step far slower than the others.\n",
    .run = run,
};
