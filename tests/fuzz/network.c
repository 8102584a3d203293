#include "fuzz.h"
#include "graph/describe.h"
#include "io/files.h"
#include "train/open.h"

/* As a network of that norm, of one class and channel more than the file's. */
static int build(const struct blanch_model *model, enum blanch_norm norm, int more) {
    const struct bl_network_options options = {
        .norm = norm, .classes = model->classes + more, .channels = model->channels + more};
    struct bl_graph *graph = NULL;
    cJSON *back;
    expect(bl_graph_create(&graph, NULL, 4, false));
    int code = bl_model_build(graph, model, &options);
    if (!code) code = bl_graph_finish(graph, 0);
    expect(code);
    if (!code && (back = cJSON_CreateObject())) {
        bl_graph_describe(graph, back);
        cJSON_Delete(back);
    }
    bl_graph_free(graph);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct blanch_model *model = NULL;
    memory_file("x.json", data, size);
    int code = bl_model_open(&model, IN_MEMORY "/x.json");
    expect_read(code);
    for (int norm = BLANCH_BN; !code && norm <= BLANCH_OWN; norm++) {
        build(model, (enum blanch_norm)norm, 0);
        build(model, (enum blanch_norm)norm, 1);
    }
    bl_model_free(model);
    return 0;
}
