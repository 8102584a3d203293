/* blanch study: cells of the reproduction's tables, one run directory each, beside the published values. */
#include "base/text.h"
#include "cli/ablation.h"
#include "cli/common.h"
#include "io/files.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CHOICES = 32, MAX_CELLS = 4096 };

/* A list of words, "a,b,c", cut apart in place. */
struct choices {
    char *text;
    const char *word[MAX_CHOICES + 1];
    int count;
};

struct study {
    const char *data, *out, *dataset;
    const char *networks_text, *norms_text, *epochs_text, *ablation;
    struct choices networks, norms, epochs;
    int attempts;
    int64_t steps;
    struct bl_common common;
    bool show, drop_last;
    struct bl_cell *cells; // those asked for
    int count;
    struct bl_lock lock;
    int status; // of this process, where a cell of its own diverged or was left out
};

/* --- choosing ------------------------------------------------------------------------------- */

static int split(struct choices *choices, const char *option, const char *text) {
    if (!(choices->text = bl_strdup(text))) return BLANCH_ENOMEM;
    for (char *word = choices->text, *end; word; word = end) {
        if ((end = strchr(word, ','))) *end++ = 0;
        if (!*word) return bl_fail(BLANCH_EUSAGE, "--%s %s: an entry is empty", option, text);
        if (choices->count == MAX_CHOICES)
            return bl_fail(BLANCH_EUSAGE, "--%s takes at most %d entries", option, MAX_CHOICES);
        for (int i = 0; i < choices->count; i++)
            if (!strcmp(choices->word[i], word)) return bl_fail(BLANCH_EUSAGE, "--%s names %s twice", option, word);
        choices->word[choices->count++] = word;
    }
    return 0;
}

static bool has(const struct choices *choices, const char *word) {
    for (int i = 0; i < choices->count; i++)
        if (!strcmp(choices->word[i], word)) return true;
    return false;
}

/* The networks or norms that the tables hold for a dataset, in their order. */
static void published(struct choices *known, const char *dataset, bool norms) {
    *known = (struct choices){0};
    for (const struct bl_study_fact *f = bl_study_facts; f->dataset; f++) {
        const char *word = norms ? f->norm : f->network;
        if (!strcmp(f->dataset, dataset) && !has(known, word) && known->count < MAX_CHOICES)
            known->word[known->count++] = word;
    }
}

static int choose(struct choices *chosen, const char *option, const char *text, const struct study *s, bool norms) {
    struct choices known;
    published(&known, s->dataset, norms);
    if (!text) {
        *chosen = known;
        return 0;
    }
    int code = split(chosen, option, text);
    for (int i = 0; !code && i < chosen->count; i++) {
        if (has(&known, chosen->word[i])) continue;
        char all[512] = "";
        for (int k = 0; k < known.count; k++) {
            size_t used = strlen(all);
            snprintf(all + used, sizeof all - used, "%s%s", k ? ", " : "", known.word[k]);
        }
        code = bl_fail(BLANCH_EUSAGE, "--%s: '%s' is not in the study's table of %s: %s", option, chosen->word[i],
                       s->dataset, all);
    }
    return code;
}

static bool begins(const char *text, const char *prefix) {
    return !strncmp(text, prefix, strlen(prefix));
}

/* A folder may hold anything: it is taken for CIFAR-10 unless stated, and the table names it. */
static int choose_dataset(struct study *s) {
    if (!s->dataset && begins(s->data, "cifar100:")) s->dataset = "cifar100";
    if (!s->dataset && (begins(s->data, "cifar10:") || begins(s->data, "folder:"))) s->dataset = "cifar10";
    if (!s->dataset)
        return bl_fail(BLANCH_EUSAGE, "--dataset is missing: as which the data count: cifar10, cifar100 or imagenet");
    if (!bl_study_fact(s->dataset, "vgg16", "bn", 1) && strcmp(s->dataset, "imagenet"))
        return bl_fail(BLANCH_EUSAGE, "--dataset takes cifar10, cifar100 or imagenet, not '%s'", s->dataset);
    return 0;
}

