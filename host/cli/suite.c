/* blanch suite: a stated set of figures of one device, in a file that others can trust and compare. */
#include "cli/suite.h"
#include "base/text.h"
#include "cli/check.h"
#include "io/files.h"
#include "report/html.h"
#include "report/report.h"
#include "sched/limits.h"
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float figure_s = 60, sustain_s = 300; // of the set; others are compared with nothing

struct suite {
    struct bl_common common;
    const char *out, *rows, *data, *cases, *energy, *note, *format_text;
    bool quick, resume, show, list;
    float seconds, sustain;
    enum bl_suite_format format;
    const struct bl_option *options;
    struct bl_suite_entry entry[BL_SUITE_MOST]; // the whole set
    bool wanted[BL_SUITE_MOST];                 // by --rows
    int entries;
    struct bl_result result;
    struct bl_progress *progress;
    int open, done, status; // rows to measure; of them measured or tried; what their failures ask for
};

/* --- what is wanted --------------------------------------------------------------------------- */

static int parse_format(struct suite *s) {
    static const char *const names[] = {"text", "markdown", "csv"};
    for (int i = 0; i < BL_COUNT(names); i++) {
        s->format = (enum bl_suite_format)i;
        if (!s->format_text || !strcmp(s->format_text, names[i])) return 0;
    }
    return bl_fail(BLANCH_EUSAGE, "--format takes text, markdown or csv, not '%s'", s->format_text);
}

/* Shell patterns, separated by commas. */
static int choose_rows(struct suite *s) {
    char *list = bl_strdup(s->rows ? s->rows : "*"), *rest = NULL;
    int code = list ? 0 : BLANCH_ENOMEM;
    s->entries = bl_suite_plan(s->entry, s->quick);
    for (char *word = list ? strtok_r(list, ",", &rest) : NULL; word && !code; word = strtok_r(NULL, ",", &rest)) {
        int found = 0;
        for (int i = 0; i < s->entries; i++) {
            if (fnmatch(word, s->entry[i].name, 0)) continue;
            s->wanted[i] = true;
            found++;
        }
        if (!found)
            code = bl_fail(BLANCH_EUSAGE, "--rows: the set has no row '%s'; `blanch suite %s--list` has their names",
                           word, s->quick ? "--quick " : "");
    }
    free(list);
    return code;
}

/* What takes another course than on a user's device; what a part of the file did stays. */
static void say_incomparable(struct suite *s, struct bl_suite_result *suite) {
    static const char *const variables[] = {"BLANCH_CONV", "BLANCH_GEMM", "BLANCH_KIND", "BLANCH_KERNELS",
                                            "BLANCH_FUSE"};
    char *text = suite->incomparable;
    const size_t size = sizeof suite->incomparable;
    if (*text) return;
    if (s->seconds != figure_s) snprintf(text, size, "figures ended after %g s, not %g", s->seconds, figure_s);
    if (s->sustain != sustain_s && !s->quick)
        snprintf(text + strlen(text), size - strlen(text), "%ssustained runs took %g s, not %g", *text ? "; " : "",
                 s->sustain, sustain_s);
    for (int i = 0; i < BL_COUNT(variables); i++)
        if (getenv(variables[i]) && *getenv(variables[i]))
            snprintf(text + strlen(text), size - strlen(text), "%s%s was set", *text ? "; " : "", variables[i]);
    suite->comparable = !*text;
}

/* --- the file --------------------------------------------------------------------------------- */

static double load_average(void) {
    double load;
    return getloadavg(&load, 1) == 1 ? load : NAN;
}

static const struct bl_suite_row *row_of(const struct suite *s, int entry) {
    return bl_suite_find(s->result.suite, s->entry[entry].name);
}

static bool is_measured(const struct suite *s, int entry) {
    const struct bl_suite_row *row = row_of(s, entry);
    return row && !strcmp(row->status, "measured");
}

/* Everything but the rows. The file that goes on keeps its beginning. */
static int begin_result(struct suite *s, const struct blanch_device_info *info) {
    struct bl_result *result = &s->result;
    const bool fresh = !result->suite;
    int code = fresh ? bl_suite_init(result) : 0;
    if (code) return code;
    if (fresh && !bl_result_add_device(result, info->name)) return BLANCH_ENOMEM;
    struct bl_suite_result *suite = result->suite;
    result->header = bl_header_now("suite", info);
    bl_device_result_fill(&result->device[0], info);
    cJSON_Delete(result->settings);
    result->settings = bl_options_json(s->options);
    suite->version = BL_SUITE_VERSION;
    suite->rows_of_set = s->entries;
    suite->seconds = (double)s->seconds;
    suite->sustain_seconds = s->quick ? NAN : (double)s->sustain;
    snprintf(suite->set, sizeof suite->set, "%s", s->quick ? "quick" : "full");
    if (s->note)
        snprintf(suite->note, sizeof suite->note, "%.*s", (int)bl_text_fit(s->note, sizeof suite->note), s->note);
    say_incomparable(s, suite);
    if (fresh) suite->load_start = load_average();
    return 0;
}

