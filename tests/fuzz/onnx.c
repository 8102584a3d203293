/* An ONNX file, whose values may lie in x.data beside it: to a network, and written again. */
#include "fuzz.h"
#include "graph/onnx.h"
#include "train/open.h"
#include <string.h>

static int give_zeros(void *context, const struct bl_param *param, float *to) {
    memset(to, 0, (size_t)param->data.count * sizeof *to);
    return 0;
}

static void write_again(const struct blanch_model *model) {
    const struct bl_network_options network = {.definition = model, .norm = BLANCH_OWN, .inference = true};
    const struct bl_onnx_options options = {.path = IN_MEMORY "/again.onnx", .values = give_zeros};
    struct bl_graph *graph = NULL;
    expect(bl_graph_create(&graph, NULL, 1, true));
    int code = bl_model_build(graph, model, &network);
    if (!code) code = bl_graph_finish(graph, 0);
    expect(code);
    int64_t values = 0; // a short file may stand for large weights
    for (int i = 0; !code && i < bl_graph_params(graph); i++) values += bl_graph_param(graph, i)->data.count;
    if (!code && values < 1 << 16) expect(bl_onnx_network_write(graph, &options));
    bl_graph_free(graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t beside[512];
    struct blanch_model *model = NULL;
    memory_file("x.onnx", data, size);
    memory_file("x.data", beside, sizeof beside);
    int code = bl_model_from_onnx(&model, IN_MEMORY "/x.onnx");
    expect_read(code);
    if (!code) write_again(model);
    bl_model_free(model);
    return 0;
}