static int add_cell(struct study *s, const char *network, const char *norm, int epochs, int attempt) {
    if (s->count == MAX_CELLS) return bl_fail(BLANCH_EUSAGE, "more than %d cells; ask for fewer at once", MAX_CELLS);
    struct bl_cell *cell = &s->cells[s->count++];
    *cell = (struct bl_cell){.epochs = epochs, .attempt = attempt, .steps = s->steps};
    snprintf(cell->dataset, sizeof cell->dataset, "%s", s->dataset);
    snprintf(cell->network, sizeof cell->network, "%s", network);
    snprintf(cell->norm, sizeof cell->norm, "%s", norm);
    int code = bl_cell_read(cell, s->out);
    if (!code && *cell->data && strncmp(cell->data, s->data, sizeof cell->data - 1))
        code = bl_fail(BLANCH_EUSAGE, "%s holds cells of %s trained on %s, not %s; give another --out", s->out,
                       s->dataset, cell->data, s->data);
    return code;
}

/* Short cells first; the norms of a network follow each other, so that a pair is soon there to compare. */
static int plan(struct study *s) {
    int code = choose_dataset(s);
    const char *epochs = s->epochs_text ? s->epochs_text : s->dataset && !strcmp(s->dataset, "imagenet") ? "90" : "1";
    if (code || (code = choose(&s->networks, "networks", s->networks_text, s, false)) ||
        (code = choose(&s->norms, "norms", s->norms_text, s, true)) || (code = split(&s->epochs, "epochs", epochs)))
        return code;
    if (!(s->cells = bl_calloc(MAX_CELLS, sizeof *s->cells))) return BLANCH_ENOMEM;
    for (int e = 0; e < s->epochs.count; e++) {
        long long value;
        size_t length = bl_text_whole(s->epochs.word[e], &value);
        if (!length || s->epochs.word[e][length] || value < 1 || value > 1000000)
            return bl_fail(BLANCH_EUSAGE, "--epochs takes whole numbers from 1, such as 1,20,100, not '%s'",
                           s->epochs.word[e]);
        for (int i = 0; i < s->count; i++) // as "1" and "01" do
            if (s->cells[i].epochs == value) return bl_fail(BLANCH_EUSAGE, "--epochs names %lld twice", value);
        for (int attempt = 1; attempt <= s->attempts; attempt++)
            for (int n = 0; n < s->networks.count; n++)
                for (int k = 0; k < s->norms.count; k++)
                    if ((code = add_cell(s, s->networks.word[n], s->norms.word[k], (int)value, attempt))) return code;
    }
    return 0;
}

/* --- running -------------------------------------------------------------------------------- */

static bool is_open(const struct bl_cell *cell) {
    return cell->state < BL_CELL_DONE;
}

/* What a cell costs in the reproduction's seconds; an unpublished one counts as many epochs as a published one has. */
static double weight(const struct bl_cell *cell) {
    static const int lengths[] = {1, 20, 100, 90};
    const struct bl_study_fact *fact = bl_study_fact(cell->dataset, cell->network, cell->norm, cell->epochs);
    for (int i = 0; !fact && i < BL_COUNT(lengths); i++)
        fact = bl_study_fact(cell->dataset, cell->network, cell->norm, lengths[i]);
    if (!fact) return cell->epochs;
    return fact->seconds * cell->epochs / fact->epochs;
}

/* By what the finished cells took; negative: none is finished. */
static double time_left(const struct study *s) {
    double took = 0, done = 0, open = 0;
    for (int i = 0; i < s->count; i++) {
        const struct bl_cell *cell = &s->cells[i];
        if (is_open(cell))
            open += weight(cell) * (1 - (double)cell->epochs_done / cell->epochs);
        else if (cell->state == BL_CELL_DONE) {
            took += cell->train_s + cell->test_s;
            done += weight(cell);
        }
    }
    return done > 0 ? open * took / done : -1;
}

