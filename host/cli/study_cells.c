/* The cells of a study's folder: their names, and what their run directories say of them. */
#include "cli/study.h"
#include "io/files.h"
#include "io/json.h"
#include "train/train.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const bl_cell_states[] = {
    [BL_CELL_NEW] = "new", [BL_CELL_STARTED] = "started", [BL_CELL_DONE] = "done", [BL_CELL_DIVERGED] = "diverged"};

const struct bl_study_fact *bl_study_fact(const char *dataset, const char *network, const char *norm, int epochs) {
    for (const struct bl_study_fact *f = bl_study_facts; f->dataset; f++)
        if (!strcmp(f->dataset, dataset) && !strcmp(f->network, network) && !strcmp(f->norm, norm) &&
            f->epochs == epochs)
            return f;
    return NULL;
}

/* --- names ---------------------------------------------------------------------------------- */

void bl_cell_name(const struct bl_cell *cell, char name[128]) {
    char shortened[32] = "";
    if (cell->steps) snprintf(shortened, sizeof shortened, "-s%lld", (long long)cell->steps);
    snprintf(name, 128, "%s-%s-%s-%d%s-a%d", cell->dataset, cell->network, cell->norm, cell->epochs, shortened,
             cell->attempt);
}

/* Cuts the last word of name, its parts being joined by '-'. */
static char *cut_word(char *name) {
    char *dash = strrchr(name, '-');
    if (!dash) return NULL;
    *dash = 0;
    return dash + 1;
}

static bool is_cell(struct bl_cell *cell, const char *name) {
    char text[128], again[128];
    if (strlen(name) >= sizeof text) return false;
    strcpy(text, name);
    *cell = (struct bl_cell){0};
    char *attempt = cut_word(text), *epochs = cut_word(text);
    if (!attempt || !epochs || *attempt != 'a') return false;
    cell->attempt = atoi(attempt + 1);
    if (*epochs == 's') {
        cell->steps = atoll(epochs + 1);
        epochs = cut_word(text);
    }
    char *norm = cut_word(text), *network = strchr(text, '-');
    if (!epochs || !norm || !network) return false;
    *network++ = 0;
    cell->epochs = atoi(epochs);
    snprintf(cell->dataset, sizeof cell->dataset, "%s", text);
    snprintf(cell->network, sizeof cell->network, "%s", network);
    snprintf(cell->norm, sizeof cell->norm, "%s", norm);
    bl_cell_name(cell, again);
    return !strcmp(again, name);
}

/* --- reading -------------------------------------------------------------------------------- */

static int read_config(struct bl_cell *cell, const char *path) {
    cJSON *json = NULL;
    int code = bl_path_exists(path) ? bl_json_read(path, &json) : 0;
    struct bl_header header;
    bl_header_read(json, &header);
    snprintf(cell->data, sizeof cell->data, "%s", bl_json_text(json, "data"));
    snprintf(cell->model, sizeof cell->model, "%s", bl_json_text(json, "model"));
    cell->device = header.device;
    cell->host = header.host;
    cJSON_Delete(json);
    return code;
}

/* A count that a line of a log says; 0: none. */
static int64_t count_of(const cJSON *line, const char *key) {
    double value = bl_json_get(line, key);
    return value >= 1 && value <= 1e15 ? (int64_t)value : 0;
}

static void take_epoch(struct bl_cell *cell, const cJSON *line) {
    int64_t epoch = count_of(line, "epoch");
    if (epoch <= cell->epochs_done || epoch > INT_MAX) return;
    double train_s = bl_json_get(line, "train_s"), test_s = bl_json_get(line, "test_s");
    const double pixels = bl_json_get(line, "train_pixel_accuracy");
    cell->pixels = !isnan(pixels);
    const char *const test = cell->pixels ? "test_mean_iou" : "test_top1", *const val = cell->pixels ? "val_mean_iou"
                                                                                                     : "val_top1";
    cell->epochs_done = (int)epoch;
    cell->test_top1 = bl_json_get(line, test);
    if (isnan(cell->test_top1)) cell->test_top1 = bl_json_get(line, val);
    if (isnan(test_s)) test_s = bl_json_get(line, "val_s");
    cell->train_top1 = cell->pixels ? pixels : bl_json_get(line, "train_top1");
    cell->train_s += isnan(train_s) ? 0 : train_s;
    cell->test_s += isnan(test_s) ? 0 : test_s;
}

/* A line that is cut off by the end of the file, or by a crash, counts for nothing. */
static int read_log(struct bl_cell *cell, const char *path) {
    char *text = NULL;
    size_t size;
    int64_t step = 0;
    bool tested = false;
    int code = bl_path_exists(path) ? bl_file_read(path, &text, &size) : 0;
    if (code || !text) return code;
    for (char *line = text, *end; !code && (end = strchr(line, '\n')); line = end + 1) {
        cJSON *json = bl_json_parse(line, (size_t)(end - line), NULL);
        const char *type = bl_json_text(json, "type");
        if (!json) code = bl_memory_lacked();
        if (!strcmp(type, "epoch")) {
            take_epoch(cell, json);
            tested = true;
        } else if (!strcmp(type, "step")) {
            cell->steps_done = step = count_of(json, "step");
            tested = false;
        }
        cJSON_Delete(json);
    }
    free(text);
    if (tested && (cell->steps ? step >= cell->steps : cell->epochs_done >= cell->epochs)) cell->state = BL_CELL_DONE;
    return code;
}

