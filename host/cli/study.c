/* blanch study: cells of the reproduction's tables, one run directory each, beside the published values. */
#include "base/private.h"
#include "base/replace.h"
#include "base/text.h"
#include "cli/common.h"
#include "cli/study.h"
#include "cli/tune.h"
#include "io/directory.h"
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
    const char *networks_text, *norms_text, *epochs_text;
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

static void say_time(char *text, size_t size, double seconds) {
    if (seconds < 0)
        *text = 0;
    else if (seconds < 5400)
        snprintf(text, size, "; about %.0f min left in all", ceil(seconds / 60));
    else
        snprintf(text, size, "; about %.1f h left in all", seconds / 3600);
}

struct screen {
    struct bl_progress *progress;
    const char *title;
};

static void listen(void *context, enum bl_train_event event, int64_t step, int64_t steps, const char *text) {
    struct screen *screen = context;
    if (event == BL_TRAIN_STEP) {
        if (!screen->progress) screen->progress = bl_progress_start(screen->title, steps);
        bl_progress_step(screen->progress, step, "%s", text);
    } else if (event != BL_TRAIN_DONE)
        bl_progress_line(screen->progress, "%s%s", event == BL_TRAIN_WARNING ? "warning: " : "", text);
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

static int train_cell(struct study *s, struct bl_cell *cell, const char *name, const char *title) {
    struct bl_train_options o;
    struct screen screen = {NULL, title};
    struct bl_first_use use = {0};
    settings(s, cell, &o);
    bl_first_use_init(&use, s->common.no_tune);
    if (use.wanted) o.tune = &use.bounds;
    char *out = bl_format("%s/%s", s->out, name);
    int code = out ? 0 : BLANCH_ENOMEM;
    o.out = out;
    o.listener = listen;
    o.context = &screen;
    if (!code) code = bl_train(&o);
    bl_progress_end(screen.progress);
    free(out);
    return code;
}

/* A cell that diverged is a result like another: it is kept, and the rest go on. They do too where one does not fit the
 * device, which is named. */
static int run_cell(struct study *s, int index, int number, int open) {
    struct bl_cell *cell = &s->cells[index];
    char name[128], left[64], title[64];
    bl_cell_name(cell, name);
    say_time(left, sizeof left, time_left(s));
    snprintf(title, sizeof title, "cell %d/%d", number, open);
    bl_progress_line(NULL, "cell %d of %d: %s%s%s", number, open, name, cell->has_checkpoint ? ", continued" : "",
                     left);
    int code = train_cell(s, cell, name, title);
    if (code == BLANCH_EDIVERGED) {
        char *message = bl_strdup(blanch_error_message());
        if (!message) return BLANCH_ENOMEM;
        bl_progress_line(NULL, "%s diverged: %s", name, message);
        code = bl_cell_record_divergence(cell, s->out, message);
        free(message);
        if (!s->status) s->status = bl_exit_status(BLANCH_EDIVERGED);
    } else if (code == BLANCH_ELIMIT) {
        bl_print_error(bl_fail_in(code, "%s is left out", name));
        s->status = bl_exit_status(code);
        return 0;
    } else if (code == BLANCH_EINTERRUPTED)
        return bl_fail(code, "interrupted in %s; the same `blanch study` continues", name);
    if (code) return bl_fail_in(code, "%s (cell %d of %d, the others are not run)", name, number, open);
    return bl_cell_read(cell, s->out);
}

/* Two at once would train the same cells. */
static int take_lock(struct study *s) {
    int code = bl_make_dirs(s->out);
    bl_folder_warn(s->out);
    if (!code) code = bl_lock_take(&s->lock, s->out, "study");
    if (!code && s->lock.unsupported)
        bl_progress_line(NULL, "%s is on a file system without locks: no other process may use it meanwhile", s->out);
    return code;
}

/* What a process left that was killed when it had a result: no other process opens that run any more. */
static int clear(const struct study *s, const struct bl_cell *cell) {
    char name[128];
    bl_cell_name(cell, name);
    char *folder = bl_format("%s/%s", s->out, name);
    if (!folder) return BLANCH_ENOMEM;
    bl_replace_clear_path(folder);
    free(folder);
    return 0;
}

static int run_cells(struct study *s) {
    int open = 0, number = 0;
    int code = plan(s);
    if (code || (code = take_lock(s))) return code;
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
         "shortens cells to N steps, to try the command; compared with nothing"},
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
        "       blanch study --show --out DIR [--json]\n"
        "\n"
        "Trains the networks of the reproduction of Network Deconvolution (arXiv 2410.01189, Tables 1 and 2) with the\n"
        "study's settings, and prints their accuracies and training times beside those of the original and of the\n"
        "reproduction. A cell is a network, a norm, a number of epochs and an attempt; each is a run directory\n"
        "DIR/DATASET-NETWORK-NORM-EPOCHS-aATTEMPT. After an interruption (Ctrl-C) the same command goes on where it\n"
        "stopped; a finished cell is never repeated, and one that diverged counts as finished. To run a cell again,\n"
        "delete its directory. The table shows all cells of DIR, with the data and devices that they ran on.\n",
    .run = run,
};
