/* blanch report: one page from what several runs, benches, comparisons and suites have written. */
#include "base/path.h"
#include "base/text.h"
#include "common.h"
#include "io/files.h"
#include "report/differ.h"
#include "report/report.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct report {
    const char *out, *csv, *price, *watts;
    bool json;
    const struct bl_option *options;
    struct bl_result *result;
    int count;
};

/* --- what the user says of devices ------------------------------------------------------------ */

/* value, of all suites whose device or file has name in its name. */
static int set_value(struct report *r, const char *option, const char *name, double value, size_t offset) {
    int found = 0;
    for (int i = 0; i < r->count; i++) {
        const struct bl_result *result = &r->result[i];
        if (!result->suite || (!strstr(result->device[0].label, name) && !strstr(result->source, name))) continue;
        memcpy((char *)result->suite + offset, &value, sizeof value);
        found++;
    }
    return found ? 0 : bl_fail(BLANCH_EUSAGE, "--%s: no suite's device or file has '%s' in its name", option, name);
}

/* "NAME=NUMBER; NAME=NUMBER"; NULL: nothing. */
static int set_values(struct report *r, const char *option, const char *text, size_t offset) {
    char *list = bl_strdup(text ? text : ""), *rest = NULL;
    int code = list ? 0 : BLANCH_ENOMEM;
    for (char *part = list ? strtok_r(list, ";", &rest) : NULL; part && !code; part = strtok_r(NULL, ";", &rest)) {
        part += strspn(part, " ");
        char *equals = strrchr(part, '=');
        double value = 0;
        size_t length = equals ? bl_text_decimal(equals + 1, &value) : 0;
        if (!length || equals == part || equals[1 + length + strspn(equals + 1 + length, " ")] || !(value > 0))
            code = bl_fail(BLANCH_EUSAGE,
                           "--%s takes NAME=NUMBER; ..., NAME a part of a device's or a file's name, not '%s'", option,
                           part);
        else {
            *equals = 0;
            code = set_value(r, option, part, value, offset);
        }
    }
    free(list);
    return code;
}

/* --- reading, and what is said ---------------------------------------------------------------------- */

/* The rows of two versions are not the same. */
static int check_version(const struct report *r, const struct bl_result *result) {
    for (int i = 0; i < r->count && result->suite; i++) {
        const struct bl_suite_result *first = r->result[i].suite;
        if (first && first->version != result->suite->version)
            return bl_fail(BLANCH_EINPUT,
                           "%s is of suite %g and %s of suite %g: only files of one version are compared",
                           result->source, result->suite->version, r->result[i].source, first->version);
    }
    return 0;
}

static int print_json(const struct report *r) {
    cJSON *json = bl_document("report", NULL, bl_options_json(r->options));
    cJSON *list = cJSON_AddArrayToObject(json, "documents");
    for (int i = 0; i < r->count; i++) cJSON_AddItemToArray(list, bl_result_json(&r->result[i]));
    struct bl_difference *found = NULL;
    int differences = 0, code = bl_differences(r->result, r->count, &found, &differences);
    cJSON *rows = cJSON_AddArrayToObject(json, "differences");
    for (int i = 0; i < differences; i++) cJSON_AddItemToArray(rows, bl_difference_json(&found[i]));
    free(found);
    if (!code) return bl_print_json(json);
    cJSON_Delete(json);
    return code;
}

/* A line of each network and norm of which there is something to say. */
static int print_differences(const struct report *r) {
    struct bl_difference *list = NULL;
    int differences = 0, code = r->count > 1 ? bl_differences(r->result, r->count, &list, &differences) : 0;
    for (int i = 0; i < differences; i++) {
        char text[1600];
        bl_difference_say(&list[i], text, sizeof text);
        if (!*text) continue;
        const struct bl_run_result *run = list[i].of.run;
        printf("%s %s%s%s: %s\n", bl_shown(list[i].of.result->model), bl_shown(run->norm), *run->setting ? " " : "",
               bl_shown(run->setting), bl_shown(text));
    }
    free(list);
    return code;
}

/* --- what may be written over ----------------------------------------------------------------- */

/* It is there, and neither empty nor a page or table of a report; false also of devices and pipes. */
static bool is_other_file(const char *path) {
    static const char *const starts[] = {"<!doctype html>", "batch,source,model,", "suite,counts,"};
    struct stat info;
    char head[512] = "";
    if (stat(path, &info) || !S_ISREG(info.st_mode) || !info.st_size) return false;
    FILE *file = fopen(path, "rb");
    if (file) head[fread(head, 1, sizeof head - 1, file)] = 0;
    if (file) fclose(file);
    for (int i = 0; i < BL_COUNT(starts); i++)
        if (!strncmp(head, starts[i], strlen(starts[i]))) return i == 0 && !strstr(head, "<title>Blanch");
    return true;
}

