/* Weights alone: the state dict, as PyTorch names it. */
#include "train/blocks.h"
#include "train/items.h"
#include "train/torchvision.h"
#include "graph/describe.h"
#include "io/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int bl_weights_write(struct bl_graph *graph, const char *path, int64_t step, bool checked) {
    struct bl_items items;
    char number[32];
    enum { MOST_ABOUT = 12 };
    const char *meta[7 + 2 * MOST_ABOUT] = {"format", "pt"};
    int used = 2, code = bl_items_of_weights(&items, graph);
    const cJSON *about = bl_graph_about(graph);
    for (const cJSON *item = about ? about->child : NULL; item && used < 2 * MOST_ABOUT; item = item->next)
        meta[used++] = item->string, meta[used++] = item->valuestring;
    cJSON *json = bl_blocks_json(graph);
    char *blocks = json ? bl_json_print(json, false) : NULL;
    snprintf(number, sizeof number, "%" PRId64, step);
    if (step >= 0) meta[used++] = "step", meta[used++] = number;
    if (blocks) meta[used++] = "blocks", meta[used++] = blocks;
    if (!code && json && !blocks) code = BLANCH_ENOMEM;
    if (!code) code = bl_items_write(&items, path, meta, checked);
    cJSON_Delete(json);
    free(blocks);
    free(items.item);
    return code;
}

int bl_weights_save(struct bl_graph *graph, const char *path, int64_t step) {
    return bl_weights_write(graph, path, step, false);
}

int bl_weights_explain(int code, const struct bl_graph *graph, const struct bl_safetensors *file) {
    const char *name = code == BLANCH_EINPUT && file ? bl_torchvision_of(file, graph) : NULL;
    char *message = name ? bl_strdup(blanch_error_message()) : NULL;
    if (!message) return code;
    bl_fail(code, "%s; its names are those of %s: give that as --model, without --norm", message, name);
    free(message);
    return code;
}

int bl_weights_load(struct bl_graph *graph, const char *path) {
    struct bl_safetensors *file = NULL;
    struct bl_items items = {0};
    int code = bl_st_open(&file, path);
    if (!code) code = bl_items_of_weights(&items, graph);
    if (!code) code = bl_weights_explain(bl_items_fit(&items, file, path), graph, file);
    if (!code) code = bl_items_take(graph, &items, file, path);
    free(items.item);
    bl_st_close(file);
    return code;
}

int bl_weights_check(struct bl_graph *graph, const struct bl_safetensors *file, const char *path) {
    struct bl_items items = {0};
    int code = bl_items_of_weights(&items, graph);
    if (!code) code = bl_weights_explain(bl_items_fit(&items, file, path), graph, file);
    free(items.item);
    return code;
}

int bl_weights_init(struct bl_graph *graph, const char *path, int *taken) {
    struct bl_safetensors *file = NULL;
    struct bl_items items = {0};
    int code = bl_st_open(&file, path);
    if (!code) code = bl_items_of_weights(&items, graph);
    if (!code) code = bl_weights_explain(bl_items_keep_fitting(&items, file, path), graph, file);
    if (!code) code = bl_items_take(graph, &items, file, path);
    *taken = code ? 0 : items.count;
    free(items.item);
    bl_st_close(file);
    return code;
}
