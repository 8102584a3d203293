/* What several subcommands share. */
#include "common.h"
#include "base/text.h"
#include "io/json.h"
#include "train/open.h"
#include "train/torchvision.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bl_common_init(struct bl_common *common) {
    *common = (struct bl_common){.seed = -1,
                                 .nd = {.eps = NAN, .momentum = NAN},
                                 .update = BL_UPDATE_DEFAULT,
                                 .data = {.random_erase = NAN, .mixup = NAN, .cutmix = NAN}};
}

/* Up to the NULL name; returns how many the table has then. */
static int append(struct bl_option *table, int count, const struct bl_option *options) {
    for (; options && options->name && count < BL_MAX_OPTIONS - 1; options++) table[count++] = *options;
    return count;
}

static int append_update(struct bl_option *table, int count, struct bl_common *c) {
    const struct bl_option options[] = {
        {"lr", BL_OPT_FLOAT, &c->update.lr, 0, 1e6, "X", "learning rate (sgd 0.1, adamw and muon 1e-3)"},
        {"momentum", BL_OPT_FLOAT, &c->update.momentum, 0, 1, "X", "sgd, muon: momentum (0.9, 0.95)"},
        {"nesterov", BL_OPT_FLAG, &c->update.nesterov, 0, 0, NULL, "sgd: Nesterov's momentum, which muon has anyway"},
        {"weight-decay", BL_OPT_FLOAT, &c->update.weight_decay, 0, 1e6, "X",
         "on every parameter (sgd 1e-3, adamw 1e-2, muon 0.1)"},
        {"beta1", BL_OPT_FLOAT, &c->update.beta1, 0, 1, "X", "adamw, muon: of the gradient's mean (0.9)"},
        {"beta2", BL_OPT_FLOAT, &c->update.beta2, 0, 1, "X", "adamw, muon: of the gradient's square (0.999)"},
        {"eps", BL_OPT_FLOAT, &c->update.eps, 0, 1e6, "X", "adamw, muon: added to the square's root (1e-8)"},
        {"clip-grad-norm", BL_OPT_FLOAT, &c->update.clip_grad_norm, 1e-30, 1e30, "X",
         "gradients of a larger norm, of all together, are scaled down to it (none)"},
        {"schedule", BL_OPT_TEXT, &c->schedule, 0, 0, "NAME",
         "cosine, constant, multistep[:E1,E2[:G]], step[:E[:G]], onecycle[:PART], polynomial[:POWER] (cosine)"},
        {"warmup", BL_OPT_INT64, &c->warmup, 1, 1e12, "N", "steps in which the rate rises to --lr (none)"},
        {"warmup-epochs", BL_OPT_FLOAT, &c->warmup_epochs, 1e-6, 1e6, "X", "the same in epochs (none)"},
        {0},
    };
    return append(table, count, options);
}

static int append_nd(struct bl_option *table, int count, struct bl_common *c) {
    const struct bl_option options[] = {
        {"block", BL_OPT_AUTO, &c->nd.block, 1, 4096, "N|auto",
         "ND: channels whitened together (64); auto: as --overhead-budget allows"},
        {"nd-iter", BL_OPT_INT, &c->nd.iterations, 1, 64, "N", "ND: iterations of the inverse root (5)"},
        {"nd-eps", BL_OPT_FLOAT, &c->nd.eps, 1e-30, 1e3, "X", "ND: added to the covariance (1e-5)"},
        {"nd-momentum", BL_OPT_FLOAT, &c->nd.momentum, 1e-30, 1, "X", "ND: of the running buffers (0.1)"},
        {"sampling-stride", BL_OPT_INT, &c->nd.sampling_stride, 1, 64, "N", "ND: of the covariance (3)"},
        {"whiten", BL_OPT_TEXT, &c->whiten, 0, 0, "patches|channels|variances",
         "ND: what a convolution whitens; variances: nothing, features are normalised alone (patches)"},
        {"cov-samples", BL_OPT_TEXT, &c->cov_samples, 0, 0, "N|4F", "ND: most samples of a convolution's covariance"},
        {"nd-preset", BL_OPT_TEXT, &c->nd_preset, 0, 0, "study|fast|channels", "ND: several of these in one word"},
        {"block-fc", BL_OPT_INT, &c->nd.block_fc, 1, 4096, "N", "ND: features whitened in linear layers"},
        {"refresh", BL_OPT_INT, &c->nd.refresh, 1, 1000000, "K", "ND: exact whitening at every K-th step (1)"},
        {"whiten-grad", BL_OPT_TEXT, &c->whiten_grad, 0, 0, "exact|constant", "ND: the gradient through the whitening"},
        {"channel-deconv", BL_OPT_INT, &c->nd.channel_deconv, 1, 4096, "B",
         "BN: a ChannelDeconv of block B before the classifier"},
        {"freeze", BL_OPT_FLAG, &c->freeze, 0, 0, NULL, "ND: whitening is frozen after 100 steps"},
        {"no-freeze", BL_OPT_FLAG, &c->no_freeze, 0, 0, NULL, "ND: nowhere, whatever the network says"},
        {"nd-keep-norm", BL_OPT_FLAG, &c->nd_keep_norm, 0, 0, NULL, "ND: the network's own norms stay beside it"},
        {"no-nd-keep-norm", BL_OPT_FLAG, &c->no_nd_keep_norm, 0, 0, NULL, "ND: none does, layer norms neither"},
        {0},
    };
    return append(table, count, options);
}

