/* results.csv: the epochs of a run's log as a table, for whoever reads tables. Its columns are the keys of the first
 * epoch's line. The log is what counts: a run that goes on makes the table anew from it. */
#include "train/run.h"
#include "io/files.h"
#include "io/json.h"
#include <stdlib.h>
#include <string.h>

/* What is appended to a table. */
struct text {
    char *data;
    size_t length, capacity;
};

static int append(struct text *text, const char *part, size_t length) {
    int code = bl_grow((void **)&text->data, &text->capacity, text->length + length + 1, 1);
    if (code) return code;
    memcpy(text->data + text->length, part, length);
    text->data[text->length += length] = 0;
    return 0;
}

static bool is_epoch(const cJSON *line) {
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, "type"));
    return type && !strcmp(type, "epoch");
}

static int append_header(struct text *text, const cJSON *line) {
    int code = 0;
    for (const cJSON *item = line->child; item && !code; item = item->next) {
        if (!strcmp(item->string, "type")) continue;
        if (text->length) code = append(text, ",", 1);
        if (!code) code = append(text, item->string, strlen(item->string));
    }
    return code ? code : append(text, "\n", 1);
}

/* The numbers of the columns that header, a line, names; what the epoch lacks is empty. */
static int append_row(struct text *text, const char *header, const cJSON *line) {
    int code = 0;
    for (const char *at = header; !code; at++) {
        const size_t length = strcspn(at, ",\n");
        char key[64], number[32] = "";
        snprintf(key, sizeof key, "%.*s", (int)length, at);
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(line, key);
        if (cJSON_IsNumber(item)) snprintf(number, sizeof number, "%.9g", item->valuedouble);
        code = append(text, number, strlen(number));
        at += length;
        if (*at != ',') break;
        if (!code) code = append(text, ",", 1);
    }
    return code ? code : append(text, "\n", 1);
}

/* The table of a log's text; length 0: it has no epoch. */
static int make_table(struct text *table, const char *log) {
    int code = 0;
    for (const char *line = log, *end; !code && (end = strchr(line, '\n')); line = end + 1) {
        cJSON *json = bl_json_parse(line, (size_t)(end - line), NULL);
        if (!json) code = bl_memory_lacked();
        if (json && is_epoch(json)) {
            if (!table->length) code = append_header(table, json);
            char *header = code ? NULL : bl_format("%.*s", (int)strcspn(table->data, "\n"), table->data);
            if (!code) code = header ? append_row(table, header, json) : BLANCH_ENOMEM;
            free(header);
        }
        cJSON_Delete(json);
    }
    return code;
}

int bl_run_results(const struct run *run) {
    char *path = bl_format("%s/results.csv", run->o.out), *log = NULL;
    struct text table = {0};
    size_t size;
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && bl_path_exists(run->log_path)) code = bl_file_read(run->log_path, &log, &size);
    if (!code && log) code = make_table(&table, log);
    if (!code && table.length) code = bl_file_write(path, table.data, table.length);
    if (!code && !table.length) remove(path);
    free(table.data);
    free(log);
    free(path);
    return code;
}

int bl_run_results_add(const struct run *run, cJSON *line) {
    if (!bl_run_writes(run)) return 0;
    char *path = bl_format("%s/results.csv", run->o.out), *header = NULL;
    struct text text = {0};
    size_t size;
    int code = path ? 0 : BLANCH_ENOMEM;
    if (!code && bl_path_exists(path)) code = bl_file_read(path, &header, &size);
    if (!code && !header && !(code = append_header(&text, line)))
        code = (header = bl_strdup(text.data)) ? 0 : BLANCH_ENOMEM;
    if (!code) code = append_row(&text, header, line);
    FILE *file = code ? NULL : bl_log_open(path);
    if (!code && !file) code = BLANCH_EIO;
    if (file && (fwrite(text.data, 1, text.length, file) != text.length) | (fclose(file) != 0))
        code = bl_fail(BLANCH_EIO, "%s could not be written", path);
    if (code) cJSON_Delete(line);
    free(text.data);
    free(header);
    free(path);
    return code;
}
