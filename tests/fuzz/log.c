/* The log of a run that goes on: what is past its checkpoint is taken out. */
#include "fuzz.h"
#include "../../host/train/directory.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[] = IN_MEMORY "/log.jsonl";
    const struct run run = {.log_path = path, .steps = 2, .position = {.step = 1, .epoch = 1}};
    memory_file("log.jsonl", data, size);
    memory_written = 0;
    int code = prune_log(&run);
    expect(code);
    if (memory_written) expect_read(code);
    return 0;
}