static int append_data(struct bl_option *table, int count, struct bl_common_data *d, unsigned groups) {
    const struct {
        unsigned group;
        struct bl_option option;
    } options[] = {
        {BL_COMMON_IMAGES,
         {"augment", BL_OPT_TEXT, &d->augment, 0, 0, "NAME", "cifar, imagenet, none (follows the input size)"}},
        {BL_COMMON_IMAGES,
         {"normalise", BL_OPT_TEXT, &d->normalise, 0, 0, "NAME",
          "measured, none, imagenet, cifar10, ...: mean and deviation (of --init's weights, by the data)"}},
        {BL_COMMON_IMAGES,
         {"auto-augment", BL_OPT_TEXT, &d->auto_augment, 0, 0, "ra|ta", "RandAugment or TrivialAugment (none)"}},
        {BL_COMMON_IMAGES,
         {"random-erase", BL_OPT_FLOAT, &d->random_erase, 0, 1, "P", "a box of an image becomes 0, of so many (0)"}},
        {BL_COMMON_IMAGES,
         {"mixup", BL_OPT_FLOAT, &d->mixup, 0, BL_MOST_ALPHA, "A",
          "images of a batch mixed in pairs, their shares of Beta(A, A) (none)"}},
        {BL_COMMON_IMAGES,
         {"cutmix", BL_OPT_FLOAT, &d->cutmix, 0, BL_MOST_ALPHA, "A",
          "a box of each image is of another; with --mixup either of them (none)"}},
        {BL_COMMON_DIVISION,
         {"val-split", BL_OPT_TEXT, &d->val_split, 0, 0, "P%",
          "this share of the training images validates instead, by --seed"}},
        {BL_COMMON_DIVISION,
         {"split-file", BL_OPT_TEXT, &d->split_file, 0, 0, "FILE",
          "which image is of which split: lines of train, val or test and its name"}},
        {BL_COMMON_CACHE, {"cache", BL_OPT_TEXT, &d->cache, 0, 0, "DIR", "keeps decoded, resized pictures there"}},
        {BL_COMMON_WORKERS,
         {"workers", BL_OPT_INT, &d->workers, 1, 16, "N", "threads of the loader, also -j (cores - 1)", .letter = 'j'}},
    };
    for (int i = 0; i < BL_COUNT(options) && count < BL_MAX_OPTIONS - 1; i++)
        if (options[i].group & groups) table[count++] = options[i].option;
    return count;
}

