/* A training trace without a device: metadata, images, labels, the graph of the network. Input: header and data
 * (safetensors.h). */
#include "safetensors.h"
#include "../../host/cli/check_trace.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_check check = {0};
    struct trace trace = {.check = &check};
    size_t made;
    uint8_t *bytes = safetensors_bytes((struct part){data, size}, &made);
    memory_file("x", bytes, made);
    int code = bl_st_open(&check.file, IN_MEMORY "/x");
    expect(code);
    if (!code) expect_read(build(&trace));
    bl_graph_free(trace.graph);
    free(trace.x), free(trace.y);
    bl_st_close(check.file);
    free(bytes);
    return 0;
}
