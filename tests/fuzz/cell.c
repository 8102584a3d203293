/* The run directory of a cell of a study: config.json, log.jsonl, diverged.json and a folder's name, a zero byte
 * between them; an empty file is none. */
#include "fuzz.h"
#include "../../host/cli/study_cells.c"

const struct bl_study_fact bl_study_facts[] = {{0}}; // of no use to a reader

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"d-m-bn-2-a1/config.json", "d-m-bn-2-a1/log.jsonl",
                                        "d-m-bn-2-a1/diverged.json"};
    struct bl_cell cell = {.dataset = "d", .network = "m", .norm = "bn", .epochs = 2, .attempt = 1};
    struct part rest = {data, size};
    for (int i = 0; i < BL_COUNT(names); i++) {
        struct part part = next_part(&rest);
        memory_file(names[i], part.size ? part.data : NULL, part.size);
    }
    memory_file("d-m-bn-2-a1/", "", 0);
    int code = bl_cell_read(&cell, IN_MEMORY);
    expect(code);
    if (cell.state == BL_CELL_DONE || cell.state == BL_CELL_DIVERGED) expect_read(code);
    char *name = part_text(next_part(&rest));
    struct bl_cell named;
    is_cell(&named, name);
    free(name);
    return 0;
}
