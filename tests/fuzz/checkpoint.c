/* A checkpoint's two files, held against a small network without a device, up to where values would go to the device;
 * the overhead budget's state with it. Input: the state's header and data (safetensors.h), then, after four bytes 0,
 * the weights'. */
#define _GNU_SOURCE // memmem
#include "safetensors.h"
#include "../../host/train/checkpoint.c"
#include "optim/optim.h"
#include "sched/budget.h"

enum { CHANNELS = 2, CLASSES = 2 };
static struct bl_graph *graph;

static void make_graph(void) {
    expect(bl_graph_create(&graph, NULL, 2, false));
    bl_graph_use(graph, bl_optimiser_list[0]);
    struct blanch_builder build = {.graph = graph, .norm = BLANCH_BN, .classes = CLASSES};
    struct blanch_tensor *x = blanch_batchnorm2d(&build, "bn", bl_graph_input(graph, CHANNELS, 1, 1));
    blanch_linear(&build, "fc", blanch_flatten(&build, x), CLASSES);
    expect(bl_graph_finish(graph, 0));
}

static struct part cut(struct part *rest) {
    static const uint8_t mark[4] = {0};
    const uint8_t *end = rest->size ? memmem(rest->data, rest->size, mark, sizeof mark) : NULL;
    struct part part = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    size_t passed = part.size + (end ? sizeof mark : 0);
    rest->data += passed, rest->size -= passed;
    return part;
}

static void check_budget(const char *text) {
    struct bl_budget *budget = NULL;
    expect(bl_budget_create(&budget, 0.2, 2));
    expect(bl_budget_restore(budget, text));
    bl_budget_free(budget);
}

static int check_pair(struct bl_safetensors *file[FILES], char *path[FILES]) {
    struct bl_items values = {0}, states = {0};
    struct bl_position position = {0};
    int weights = WEIGHTS, state = STATE, code = open_all(file, path);
    if (!code) code = choose_pair(file, IN_MEMORY, &weights, &state);
    if (!code) code = bl_items_of_weights(&values, graph);
    if (!code) code = bl_items_of_state(&states, graph, file[state]);
    if (!code) code = bl_items_fit(&values, file[weights], path[weights]);
    if (!code) code = bl_items_fit(&states, file[state], path[state]);
    if (!code) code = read_position(file[state], path[state], &position);
    if (position.budget) check_budget(position.budget);
    free(values.item), free(states.item), free(position.budget);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct part rest = {data, size}, one = cut(&rest);
    struct bl_safetensors *file[FILES] = {NULL};
    char *path[FILES];
    size_t made;
    if (!graph) make_graph();
    uint8_t *state = safetensors_bytes(one, &made);
    memory_file(file_names[STATE], state, made);
    uint8_t *weights = safetensors_bytes(rest, &made);
    memory_file(file_names[WEIGHTS], weights, made);
    if (make_paths(path, IN_MEMORY)) abort();
    int code = check_pair(file, path);
    expect_read(code);
    for (int i = 0; i < FILES; i++) bl_st_close(file[i]);
    free_paths(path);
    free(state), free(weights);
    return 0;
}