static int write_file(struct suite *s) {
    struct bl_suite_result *suite = s->result.suite;
    suite->complete = 1;
    for (int i = 0; i < s->entries; i++)
        if (!row_of(s, i)) suite->complete = 0;
    suite->load_end = load_average();
    cJSON *json = bl_suite_json(&s->result);
    int code = bl_memory_lacked();
    if (!code) code = bl_json_write(s->out, json);
    cJSON_Delete(json);
    return code;
}

static int read_file(struct suite *s) {
    int code = bl_report_read(s->out, &s->result);
    if (!code && !s->result.suite) code = bl_fail(BLANCH_EINPUT, "%s: it is not what `blanch suite` writes", s->out);
    free(s->result.source);
    s->result.source = NULL;
    return code;
}

/* A file goes on only as what it is. */
static int check_former(const struct suite *s, const struct blanch_device_info *info) {
    const struct bl_suite_result *suite = s->result.suite;
    const struct bl_header now = bl_header_now("suite", info), *then = &s->result.header;
    const char *set = s->quick ? "quick" : "full", *what = NULL;
    if (suite->version != BL_SUITE_VERSION)
        what = "is of another version of the suite";
    else if (strcmp(suite->set, set))
        what = "is of another set (--quick)";
    else if ((float)suite->seconds != s->seconds || (!s->quick && (float)suite->sustain_seconds != s->sustain))
        what = "has other --seconds or --sustain";
    else if (strcmp(then->version, now.version) || strcmp(then->commit, now.commit))
        what = "is of another Blanch";
    else if (!bl_same_device(&then->device, &then->host, &now.device, &now.host))
        what = "is of another device, driver or machine";
    return what ? bl_fail(BLANCH_EUSAGE, "--resume: %s %s; give another --out", s->out, what) : 0;
}

/* --- measuring -------------------------------------------------------------------------------- */

/* Limits, and before the first row whether it computes rightly. */
static int look(struct suite *s, bool first) {
    struct blanch_device *dev = NULL;
    struct bl_meter meter = {0};
    int code = blanch_device_open(&dev, s->common.device, s->common.max_alloc), passed, failed;
    const struct blanch_device_info *info = code ? NULL : blanch_device_info(dev);
    if (!code && first && s->result.suite) code = check_former(s, info);
    if (!code && first) code = bl_meter_open(&meter, info, s->energy);
    if (!code && first) code = begin_result(s, info);
    struct bl_suite_result *suite = s->result.suite;
    if (!code && first) {
        snprintf(suite->energy, sizeof suite->energy, "%s", meter.files ? meter.energy[0] : "");
        snprintf(suite->clock, sizeof suite->clock, "%s", meter.clock);
        code = bl_suite_validate(dev, suite);
    }
    if (!code && first && s->cases && !(code = bl_check_path(dev, s->cases, &passed, &failed)))
        suite->cases_passed = passed, suite->cases_failed = failed;
    if (!code && (!first || !(suite->start.operations > 0)))
        code = bl_limits_now(dev, first ? &suite->start : &suite->end);
    if (!code) code = bl_limits_get(dev, false, &suite->kept);
    bl_meter_close(&meter);
    blanch_device_close(dev);
    return code;
}

static void show_progress(void *context, const char *text) {
    struct suite *s = context;
    bl_progress_step(s->progress, s->done, "%s", text);
}

/* A device that is lost fails rows until it cannot be opened; a row that was broken off is as if it had not begun. */
static int measure_row(struct suite *s, const struct bl_suite_means *means, int index) {
    struct bl_suite_row row;
    int code = bl_suite_measure(means, &s->entry[index], &row);
    if (code == BLANCH_EINTERRUPTED) return code;
    if (code) {
        bl_print_error(bl_fail_in(code, "%s", s->entry[index].name));
        if (!s->status && code != BLANCH_EINPUT) s->status = bl_exit_status(code);
    }
    struct bl_suite_row *kept = bl_suite_add(s->result.suite, row.name);
    if (!kept) return BLANCH_ENOMEM;
    *kept = row;
    s->done++;
    return write_file(s);
}

static int measure_rows(struct suite *s) {
    const struct bl_suite_means means = {.common = &s->common,
                                         .seconds = (double)s->seconds,
                                         .sustain = (double)s->sustain,
                                         .data = s->data,
                                         .energy = s->energy,
                                         .show = show_progress,
                                         .context = s};
    int code = 0;
    for (int i = 0; i < s->entries; i++) s->open += s->wanted[i] && !is_measured(s, i);
    s->progress = bl_progress_start("suite", s->open);
    for (int i = 0; i < s->entries && !code; i++)
        if (s->wanted[i] && !is_measured(s, i)) code = measure_row(s, &means, i);
    bl_progress_end(s->progress);
    if (code == BLANCH_EINTERRUPTED)
        return bl_fail(code, "interrupted; %d of %d rows are in %s, and the same command with --resume goes on",
                       s->done, s->open, s->out);
    return code;
}

