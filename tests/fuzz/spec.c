/* Texts that options take, the first byte says which: data, device, settings of a comparison, schedule, overhead
 * budget, sizes and numbers, CLBlast's parameters, a budget's state. */
#include "fuzz.h"
#include "../../host/cl/device.c"
#include "../../host/cli/options.c"
#include "blas/internal.h"
#include "cli/compare.h"
#include "dataset.h"
#include "sched/budget.h"

/* Of what is drawn, not read, nothing large: it takes long. */
static void data_spec(const char *text) {
    struct bl_dataset *set = NULL;
    const char *x = strchr(text, 'x');
    if (strncmp(text, "synthetic:", 10) || (x && atol(x + 1) > 4)) return;
    expect_read(bl_dataset_open(&set, text, 0));
    bl_dataset_close(set);
}

static void device_spec(const char *text) {
    struct bl_found list[] = {
        {.usable = true, .info = {.kind = BLANCH_CPU, .compute_units = 2, .is_default = true, .name = "cpu one"}},
        {.usable = true, .info = {.device = 1, .kind = BLANCH_GPU, .compute_units = 9, .name = "gpu"}},
        {.info = {.platform = 1, .kind = BLANCH_ACCELERATOR, .name = "gpu two"}},
    };
    struct share share;
    int chosen, code = choose(list, BL_COUNT(list), text, &chosen, &share);
    expect_read(code);
    if (!code && (chosen < 0 || chosen >= BL_COUNT(list) || share.cores < 0 || share.part < 0)) abort();
}

static void settings(const char *text) {
    struct bl_compare c = {.settings_text = text};
    bl_common_init(&c.common);
    expect_read(bl_compare_parse_settings(&c));
}

static void schedule(const char *text) {
    struct bl_schedule schedule = {.lr = 0.1f, .steps = 100, .epoch_steps = 10};
    expect_read(bl_schedule_parse(&schedule, text));
    for (int i = 0; i < 100; i += 7) bl_schedule_lr(&schedule, i);
}

static void value(const char *text) {
    int i;
    int64_t l;
    float f;
    uint64_t b;
    const struct bl_option kinds[] = {
        {"i", BL_OPT_INT, &i, 1, 1 << 20, "N", ""},   {"l", BL_OPT_INT64, &l, 1, 1e12, "N", ""},
        {"f", BL_OPT_FLOAT, &f, 1e-30, 1e3, "X", ""}, {"b", BL_OPT_BYTES, &b, 1, 9e18, "B", ""},
        {"j", BL_OPT_INT, &i, 0, 0, "N", ""},         {"m", BL_OPT_INT64, &l, 0, 9007199254740992.0, "N", ""},
    };
    for (int k = 0; k < BL_COUNT(kinds); k++) expect_read(read_value(&kinds[k], text));
}

static void budget(const char *text) {
    double share;
    struct bl_budget *budget = NULL;
    expect(bl_budget_parse(text, &share));
    expect(bl_budget_create(&budget, 0.2, 2));
    expect_read(bl_budget_restore(budget, text));
    bl_budget_free(budget);
}

static void clblast(const char *text) {
    struct bl_clblast_set set;
    expect_read(bl_clblast_parse(&set, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const readers[])(const char *) = {data_spec, device_spec, settings, schedule, value, budget, clblast};
    if (size < 1) return 0;
    char *text = part_text((struct part){data + 1, size - 1});
    readers[*data % BL_COUNT(readers)](text);
    free(text);
    return 0;
}
