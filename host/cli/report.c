/* blanch report: one page from what several runs, benches and comparisons have written. */
#include "common.h"
#include "report/report.h"
#include <stdio.h>
#include <stdlib.h>

struct report {
    const char *out, *csv;
    bool json;
    const struct bl_option *options;
    struct bl_result *result;
    int count;
};

static int print_json(const struct report *r) {
    cJSON *json = bl_document("report", 2, NULL, bl_options_json(r->options));
    cJSON *list = cJSON_AddArrayToObject(json, "documents");
    for (int i = 0; i < r->count; i++) cJSON_AddItemToArray(list, bl_result_json(&r->result[i]));
    return bl_print_json(json);
}

static int write_all(const struct report *r) {
    int code = r->out ? bl_report_write(r->out, r->result, r->count) : 0;
    if (!code && r->csv) code = bl_report_csv(r->csv, r->result, r->count);
    if (code || r->json) return code ? code : print_json(r);
    if (r->out) printf("%s\n", bl_shown(r->out));
    if (r->csv) printf("%s\n", bl_shown(r->csv));
    return 0;
}

/* What cannot be read is named, and the rest becomes the page. Returns the exit status that this asks for; negative:
 * the machine failed, not a file. */
static int read_all(struct report *r, char **paths, int count) {
    int status = 0;
    for (int i = 0; i < count; i++) {
        struct bl_result *result = &r->result[r->count];
        int code = bl_report_read(paths[i], result);
        if (!code) r->count++;
        if (!code) continue;
        bl_result_free(result);
        if (code != BLANCH_EINPUT && code != BLANCH_ELIMIT) return code;
        if (count == 1) return code;
        bl_print_error(code);
        status = bl_exit_status(code);
    }
    if (!r->count) return status;
    int code = write_all(r);
    return code ? code : status;
}

static int run(int argc, char **argv) {
    struct report r = {0};
    bool help;
    const struct bl_option options[] = {
        {"out", BL_OPT_TEXT, &r.out, 0, 0, "FILE", "the page (report.html)"},
        {"csv", BL_OPT_TEXT, &r.csv, 0, 0, "FILE", "step times, and layers by phase, as comma-separated values"},
        {"json", BL_OPT_FLAG, &r.json, 0, 0, NULL, "prints what was read as one JSON document"},
        {0}};
    int paths = 0;
    int code = bl_options_parse(&bl_command_report, options, argc, argv, &paths, &help);
    if (code || help) return code;
    r.options = options;
    if (!(r.result = bl_calloc((size_t)paths + 1, sizeof *r.result))) return BLANCH_ENOMEM;
    if (!paths)
        code = bl_fail(BLANCH_EUSAGE,
                       "report takes run directories, folders of comparisons, or JSON of bench and compare");
    if (!r.out && !r.csv && !r.json) r.out = "report.html";
    if (!code) code = read_all(&r, argv + 1, paths);
    for (int i = 0; i < r.count; i++) bl_result_free(&r.result[i]);
    free(r.result);
    return code;
}

const struct bl_command bl_command_report = {
    .name = "report",
    .summary = "one page from runs, benches and comparisons, of several machines too",
    .usage =
        "usage: blanch report PATH... [--out FILE] [--csv FILE]\n\n"
        "PATH is a run directory of `train`, a folder or compare.json of `compare`, or the output of `bench "
        "--json`. Writes\n"
        "report.html, one file that needs nothing else, unless --csv alone is given. A PATH that cannot be read is "
        "named,\n"
        "the others make the page, and the exit status is 2.\n",
    .run = run,
};
