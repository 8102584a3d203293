/* A conformance case of one operation without a device: metadata, attributes, shapes, the graph. Input: header and data
 * (safetensors.h). */
#include "safetensors.h"
#include "../../host/cli/check_layer.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_check check = {0};
    struct layer layer = {.check = &check};
    size_t made;
    uint8_t *bytes = safetensors_bytes((struct part){data, size}, &made);
    memory_file("x", bytes, made);
    int code = bl_st_open(&check.file, IN_MEMORY "/x");
    expect(code);
    if (!code) expect_read(build(&layer));
    bl_graph_free(layer.graph);
    bl_st_close(check.file);
    free(bytes);
    return 0;
}
