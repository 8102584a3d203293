/* The rows of a report as comma-separated values: one of each run, then one for each of its layers and phases. */
#include "report.h"
#include "html.h"
#include "io/files.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_text(struct bl_html *out, const char *text) {
    bool quote = strpbrk(text, ",\"\r\n") != NULL;
    if (quote) bl_html(out, "\"");
    for (; *text; text++) bl_html(out, *text == '"' ? "\"\"" : "%c", *text);
    if (quote) bl_html(out, "\"");
}

static void put_number(struct bl_html *out, double value) {
    bl_html(out, ",");
    if (isfinite(value)) bl_html(out, "%.9g", value);
}

static void put_start(struct bl_html *out, const cJSON *document, const cJSON *run, const char *layer, const char *op,
                      const char *phase) {
    const char *const texts[] = {bl_json_text(document, "source"),
                                 bl_json_text(document, "model"),
                                 bl_json_text(run, "device"),
                                 bl_json_text(run, "norm"),
                                 bl_json_text(run, "setting"),
                                 layer,
                                 op,
                                 phase};
    bl_html(out, "%.0f", bl_json_get(document, "batch"));
    for (int i = 0; i < BL_COUNT(texts); i++) {
        bl_html(out, ",");
        put_text(out, texts[i]);
    }
}

static void put_work(struct bl_html *out, double ms, const cJSON *work) {
    static const char *const keys[] = {"device_ms",  "host_ms",    "launches", "bytes",
                                       "operations", "arithmetic", "bandwidth"};
    put_number(out, ms);
    for (int i = 0; i < BL_COUNT(keys); i++) put_number(out, bl_json_get(work, keys[i]));
    bl_html(out, "\n");
}

static void put_run(struct bl_html *out, const cJSON *document, const cJSON *run) {
    const cJSON *layer, *phase;
    put_start(out, document, run, "(run)", "", "step");
    put_work(out, bl_json_get(run, "step_ms"), cJSON_GetObjectItemCaseSensitive(run, "work_all"));
    cJSON_ArrayForEach(layer, cJSON_GetObjectItemCaseSensitive(run, "layers"))
        cJSON_ArrayForEach(phase, cJSON_GetObjectItemCaseSensitive(layer, "phases")) {
        const cJSON *work = cJSON_GetObjectItemCaseSensitive(layer, "work");
        put_start(out, document, run, bl_json_text(layer, "name"), bl_json_text(layer, "op"), phase->string);
        put_work(out, cJSON_IsNumber(phase) ? phase->valuedouble : NAN,
                 cJSON_GetObjectItemCaseSensitive(work, phase->string));
    }
}

int bl_report_csv(const char *path, const cJSON *const *documents, int count) {
    struct bl_html out = {0};
    const cJSON *run;
    bl_html(&out, "batch,source,model,device,norm,setting,layer,op,phase,ms,device_ms,host_ms,launches,bytes,"
                  "operations,arithmetic,"
                  "bandwidth\n");
    for (int i = 0; i < count; i++)
        cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(documents[i], "runs"))
            put_run(&out, documents[i], run);
    int code = out.error ? out.error : bl_file_write(path, out.data, out.size);
    free(out.data);
    return code;
}