/* Table 1 takes train's defaults; Table 2 has its own. A started cell goes on by its config.json. */
static void settings(const struct study *s, const struct bl_cell *cell, struct bl_train_options *o) {
    bool imagenet = !strcmp(cell->dataset, "imagenet");
    *o = (struct bl_train_options)BL_TRAIN_DEFAULT;
    o->device = s->common.device;
    o->max_alloc = s->common.max_alloc;
    o->cache = s->common.data.cache;
    o->workers = s->common.data.workers;
    o->precision = s->common.precision;
    o->resume = cell->has_checkpoint;
    if (o->resume) return;
    o->network.model = cell->network;
    o->network.seed = (uint64_t)cell->attempt - 1;
    o->network.batch = imagenet ? 256 : 128;
    o->norm = cell->norm;
    o->data = s->data;
    o->normalise = cell->dataset;
    o->epochs = cell->epochs;
    o->steps = cell->steps;
    o->drop_last = s->drop_last;
    if (!imagenet) return;
    o->update.weight_decay = 1e-4f;
    o->update.lr = !strcmp(cell->norm, "none") ? 0.01f : 0.1f;
}

static int run_cell(struct study *s, int index, int number, int open) {
    struct bl_cell *cell = &s->cells[index];
    struct bl_train_options o;
    char name[128], left[64];
    bl_cell_name(cell, name);
    bl_study_say_time(left, sizeof left, time_left(s));
    settings(s, cell, &o);
    const struct bl_cell_place place = {s->out, name, left, number, open, s->common.no_tune};
    return bl_cell_run(cell, &place, &o, &s->status);
}

static int clear(const struct study *s, const struct bl_cell *cell) {
    char name[128];
    bl_cell_name(cell, name);
    return bl_cell_clear(s->out, name);
}

static int run_cells(struct study *s) {
    int open = 0, number = 0;
    int code = plan(s);
    if (code || (code = bl_study_lock(&s->lock, s->out))) return code;
    for (int i = 0; i < s->count && !code; i++) {
        if (is_open(&s->cells[i]))
            open++;
        else
            code = clear(s, &s->cells[i]);
    }
    if (code) return code;
    if (open < s->count) bl_progress_line(NULL, "%d of %d cells are finished already", s->count - open, s->count);
    for (int i = 0; !code && i < s->count; i++)
        if (is_open(&s->cells[i])) code = run_cell(s, i, ++number, open);
    return code;
}

/* --- the command ---------------------------------------------------------------------------- */

static int print(struct study *s) {
    struct bl_cell *cells;
    int count, left_out, code = bl_cells_find(s->out, &cells, &count, &left_out);
    if (left_out) s->status = 2;
    if (!code)
        code = s->common.json ? bl_print_json(bl_study_json(s->out, bl_options_json(s->common.options), cells, count))
                              : bl_study_print(cells, count);
    free(cells);
    return code;
}

static bool is_ablation(const char *out) {
    char *path = bl_format("%s/ablation.json", out);
    bool found = path && bl_path_exists(path);
    free(path);
    return found;
}

static int ablate(struct study *s) {
    const struct bl_common *common = &s->common;
    const struct bl_ablation_call call = {.path = s->ablation,
                                          .data = s->data,
                                          .out = s->out,
                                          .device = common->device,
                                          .cache = common->data.cache,
                                          .steps = s->steps,
                                          .max_alloc = common->max_alloc,
                                          .workers = common->data.workers,
                                          .no_tune = common->no_tune,
                                          .show = s->show,
                                          .json = common->json};
    if (s->networks_text || s->norms_text || s->epochs_text || s->dataset || s->attempts > 1 || s->drop_last)
        return bl_fail(BLANCH_EUSAGE, "--ablation FILE says networks, norms, length and seeds: leave --networks, "
                                      "--norms, --epochs, --attempts, --dataset and --drop-last out");
    if (common->precision) return bl_fail(BLANCH_EUSAGE, "--precision goes into the file's \"base\" or \"grid\"");
    if (!s->show) bl_end_in_order();
    int code = bl_ablation_run(&call, bl_options_json(common->options), &s->status);
    return code ? code : s->status;
}

