/* What `report` reads: the JSON of a comparison, a bench or a suite, and of it the page and the table, of one and of
 * two. */
#include "fuzz.h"
#include "report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_result results[2] = {0};
    memory_file("x.json", data, size);
    int code = bl_report_read(IN_MEMORY "/x.json", &results[0]);
    expect(code);
    if (!code) {
        results[1] = results[0];
        expect(bl_report_write("/dev/null", results, 2));
        expect_read(bl_report_csv("/dev/null", results, 1));
    }
    bl_result_free(&results[0]);
    return 0;
}