void bl_common_options(struct bl_option *table, const struct bl_option *own, struct bl_common *c, unsigned groups) {
    const struct {
        unsigned group;
        struct bl_option option;
    } shared[] = {
        {BL_COMMON_NETWORK,
         {"model", BL_OPT_TEXT, &c->model, 0, 0, "NAME|FILE.json|FILE.onnx",
          "the network; `blanch models` lists them"}},
        {BL_COMMON_NETWORK,
         {"norm", BL_OPT_TEXT, &c->norm, 0, 0, "bn|gn|ln|nd|none|own",
          "batch, group or layer norm, network deconvolution, no norm; as FILE says (its default)"}},
        {BL_COMMON_NETWORK | BL_COMMON_SIZE,
         {"size", BL_OPT_TEXT, &c->size, 0, 0, "N|HxW", "of the images, height x width (the network's own)"}},
        {BL_COMMON_BATCH,
         {"batch", BL_OPT_INT, &c->batch, 1, 1 << 20, "N", "images in a step, also -b (128)", .letter = 'b'}},
        {BL_COMMON_BATCH, {"batch-size", BL_OPT_INT, &c->batch, 1, 1 << 20, "N", NULL}},
        {BL_COMMON_DEVICE,
         {"device", BL_OPT_TEXT, &c->device, 0, 0, "SPEC", "cpu, gpu, P:D, P:D/CORES or part of a name"}},
        {BL_COMMON_DEVICE,
         {"max-alloc", BL_OPT_BYTES, &c->max_alloc, 1, 9e18, "BYTES", "lowers the device's memory limits: 512M, 4G"}},
        {BL_COMMON_SEED,
         {"seed", BL_OPT_INT64, &c->seed, 0, 9007199254740992.0, "N", "of weights, shuffling, augmentation (0)"}},
        {BL_COMMON_TUNE, {"no-tune", BL_OPT_FLAG, &c->no_tune, 0, 0, NULL, "engines by rule, nothing is measured"}},
        {BL_COMMON_JSON, {"json", BL_OPT_FLAG, &c->json, 0, 0, NULL, "prints one JSON document"}},
        {BL_COMMON_OPTIMISER,
         {"optimiser", BL_OPT_TEXT, &c->optimiser, 0, 0, "sgd|adamw|muon", "as torch.optim's; also --optimizer (sgd)"}},
        {BL_COMMON_RECOMPUTE,
         {"recompute", BL_OPT_TEXT, &c->recompute, 0, 0, "N|auto",
          "less memory: activations again in the backward pass, in N segments"}},
        {BL_COMMON_PRECISION,
         {"precision", BL_OPT_TEXT, &c->precision, 0, 0, "fp32|fp16|bf16",
          "how activations and their gradients are stored (fp32)"}},
        {BL_COMMON_OPTIMISER, {"optimizer", BL_OPT_TEXT, &c->optimiser, 0, 0, "NAME", NULL}},
    };
    int count = append_data(table, append(table, 0, own), &c->data, groups);
    for (int i = 0; i < BL_COUNT(shared) && count < BL_MAX_OPTIONS - 1; i++)
        if (shared[i].group & groups) table[count++] = shared[i].option;
    if (groups & BL_COMMON_UPDATE) count = append_update(table, count, c);
    if (groups & BL_COMMON_ND) count = append_nd(table, count, c);
    table[count] = (struct bl_option){0};
    c->options = table;
}

int bl_common_nd(const struct bl_common *common, bool chooses, struct blanch_nd_options *nd) {
    if (common->freeze && common->no_freeze) return bl_fail(BLANCH_EUSAGE, "give --freeze or --no-freeze, not both");
    if (common->nd_keep_norm && common->no_nd_keep_norm)
        return bl_fail(BLANCH_EUSAGE, "give --nd-keep-norm or --no-nd-keep-norm, not both");
    if (common->nd.block == BL_BLOCK_AUTO && !chooses)
        return bl_fail(BLANCH_EUSAGE, "--block auto is for train and compare, which choose within --overhead-budget; "
                                      "give a number");
    *nd = common->nd;
    if (common->whiten_grad && strcmp(common->whiten_grad, "exact") && strcmp(common->whiten_grad, "constant"))
        return bl_fail(BLANCH_EUSAGE, "--whiten-grad takes exact or constant, not '%s'", common->whiten_grad);
    int code = common->whiten ? bl_whiten_parse(common->whiten, &nd->whiten) : 0;
    if (!code && common->cov_samples) code = bl_cov_samples_parse(common->cov_samples, &nd->cov_samples);
    if (!code && common->nd_preset) code = bl_nd_preset(common->nd_preset, nd);
    if (code) return code;
    if (common->whiten_grad) nd->constant_gradient = strcmp(common->whiten_grad, "constant") ? -1 : 1;
    nd->freeze = common->freeze ? 1 : common->no_freeze ? -1 : 0;
    nd->keep_norm = common->nd_keep_norm ? 1 : common->no_nd_keep_norm ? -1 : 0;
    return 0;
}

