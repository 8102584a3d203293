/* The set of `blanch suite`, version 1. Whatever changes a row here is a new BL_SUITE_VERSION. docs/suite.md states it.
 */
#include "cli/suite.h"
#include "train/train.h"
#include <stdio.h>
#include <string.h>

enum { BATCH = 128, SMALL_BATCH = 32 };
enum { HALF = 2 }; // settings that are measured with activations in half precision too

static const struct {
    const char *model;
    bool quick, sustained;
} networks[] = {
    {"smallcnn", true, false},    {"resnet18", true, true},      {"resnet50", false, false},
    {"mobilenetv2", true, false}, {"densenet121", false, false}, {"vgg16", false, false},
};

static const struct {
    enum blanch_norm norm;
    const char *setting, *name;
    int block;
    double budget;
    bool quick, quick_networks; // quick_networks: of these alone, at the large batch
} settings[] = {
    {BLANCH_BN, "", "bn", 0, -1, true, false},
    {BLANCH_ND, "", "nd", 0, -1, true, false},
    {BLANCH_ND, "--block 16", "nd-block16", 16, -1, true, true},
    {BLANCH_ND, "--overhead-budget 20%", "nd-budget20", 0, 0.2, false, false},
};

struct plan {
    struct bl_suite_entry *entries;
    int count;
    bool quick;
};

static void add_as(struct plan *plan, int network, int setting, enum bl_suite_mode mode, int batch,
                   enum blanch_precision precision) {
    static const char *const endings[] = {"", "-inference", "-to-85"};
    struct bl_suite_entry *e = &plan->entries[plan->count++];
    *e = (struct bl_suite_entry){.model = networks[network].model,
                                 .setting = settings[setting].setting,
                                 .norm = settings[setting].norm,
                                 .precision = precision,
                                 .mode = mode,
                                 .block = settings[setting].block,
                                 .budget = settings[setting].budget,
                                 .batch = batch};
    e->sustained = !plan->quick && networks[network].sustained && mode == BL_SUITE_TRAIN && batch == BATCH &&
                   !*e->setting && precision == BLANCH_FP32;
    snprintf(e->name, sizeof e->name, "%s-%s-%d%s%s%s", e->model, settings[setting].name, batch, endings[mode],
             precision ? "-" : "", precision ? bl_precision_name(precision) : "");
}

static void add(struct plan *plan, int network, int setting, enum bl_suite_mode mode, int batch) {
    add_as(plan, network, setting, mode, batch, BLANCH_FP32);
}

static void add_training(struct plan *plan, int network, int batch) {
    for (int s = 0; s < BL_COUNT(settings); s++) {
        if (plan->quick && !settings[s].quick) continue;
        if (settings[s].quick_networks && !(networks[network].quick && batch == BATCH)) continue;
        add(plan, network, s, BL_SUITE_TRAIN, batch);
    }
}

/* In inference deconvolution is folded away, with any setting. */
static void add_inference(struct plan *plan, int network) {
    add(plan, network, 0, BL_SUITE_INFERENCE, BATCH);
    if (plan->quick) return;
    add(plan, network, 0, BL_SUITE_INFERENCE, 1);
    add(plan, network, 1, BL_SUITE_INFERENCE, BATCH);
    add(plan, network, 1, BL_SUITE_INFERENCE, 1);
}

int bl_suite_plan(struct bl_suite_entry entries[BL_SUITE_MOST], bool quick) {
    struct plan plan = {.entries = entries, .quick = quick};
    for (int n = 0; n < BL_COUNT(networks); n++) {
        if (quick && !networks[n].quick) continue;
        add_training(&plan, n, BATCH);
        if (!quick) add_training(&plan, n, SMALL_BATCH);
        for (int s = 0; s < HALF && !quick; s++) add_as(&plan, n, s, BL_SUITE_TRAIN, BATCH, BLANCH_FP16);
        add_inference(&plan, n);
    }
    for (int s = 0; s < 2 && !quick; s++) add(&plan, 0, s, BL_SUITE_ACCURACY, BATCH);
    return plan.count;
}