static int read_divergence(struct bl_cell *cell, const char *path) {
    cJSON *json = NULL;
    int code = bl_path_exists(path) ? bl_json_read(path, &json) : 0;
    if (!code && json) {
        cell->state = BL_CELL_DIVERGED;
        snprintf(cell->note, sizeof cell->note, "%s", bl_json_text(json, "message"));
    }
    cJSON_Delete(json);
    return code;
}

int bl_cell_read_folder(struct bl_cell *cell, const char *folder) {
    char *config = bl_format("%s/config.json", folder), *log = bl_format("%s/log.jsonl", folder);
    char *diverged = bl_format("%s/diverged.json", folder);
    int code = config && log && diverged ? 0 : BLANCH_ENOMEM;
    cell->test_top1 = cell->train_top1 = NAN;
    cell->pixels = false;
    cell->train_s = cell->test_s = cell->epochs_done = 0;
    cell->steps_done = 0;
    cell->state = BL_CELL_NEW;
    if (!code && bl_path_exists(folder)) {
        cell->state = BL_CELL_STARTED;
        cell->has_checkpoint = bl_path_exists(config) && bl_checkpoint_exists(folder);
        if (!(code = read_config(cell, config)) && !(code = read_log(cell, log)))
            code = read_divergence(cell, diverged);
    }
    char *const paths[] = {config, log, diverged};
    for (int i = 0; i < BL_COUNT(paths); i++) free(paths[i]);
    return code;
}

int bl_cell_read(struct bl_cell *cell, const char *dir) {
    char name[128];
    bl_cell_name(cell, name);
    char *folder = bl_format("%s/%s", dir, name);
    int code = folder ? bl_cell_read_folder(cell, folder) : BLANCH_ENOMEM;
    free(folder);
    return code;
}

/* --- writing -------------------------------------------------------------------------------- */

int bl_cell_record_divergence(const char *folder, const char *message) {
    char *path = bl_format("%s/diverged.json", folder);
    cJSON *json = bl_document("diverged", NULL, NULL);
    cJSON_AddStringToObject(json, "message", message);
    int code = path && json ? bl_make_dirs(folder) : BLANCH_ENOMEM;
    if (!code) code = bl_json_write(path, json);
    cJSON_Delete(json);
    free(path);
    return code;
}

/* --- a folder ------------------------------------------------------------------------------- */

static int fact_rank(const struct bl_cell *cell) {
    int rank = 0;
    while (bl_study_facts[rank].dataset &&
           (strcmp(bl_study_facts[rank].dataset, cell->dataset) || strcmp(bl_study_facts[rank].network, cell->network)))
        rank++;
    return rank;
}

static int norm_rank(const struct bl_cell *cell) {
    return cell->norm[0] == 'n' && cell->norm[1] == 'd' ? 2 : cell->norm[0] == 'b';
}

static int sign(int64_t value) {
    return value < 0 ? -1 : value > 0;
}

/* By network as the tables list them, then epochs, norm, attempt. */
static int compare(const void *left, const void *right) {
    const struct bl_cell *a = left, *b = right;
    int order = sign(fact_rank(a) - fact_rank(b));
    if (!order) order = strcmp(a->network, b->network);
    if (!order) order = sign(a->epochs - b->epochs);
    if (!order) order = sign(a->steps - b->steps);
    if (!order) order = sign(norm_rank(a) - norm_rank(b));
    return order ? order : sign(a->attempt - b->attempt);
}

int bl_cells_find(const char *dir, struct bl_cell **cells, int *count, int *left_out) {
    size_t capacity = 0;
    int code = 0;
    DIR *folder = opendir(dir);
    *cells = NULL;
    *count = *left_out = 0;
    if (!folder) return bl_fail(BLANCH_EINPUT, "--out %s: %s", dir, strerror(errno));
    for (struct dirent *entry; errno = 0, !code && (entry = readdir(folder));) {
        struct bl_cell cell;
        if (!is_cell(&cell, entry->d_name)) continue;
        if ((code = bl_cell_read(&cell, dir)) == BLANCH_EINPUT) {
            bl_print_error(code);
            ++*left_out;
            code = 0;
            continue;
        }
        if (code) break;
        void *grown = *cells;
        if ((code = bl_grow(&grown, &capacity, (size_t)*count + 1, sizeof cell))) break;
        *cells = grown;
        (*cells)[(*count)++] = cell;
    }
    if (!code && errno) code = bl_fail(BLANCH_EINPUT, "--out %s: %s", dir, strerror(errno));
    closedir(folder);
    if (*count) qsort(*cells, (size_t)*count, sizeof **cells, compare);
    return code;
}
