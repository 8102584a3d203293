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

/* "test_loss" and its like, or "ema_test_loss"; `each`: of pixels by class too. */
static void add_metrics(const struct run *run, cJSON *line, const char *prefix, enum bl_split split,
                        const struct blanch_metrics *m, bool each) {
    const bool pixels = run->iou != NULL, evaluated = split != BL_TRAIN;
    const struct {
        const char *name;
        double value;
        int digits;
        bool shown;
    } rows[] = {{"loss", m->loss, 9, true},
                {"top1", bl_accuracy(m), 6, !pixels},
                {"top5", bl_per_cent(m->top5, m->count), 6, !pixels},
                {"pixel_accuracy", bl_accuracy(m), 6, pixels},
                {"mean_iou", m->mean_iou, 6, pixels && evaluated}};
    const int count = run->model->task == BL_GENERATE ? 1 : BL_COUNT(rows),
              classes = pixels && evaluated && each ? run->net->options.classes : 0;
    char key[60];
    for (int i = 0; i < count; i++) {
        if (!rows[i].shown) continue;
        snprintf(key, sizeof key, "%s%s_%s", prefix, bl_split_name(split), rows[i].name);
        add(line, key, rows[i].value, rows[i].digits);
    }
    for (int c = 0; c < classes; c++) {
        snprintf(key, sizeof key, "%s%s_iou_%d", prefix, bl_split_name(split), c);
        add(line, key, run->iou[c], 6);
    }
}

int bl_run_log_epoch(struct run *run, const struct blanch_metrics *judged, const struct blanch_metrics *ema,
                     double seconds) {
    const enum bl_split judge = bl_dataset_judge(run->data);
    const struct blanch_metrics *train = &run->position.train;
    cJSON *line = bl_run_log_line("epoch");
    cJSON_AddNumberToObject(line, "epoch", (double)(run->position.epoch + 1));
    add_metrics(run, line, "", BL_TRAIN, train, false);
    if (judged->count) add_metrics(run, line, "", judge, judged, true);
    if (ema->count) add_metrics(run, line, "ema_", judge, ema, false);
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
    add_metrics(run, line, "", BL_TEST, test, true);
    add(line, "test_s", test_s, 5);
    return bl_run_log(run, line);
}
