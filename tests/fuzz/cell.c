/* The run directory of a cell of a study: config.json, log.jsonl, diverged.json, a zero byte between them. */
#include "fuzz.h"
#include "cli/study.h"

const struct bl_study_fact bl_study_facts[] = {{0}}; // of no use to a reader

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"d-m-bn-2-a1/config.json", "d-m-bn-2-a1/log.jsonl",
                                        "d-m-bn-2-a1/diverged.json"};
    struct bl_cell cell = {.dataset = "d", .network = "m", .norm = "bn", .epochs = 2, .attempt = 1};
    struct part rest = {data, size};
    for (int i = 0; i < BL_COUNT(names); i++) {
        struct part part = next_part(&rest);
        memory_file(names[i], part.data, part.size);
    }
    memory_file("d-m-bn-2-a1/", "", 0);
    int code = bl_cell_read(&cell, IN_MEMORY);
    expect(code);
    if (cell.state == BL_CELL_DONE) expect_read(code);
    return 0;
}