/* Those of a network with deconvolution, or that of one without; how many. */
static int list_given(const struct bl_common *c, bool of_nd, char *text, size_t size) {
    const struct {
        const char *name;
        bool given;
    } options[] = {{"--block", c->nd.block != 0},
                   {"--nd-iter", c->nd.iterations != 0},
                   {"--nd-eps", !isnan(c->nd.eps)},
                   {"--nd-momentum", !isnan(c->nd.momentum)},
                   {"--sampling-stride", c->nd.sampling_stride != 0},
                   {"--whiten", c->whiten != NULL},
                   {"--cov-samples", c->cov_samples != NULL},
                   {"--nd-preset", c->nd_preset != NULL},
                   {"--block-fc", c->nd.block_fc != 0},
                   {"--refresh", c->nd.refresh != 0},
                   {"--whiten-grad", c->whiten_grad != NULL},
                   {"--freeze", c->freeze},
                   {"--no-freeze", c->no_freeze},
                   {"--nd-keep-norm", c->nd_keep_norm},
                   {"--no-nd-keep-norm", c->no_nd_keep_norm}};
    int count = 0;
    *text = 0;
    for (int i = 0; of_nd && i < BL_COUNT(options); i++) {
        size_t used = strlen(text);
        if (options[i].given) snprintf(text + used, size - used, "%s%s", count++ ? ", " : "", options[i].name);
    }
    if (!of_nd && c->nd.channel_deconv) snprintf(text, size, "--channel-deconv"), count++;
    return count;
}

bool bl_common_gives_nd(const struct bl_common *common) {
    char text[200];
    return list_given(common, true, text, sizeof text) + list_given(common, false, text, sizeof text) > 0;
}

void bl_common_say_unused(const struct bl_common *common, bool has_nd) {
    char text[200];
    int count = list_given(common, !has_nd, text, sizeof text);
    if (count)
        bl_progress_line(NULL, "warning: %s %s no effect: the network has %s", text, count > 1 ? "have" : "has",
                         has_nd ? "no batch norm" : "no deconvolution");
}

int bl_common_refuse_unused(const struct bl_common *common, bool has_nd) {
    char text[200];
    if (!list_given(common, !has_nd, text, sizeof text)) return 0;
    return bl_fail(BLANCH_EUSAGE, "a network with %s has no use for %s", has_nd ? "deconvolution" : "no deconvolution",
                   text);
}

int bl_common_recompute(const struct bl_common *common, int *segments) {
    const char *text = common->recompute;
    long long value;
    *segments = 0;
    if (text && !strcmp(text, "auto")) *segments = BLANCH_RECOMPUTE_AUTO;
    if (!text || *segments) return 0;
    size_t length = bl_text_whole(text, &value);
    if (!length || text[length] || value < 1 || value > BL_MAX_SEGMENTS)
        return bl_fail(BLANCH_EUSAGE, "--recompute takes auto or segments from 1 to %d, not '%s'", BL_MAX_SEGMENTS,
                       text);
    *segments = (int)value;
    return 0;
}

int bl_common_model(const struct bl_common *common, struct blanch_model **model, enum blanch_norm *norm) {
    *model = NULL;
    *norm = BLANCH_OWN;
    if (!common->model) return bl_fail(BLANCH_EUSAGE, "--model is missing; `blanch models` lists the networks");
    const struct bl_torchvision *named = bl_torchvision_find(common->model);
    if (!common->norm && !bl_model_is_file(common->model) && !bl_torchvision_named(common->model))
        return bl_model_lacks_norm(common->model);
    int code = common->norm ? bl_norm_parse(common->norm, norm) : 0;
    if (named && *norm == BLANCH_OWN) *norm = named->norm;
    return code ? code : bl_model_open(model, common->model);
}