static int run(int argc, char **argv) {
    struct study s = {.attempts = 1};
    bool help;
    bl_common_init(&s.common);
    const struct bl_option own[] = {
        {"data", BL_OPT_TEXT, &s.data, 0, 0, "SPEC", "cifar10:DIR, cifar100:DIR, or folder:DIR with a copy"},
        {"out", BL_OPT_TEXT, &s.out, 0, 0, "DIR", "the study's folder, with a run directory for each cell"},
        {"dataset", BL_OPT_TEXT, &s.dataset, 0, 0, "NAME", "as which the data count: cifar10, cifar100, imagenet"},
        {"networks", BL_OPT_TEXT, &s.networks_text, 0, 0, "A,B", "of the table (all)"},
        {"norms", BL_OPT_TEXT, &s.norms_text, 0, 0, "A,B", "bn, nd; imagenet also none (all)"},
        {"epochs", BL_OPT_TEXT, &s.epochs_text, 0, 0, "A,B", "published are 1, 20, 100; imagenet 90 (1; 90)"},
        {"attempts", BL_OPT_INT, &s.attempts, 1, 100, "N", "runs of each cell, with the seeds 0 to N-1 (1)"},
        {"steps", BL_OPT_INT64, &s.steps, 1, 1e12, "N",
         "shortens cells to N steps, to try the command; of an ablation the length"},
        {"ablation", BL_OPT_TEXT, &s.ablation, 0, 0, "FILE",
         "runs what this JSON varies, in place of the study's cells"},
        {"drop-last", BL_OPT_FLAG, &s.drop_last, 0, 0, NULL, "leaves every partial batch out"},
        {"show", BL_OPT_FLAG, &s.show, 0, 0, NULL, "prints the table of what is there, runs nothing"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &s.common,
                      BL_COMMON_DEVICE | BL_COMMON_TUNE | BL_COMMON_JSON | BL_COMMON_CACHE | BL_COMMON_WORKERS |
                          BL_COMMON_PRECISION);
    int code = bl_options_parse(&bl_command_study, options, argc, argv, NULL, &help);
    if (code || help) return code;
    if (!s.out) return bl_fail(BLANCH_EUSAGE, "--out is missing: the study's folder");
    if (s.ablation || (s.show && is_ablation(s.out))) return ablate(&s);
    if (!s.show && !s.data) return bl_fail(BLANCH_EUSAGE, "--data is missing: cifar10:DIR, cifar100:DIR, folder:DIR");
    if (!s.show) {
        bl_end_in_order();
        code = run_cells(&s);
    }
    if (!code) code = print(&s);
    bl_lock_release(&s.lock);
    free(s.networks.text);
    free(s.norms.text);
    free(s.epochs.text);
    free(s.cells);
    return code ? code : s.status;
}

const struct bl_command bl_command_study = {
    .name = "study",
    .summary = "repeats cells of the published study, beside its values",
    .usage =
        "usage: blanch study --data SPEC --out DIR [options]\n"
        "       blanch study --ablation FILE [--data SPEC] --out DIR [--steps N]\n"
        "       blanch study --show --out DIR [--json]\n"
        "\n"
        "Trains the networks of the reproduction of Network Deconvolution (arXiv 2410.01189, Tables 1 and 2) with the\n"
        "study's settings, and prints their accuracies and training times beside those of the original and of the\n"
        "reproduction. A cell is a network, a norm, a number of epochs and an attempt; each is a run directory\n"
        "DIR/DATASET-NETWORK-NORM-EPOCHS-aATTEMPT. After an interruption (Ctrl-C) the same command goes on where it\n"
        "stopped; a finished cell is never repeated, and one that diverged counts as finished. To run a cell again,\n"
        "delete its directory. The table shows all cells of DIR, with the data and devices that they ran on.\n"
        "\n"
        "--ablation runs a grid of options of `train` in the same way: FILE is JSON with \"data\", \"models\", "
        "\"steps\",\n"
        "\"seeds\", \"base\" (options for all), \"grid\" (options with their values) and \"best\" (which of them are "
        "swept\n"
        "with the first seed; each setting goes on with its best). DIR/ablation.html has the curves.\n",
    .run = run,
};
