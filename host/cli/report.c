/* blanch report: one page from what several runs, benches and comparisons have written. */
#include "common.h"
#include "report/report.h"
#include <stdio.h>
#include <stdlib.h>

static int write_all(const char *out, const char *csv, const cJSON *const *documents, int count, bool as_json) {
    int code = out ? bl_report_write(out, documents, count) : 0;
    if (!code && csv) code = bl_report_csv(csv, documents, count);
    if (code || as_json) return code;
    if (out) printf("%s\n", out);
    if (csv) printf("%s\n", csv);
    return 0;
}

static int print_documents(const cJSON *const *documents, int count) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, cJSON_Duplicate(documents[i], true));
    return bl_print_json(list);
}

static int run(int argc, char **argv) {
    const char *out = NULL, *csv = NULL;
    bool help, as_json = false;
    const struct bl_option options[] = {
        {"out", BL_OPT_TEXT, &out, 0, 0, "FILE", "the page (report.html)"},
        {"csv", BL_OPT_TEXT, &csv, 0, 0, "FILE", "step times, and layers by phase, as comma-separated values"},
        {"json", BL_OPT_FLAG, &as_json, 0, 0, NULL, "prints what was read as one JSON document"},
        {0}};
    int paths = 0, read = 0;
    int code = bl_options_parse(&bl_command_report, options, argc, argv, &paths, &help);
    if (code || help) return code;
    cJSON **documents = bl_calloc((size_t)paths + 1, sizeof *documents);
    if (!documents) return BLANCH_ENOMEM;
    if (!paths)
        code = bl_fail(BLANCH_EUSAGE,
                       "report takes run directories, folders of comparisons, or JSON of bench and compare");
    if (!out && !csv && !as_json) out = "report.html";
    for (; read < paths && !code; read++) code = bl_report_read(argv[1 + read], &documents[read]);
    if (!code) code = write_all(out, csv, (const cJSON *const *)documents, paths, as_json);
    if (!code && as_json) code = print_documents((const cJSON *const *)documents, paths);
    for (int i = 0; i < read; i++) cJSON_Delete(documents[i]);
    free(documents);
    return code;
}

const struct bl_command bl_command_report = {
    .name = "report",
    .summary = "one page from runs, benches and comparisons, of several machines too",
    .usage = "usage: blanch report PATH... [--out FILE] [--csv FILE]\n\n"
             "PATH is a run directory of `train`, a folder or compare.json of `compare`, or the output of `bench "
             "--json`. Writes\n"
             "report.html, one file that needs nothing else, unless --csv alone is given.\n",
    .run = run,
};
