/* What several subcommands share: options of the network and the device, printing. */
#ifndef BL_COMMON_H
#define BL_COMMON_H

#include "cli.h"
#include "io/document.h"
#include "process.h"
#include "sched/ledger.h"
#include "model.h"

enum { BL_MAX_OPTIONS = 96 };
enum {
    BL_COMMON_NETWORK = 1,
    BL_COMMON_BATCH = 2,
    BL_COMMON_DEVICE = 4,
    BL_COMMON_SEED = 8,
    BL_COMMON_ND = 16,
    BL_COMMON_JSON = 32,
    BL_COMMON_TUNE = 64,
    BL_COMMON_OPTIMISER = 128, // which
    BL_COMMON_UPDATE = 256,    // its settings
    BL_COMMON_RECOMPUTE = 512,
    BL_COMMON_SIZE = 1024,     // where the network's options are the command's own
    BL_COMMON_IMAGES = 2048,   // how images become the input
    BL_COMMON_DIVISION = 4096, // which of them validate
    BL_COMMON_CACHE = 8192,
    BL_COMMON_WORKERS = 16384,
    BL_COMMON_PRECISION = 32768
};

struct bl_common_data { // NULL, 0, NAN: not given
    const char *augment, *normalise, *auto_augment;
    float random_erase, mixup, cutmix;
    const char *val_split, *split_file;
    const char *cache;
    int workers;
};

struct bl_common {
    const char *model, *norm, *size, *device, *optimiser, *recompute; // NULL: not given
    const char *precision;                                            // likewise
    const char *whiten, *cov_samples, *whiten_grad, *nd_preset;       // likewise
    int batch;                                                        // 0: not given
    uint64_t max_alloc;
    int64_t seed; // -1: not given
    struct blanch_nd_options nd;
    struct blanch_update update; // NAN: not given; bl_update_resolve
    const char *schedule;        // NULL: not given
    int64_t warmup;              // steps; 0: not given
    float warmup_epochs;         // 0: not given
    struct bl_common_data data;
    bool freeze, no_freeze, nd_keep_norm, no_nd_keep_norm, json, no_tune;
    const struct bl_option *options; // the table that it is filled from
};
void bl_common_init(struct bl_common *common);
/* table (BL_MAX_OPTIONS entries): first own, which ends with a NULL name, then the shared options of the groups. */
void bl_common_options(struct bl_option *table, const struct bl_option *own, struct bl_common *common, unsigned groups);
/* nd as given, --freeze included. chooses: --block auto is taken, BL_BLOCK_AUTO. */
int bl_common_nd(const struct bl_common *common, bool chooses, struct blanch_nd_options *nd);
/* Says on standard error which options given have no effect: those of deconvolution in a network that has none, those
 * of batch norm in one with deconvolution. */
void bl_common_say_unused(const struct bl_common *common, bool has_nd);
/* BLANCH_EUSAGE where an option is given that says so. */
int bl_common_refuse_unused(const struct bl_common *common, bool has_nd);
/* Any option of deconvolution is given. */
bool bl_common_gives_nd(const struct bl_common *common);
/* segments as given, BLANCH_RECOMPUTE_AUTO of "auto", 0 where not given. */
int bl_common_recompute(const struct bl_common *common, int *segments);
/* What --model names, opened, a reference, and --norm, or how a file's network is built where that is not given. Both
 * are required. */
int bl_common_model(const struct bl_common *common, struct blanch_model **model, enum blanch_norm *norm);
/* model, which is a reference in *model too; norm, size, nd, batch (128 where not given), seed (0), optimiser,
 * recompute, precision. */
int bl_common_network(const struct bl_common *common, struct bl_network_options *network, struct blanch_model **model);

/* Prints and deletes. */
int bl_print_json(cJSON *json);
/* A row per layer with the milliseconds of each phase that took any. */
void bl_print_layers(const struct bl_ledger *ledger, struct bl_graph *graph);
/* 11 columns: per cent, or why it is above 100; "-" where it is NAN. */
void bl_print_share(enum bl_limit limit, double share);
/* A line per phase: commands, bytes, operations and the fractions of the device's limits. */
void bl_print_work(const struct bl_ledger *ledger);

#endif
