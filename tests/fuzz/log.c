/* The log of a run that goes on: what is past its checkpoint is taken out. */
#include "fuzz.h"
#include "../../host/train/directory.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[] = IN_MEMORY "/log.jsonl";
    const struct run run = {.log_path = path, .steps = 2, .position = {.step = 1, .epoch = 1}};
    memory_file("log.jsonl", data, size);
    expect(prune_log(&run));
    return 0;
}
