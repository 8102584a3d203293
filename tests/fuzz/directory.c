/* A run directory as `report` reads it: config.json, log.jsonl, ledger.json, eval.json, a zero byte between them. */
#include "fuzz.h"
#include "report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"config.json", "log.jsonl", "ledger.json", "eval.json"};
    struct part rest = {data, size};
    struct bl_result result = {0};
    for (int i = 0; i < BL_COUNT(names); i++) {
        struct part part = next_part(&rest);
        memory_file(names[i], part.size || i < 3 ? part.data : NULL, part.size); // most runs were not measured
    }
    int code = bl_report_read(IN_MEMORY, &result);
    expect(code);
    if (!code) {
        expect(bl_report_write("/dev/null", &result, 1));
        expect_read(bl_report_csv("/dev/null", &result, 1));
    }
    bl_result_free(&result);
    return 0;
}
