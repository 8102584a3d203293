/* A network file: the description in JSON to a graph without a device, and back. */
#include "fuzz.h"
#include "graph/describe.h"
#include "io/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *json = NULL, *back;
    struct bl_graph *graph = NULL;
    struct blanch_tensor *logits = NULL;
    memory_file("x.json", data, size);
    int code = bl_json_read(IN_MEMORY "/x.json", &json);
    expect(code);
    if (code) return 0;
    expect(bl_graph_create(&graph, NULL, 4, false));
    code = bl_graph_add_described(graph, json, &logits);
    if (!code) code = bl_graph_finish(graph, 0);
    expect_read(code);
    if (!code && (back = cJSON_CreateObject())) {
        bl_graph_describe(graph, back);
        cJSON_Delete(back);
    }
    bl_graph_free(graph);
    cJSON_Delete(json);
    return 0;
}