static int measure(struct suite *s) {
    int code = 0;
    if (bl_path_exists(s->out)) {
        if (!s->resume)
            return bl_fail(BLANCH_EUSAGE, "%s exists: --resume goes on with it, or give another --out", s->out);
        code = read_file(s);
    }
    if (!code) code = look(s, true);
    if (!code) code = write_file(s);
    if (!code) code = measure_rows(s);
    if (!code && s->done) code = look(s, false);
    if (!code) code = write_file(s);
    for (int i = 0; !code && i < s->result.suite->checks; i++) {
        const struct bl_suite_check *check = &s->result.suite->check[i];
        if (check->passed == 1) continue;
        bl_print_error(bl_fail(BLANCH_EMISMATCH, "%s is computed wrongly: %s", check->name, check->message));
        s->status = bl_exit_status(BLANCH_EMISMATCH);
    }
    return code;
}

/* --- the command ------------------------------------------------------------------------------ */

static int print(struct suite *s) {
    struct bl_html out = {0};
    if (s->common.json) return bl_print_json(bl_suite_json(&s->result));
    bl_suite_table(&out, &s->result, s->format);
    if (!out.error) fputs(out.data, stdout);
    free(out.data);
    return out.error;
}

static int run_suite(struct suite *s) {
    int code = parse_format(s);
    if (!code) code = choose_rows(s);
    if (code) return code;
    for (int i = 0; i < s->entries && s->list; i++)
        if (s->wanted[i]) puts(s->entry[i].name);
    if (s->list) return 0;
    bl_end_in_order();
    bl_result_init(&s->result);
    code = s->show ? read_file(s) : measure(s);
    if (!code) code = print(s);
    bl_result_free(&s->result);
    return code ? code : s->status;
}

static int run(int argc, char **argv) {
    struct suite *s = bl_calloc(1, sizeof *s);
    struct bl_option options[BL_MAX_OPTIONS];
    bool help;
    if (!s) return BLANCH_ENOMEM;
    bl_common_init(&s->common);
    s->out = "suite.json", s->data = "fashion-mnist";
    s->seconds = figure_s, s->sustain = sustain_s;
    const struct bl_option own[] = {
        {"quick", BL_OPT_FLAG, &s->quick, 0, 0, NULL, "the part that takes minutes"},
        {"out", BL_OPT_TEXT, &s->out, 0, 0, "FILE", "written after each row (suite.json)"},
        {"resume", BL_OPT_FLAG, &s->resume, 0, 0, NULL, "measures what FILE lacks"},
        {"show", BL_OPT_FLAG, &s->show, 0, 0, NULL, "prints the table of FILE, measures nothing"},
        {"format", BL_OPT_TEXT, &s->format_text, 0, 0, "text|markdown|csv", "of the table (text)"},
        {"list", BL_OPT_FLAG, &s->list, 0, 0, NULL, "prints the names of the rows, measures nothing"},
        {"rows", BL_OPT_TEXT, &s->rows, 0, 0, "PATTERN,...", "rows whose names match, as in 'resnet18-*' (all)"},
        {"seconds", BL_OPT_FLOAT, &s->seconds, 0.01, 1e6, "S",
         "most of a figure (60); with others the file is not comparable"},
        {"sustain", BL_OPT_FLOAT, &s->sustain, 0.01, 1e6, "S", "of a sustained run (300); likewise"},
        {"data", BL_OPT_TEXT, &s->data, 0, 0, "fashion-mnist[:DIR]", "of the time to 85 per cent"},
        {"cases", BL_OPT_TEXT, &s->cases, 0, 0, "PATH", "conformance files to check the device with besides"},
        {"energy", BL_OPT_TEXT, &s->energy, 0, 0, "FILE",
         "a counter of microjoules, or power in microwatts (what the system has of the device)"},
        {"note", BL_OPT_TEXT, &s->note, 0, 0, "TEXT", "a line that the file keeps: what else ran, cooling"},
        {0},
    };
    bl_common_options(options, own, &s->common, BL_COMMON_DEVICE | BL_COMMON_TUNE | BL_COMMON_JSON);
    s->options = options;
    int code = bl_options_parse(&bl_command_suite, options, argc, argv, NULL, &help);
    if (!code && !help) code = run_suite(s);
    free(s);
    return code;
}

const struct bl_command bl_command_suite = {
    .name = "suite",
    .summary = "a stated set of benchmarks of a device, in a file that others can compare",
    .usage =
        "usage: blanch suite [--quick] [--out FILE] [options]\n"
        "       blanch suite --resume [--out FILE]\n"
        "       blanch suite --show [--out FILE] [--format text|markdown|csv]\n"
        "\n"
        "Measures the rows of the set (docs/suite.md): training steps and inference of networks with batch norm and\n"
        "with deconvolution, and the time to 85 per cent on Fashion-MNIST. A figure ends when its quartiles lie\n"
        "within 3 per cent of it, or after --seconds. A row that fails is recorded with its reason. FILE is written\n"
        "after each row; `blanch report FILE...` ranks the devices of several.\n",
    .run = run,
};