/* The file is what PATH names, or lies in that folder. */
static bool is_within(const char *file, const char *path) {
    bool within = bl_same_file(file, path);
    char *folder = bl_format("%s", file);
    for (size_t length = folder ? strlen(folder) : 0; length && !within; length--) {
        if (!strchr(bl_separators, folder[length - 1])) continue;
        folder[length] = 0;
        within = bl_same_file(folder, path);
    }
    free(folder);
    return within || (bl_path_is_name(file) && bl_same_file(".", path));
}

/* A page beside a run's files may be written anew; its documents, logs and weights may not. */
static int check_target(const char *option, const char *file, char **paths, int count) {
    if (!file || !is_other_file(file)) return 0;
    for (int i = 0; i < count; i++)
        if (is_within(file, paths[i]))
            return bl_fail(BLANCH_EUSAGE, "--%s: %s is read and would be overwritten", option, bl_shown(file));
    return bl_fail(BLANCH_EUSAGE, "--%s: %s is there and is no page or table of a report; name another file", option,
                   bl_shown(file));
}

static bool is_output(const char *file) {
    return file && !strcmp(file, "-");
}

static int check_targets(const struct report *r, char **paths, int count) {
    if (is_output(r->out)) return bl_fail(BLANCH_EUSAGE, "--out takes the name of a file; the page is not printed");
    if (is_output(r->csv) && r->json)
        return bl_fail(BLANCH_EUSAGE, "--csv - and --json are both for standard output: give one");
    if (r->out && r->csv && (!strcmp(r->out, r->csv) || bl_same_file(r->out, r->csv)))
        return bl_fail(BLANCH_EUSAGE, "--out and --csv are both %s: give two files", bl_shown(r->out));
    int code = check_target("out", r->out, paths, count);
    return code || is_output(r->csv) ? code : check_target("csv", r->csv, paths, count);
}

/* --- writing ---------------------------------------------------------------------------------- */

static int print_table(const struct report *r) {
    char *table = NULL;
    int code = bl_report_table(r->result, r->count, &table);
    if (table) fputs(table, stdout);
    free(table);
    return code;
}

static int write_all(struct report *r) {
    int code = set_values(r, "price", r->price, offsetof(struct bl_suite_result, price));
    if (!code) code = set_values(r, "watts", r->watts, offsetof(struct bl_suite_result, power));
    if (!code) code = r->out ? bl_report_write(r->out, r->result, r->count) : 0;
    if (!code && is_output(r->csv)) return print_table(r);
    if (!code && r->csv) code = bl_report_csv(r->csv, r->result, r->count);
    if (code || r->json) return code ? code : print_json(r);
    if (r->out) printf("%s\n", bl_shown(r->out));
    if (r->csv) printf("%s\n", bl_shown(r->csv));
    return print_differences(r);
}

/* What cannot be read is named, and the rest becomes the page. Returns the exit status that this asks for; negative:
 * the machine failed, not a file. */
static int read_all(struct report *r, char **paths, int count) {
    int status = 0;
    for (int i = 0; i < count; i++) {
        struct bl_result *result = &r->result[r->count];
        int code = bl_report_read(paths[i], result);
        if (!code) code = check_version(r, result);
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
        {"csv", BL_OPT_TEXT, &r.csv, 0, 0, "FILE",
         "step times, and layers by phase, as comma-separated values; - prints them"},
        {"price", BL_OPT_TEXT, &r.price, 0, 0, "NAME=X; ...",
         "of suites' devices, in any currency: NAME is a part of "
         "a device's or a file's name"},
        {"watts", BL_OPT_TEXT, &r.watts, 0, 0, "NAME=X; ...", "that they take, where that was not measured"},
        {"json", BL_OPT_FLAG, &r.json, 0, 0, NULL, "prints what was read as one JSON document"},
        {0}};
    int paths = 0;
    int code = bl_options_parse(&bl_command_report, options, argc, argv, &paths, &help);
    if (code || help) return code;
    r.options = options;
    if (!(r.result = bl_calloc((size_t)paths + 1, sizeof *r.result))) return BLANCH_ENOMEM;
    if (!paths)
        code = bl_fail(BLANCH_EUSAGE,
                       "report takes run directories, folders of comparisons, or JSON of bench, compare and suite");
    if (!r.out && !r.csv && !r.json) r.out = "report.html";
    if (!code) code = check_targets(&r, argv + 1, paths);
    if (!code) code = read_all(&r, argv + 1, paths);
    for (int i = 0; i < r.count; i++) bl_result_free(&r.result[i]);
    free(r.result);
    return code;
}

const struct bl_command bl_command_report = {
    .name = "report",
    .summary = "one page from runs, benches, comparisons and suites, of several machines too",
    .usage =
        "usage: blanch report PATH... [--out FILE] [--csv FILE]\n\n"
        "PATH is a run directory of `train`, a folder or compare.json of `compare`, the output of `bench --json`, or\n"
        "the FILE of `suite`, of which the devices are ranked, one version of the suite at a time. Of several it says\n"
        "which may be compared, and which differ by more than their spread. Writes report.html, one file that needs\n"
        "nothing else, unless --csv alone is given. A PATH that cannot be read is named, the others make the page, "
        "and\n"
        "the exit status is 2.\n",
    .run = run,
};
