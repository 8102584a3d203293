/* The lines of a run's log.jsonl. */
#include "train/run.h"
#include "io/files.h"
#include <math.h>

cJSON *bl_run_log_line(const char *type) {
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "type", type);
    return line;
}

int bl_run_log(const struct run *run, cJSON *line) {
    if (bl_run_writes(run)) return bl_json_line(run->log, line, run->log_path);
    cJSON_Delete(line);
    return 0;
}

static void add(cJSON *line, const char *key, double value, int digits) {
    cJSON_AddItemToObject(line, key, bl_json_number(value, digits));
}

double bl_per_cent(int part, int count) {
    return count ? 100.0 * part / count : 0;
}

int bl_run_log_step(struct run *run, int64_t epoch, double loss, float lr, double images_per_s) {
    cJSON *line = bl_run_log_line("step");
    cJSON_AddNumberToObject(line, "step", (double)run->position.step);
    cJSON_AddNumberToObject(line, "epoch", (double)epoch);
    cJSON_AddItemToObject(line, "loss", bl_json_float((float)loss));
    cJSON_AddItemToObject(line, "lr", bl_json_float(lr));
    add(line, "images_per_s", images_per_s, 5);
    return bl_run_log(run, line);
}

/* "test_loss" and its like, or "ema_test_loss". classes negative: there is nothing but the loss. */
static void add_metrics(cJSON *line, const char *prefix, enum bl_split split, const struct blanch_metrics *m,
                        const double *iou, int classes) {
    const struct {
        const char *name;
        double value;
        int digits;
        bool pixels, evaluated;
    } rows[] = {{"loss", m->loss, 9, m->pixels > 0},
                {"top1", bl_accuracy(m), 6},
                {"top5", bl_per_cent(m->top5, m->count), 6},
                {"pixel_accuracy", bl_accuracy(m), 6, true},
                {"mean_iou", m->mean_iou, 6, true, true}};
    char key[60];
    for (int i = 0; i < BL_COUNT(rows); i++) {
        if (i && classes < 0) break;
        if (rows[i].pixels != (m->pixels > 0) || (rows[i].evaluated && !iou)) continue;
        snprintf(key, sizeof key, "%s%s_%s", prefix, bl_split_name(split), rows[i].name);
        add(line, key, rows[i].value, rows[i].digits);
    }
    for (int c = 0; c < classes && iou; c++) {
        snprintf(key, sizeof key, "%s%s_iou_%d", prefix, bl_split_name(split), c);
        add(line, key, iou[c], 6);
    }
}

int bl_run_log_epoch(struct run *run, const struct blanch_metrics *judged, const struct blanch_metrics *ema,
                     double seconds) {
    const enum bl_split judge = bl_dataset_judge(run->data);
    const struct blanch_metrics *train = &run->position.train;
    cJSON *line = bl_run_log_line("epoch");
    cJSON_AddNumberToObject(line, "epoch", (double)(run->position.epoch + 1));
    const bool generates = run->model->task == BL_GENERATE;
    const int classes = generates ? -1 : run->net->options.classes;
    add_metrics(line, "", BL_TRAIN, train, NULL, generates ? -1 : 0);
    if (judged->count) add_metrics(line, "", judge, judged, run->iou, classes);
    if (ema->count) add_metrics(line, "ema_", judge, ema, run->iou, 0);
    add(line, "train_s", run->position.train_s, 5);
    add(line, judge == BL_VAL ? "val_s" : "test_s", seconds, 5);
    int code = bl_run_results_add(run, line);
    return code ? code : bl_run_log(run, line);
}

int bl_run_log_blocks(struct run *run) {
    if (!run->blocks.line) return 0;
    cJSON *line = bl_run_log_line("blocks");
    cJSON_AddNumberToObject(line, "step", 0);
    for (cJSON *item; (item = cJSON_DetachItemFromArray(run->blocks.line, 0));)
        cJSON_AddItemToObject(line, item->string, item);
    return bl_run_log(run, line);
}

int bl_run_log_data(struct run *run) {
    if (run->o.resume && !*run->data_changes) return 0;
    cJSON *line = bl_run_log_line("data"), *found = bl_run_data_json(run->data);
    cJSON_AddNumberToObject(line, "step", (double)run->position.step);
    for (cJSON *item; (item = cJSON_DetachItemFromArray(found, 0));) cJSON_AddItemToObject(line, item->string, item);
    cJSON_Delete(found);
    return bl_run_log(run, line);
}

int bl_run_log_test(struct run *run, const char *weights, const struct blanch_metrics *test, double test_s) {
    cJSON *line = bl_run_log_line("test");
    cJSON_AddNumberToObject(line, "step", (double)run->position.step);
    cJSON_AddNumberToObject(line, "epoch", (double)run->position.epoch);
    cJSON_AddStringToObject(line, "weights", weights);
    add_metrics(line, "", BL_TEST, test, run->iou, run->model->task == BL_GENERATE ? -1 : run->net->options.classes);
    add(line, "test_s", test_s, 5);
    return bl_run_log(run, line);
}