int bl_common_network(const struct bl_common *common, struct bl_network_options *network, struct blanch_model **model) {
    enum blanch_norm norm;
    int code = bl_common_model(common, model, &norm);
    if (code) return code;
    *network = (struct bl_network_options){
        .model = common->model,
        .definition = *model,
        .norm = norm,
        .batch = common->batch ? common->batch : 128,
        .seed = common->seed < 0 ? 0 : (uint64_t)common->seed,
        .optimiser = common->optimiser,
    };
    code = bl_model_size(*model, common->size, &network->height, &network->width);
    if (!code) code = bl_common_recompute(common, &network->recompute);
    if (!code) code = bl_precision_parse(common->precision, &network->precision);
    return code ? code : bl_common_nd(common, false, &network->nd);
}

/* --- printing ------------------------------------------------------------------------------- */

int bl_print_json(cJSON *json) {
    char *text = bl_json_print(json, true);
    cJSON_Delete(json);
    if (!text) return BLANCH_ENOMEM;
    puts(text);
    free(text);
    return 0;
}

static double row_ms(const struct bl_ledger *ledger, int row) {
    double sum = 0;
    for (int phase = 0; phase < BL_PHASES; phase++) sum += bl_ledger_ms(ledger, row, phase);
    return sum;
}

static double phase_ms(const struct bl_ledger *ledger, int rows, int phase) {
    double sum = 0;
    for (int row = 0; row < rows; row++) sum += bl_ledger_ms(ledger, row, phase);
    return sum;
}

static void print_row(const struct bl_ledger *ledger, const char *name, int row, const bool *shown, double total) {
    printf("%-28.28s %9.3f", bl_shown(name), total);
    for (int phase = 0; phase < BL_PHASES; phase++) {
        if (!shown[phase]) continue;
        double ms = bl_ledger_ms(ledger, row, phase);
        if (ms > 0)
            printf(" %9.3f", ms);
        else
            printf(" %9s", ".");
    }
    putchar('\n');
}

/* The phases' names are longer than their columns: whiten_backward becomes whiten_ba. */
void bl_print_layers(const struct bl_ledger *ledger, struct bl_graph *graph) {
    int nodes = bl_graph_nodes(graph);
    bool shown[BL_PHASES];
    printf("%-28s %9s", "layer, milliseconds a step", "all");
    for (int phase = 0; phase < BL_PHASES; phase++) {
        shown[phase] = phase_ms(ledger, nodes + 1, phase) > 0;
        if (shown[phase]) printf(" %9.9s", bl_phase_names[phase]);
    }
    putchar('\n');
    double all = 0;
    for (int row = 0; row <= nodes; row++) {
        double total = row_ms(ledger, row);
        all += total;
        if (total > 0) print_row(ledger, row < nodes ? bl_graph_node(graph, row)->name : "(step)", row, shown, total);
    }
    printf("%-28s %9.3f", "(sum)", all);
    for (int phase = 0; phase < BL_PHASES; phase++)
        if (shown[phase]) printf(" %9.3f", phase_ms(ledger, nodes + 1, phase));
    putchar('\n');
}

void bl_print_share(enum bl_limit limit, double share) {
    const char *beyond = bl_limit_beyond(limit, share);
    if (isnan(share) || beyond)
        printf("%11s", beyond ? beyond : "-");
    else
        printf("%11.1f", 100 * share);
}

static void print_work_line(const char *name, struct bl_work_done work) {
    if (!(work.launches > 0)) return;
    printf("%-20s %9.3f %9.3f %9.3f %9.1f %9.1f %9.3f", name, work.ms, work.device_ms, work.host_ms, work.launches,
           1e-6 * work.bytes, 1e-9 * work.operations);
    bl_print_share(BL_LIMIT_OPERATIONS, work.arithmetic);
    bl_print_share(BL_LIMIT_BYTES, work.bandwidth);
    putchar('\n');
}

void bl_print_work(const struct bl_ledger *ledger) {
    printf("\n%-20s %9s %9s %9s %9s %9s %9s %10s %10s\n", "phase, a step", "ms", "device ms", "host ms", "launches",
           "MB", "Gop", "% of arith.", "% of bandw.");
    for (int phase = 0; phase < BL_PHASES; phase++)
        print_work_line(bl_phase_names[phase], bl_ledger_work(ledger, -1, phase));
    print_work_line("all", bl_ledger_work(ledger, -1, -1));
}
