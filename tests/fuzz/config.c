/* A run's config.json: reading it, as a file of settings too, and what a resumed run makes of it before it opens a
 * device; its data are a folder of two images. */
#include "fuzz.h"
#include "train/open.h"
#include "train/run.h"
#include <stdlib.h>

static void build_network(struct bl_network_options options) {
    struct bl_graph *graph = NULL;
    int code = bl_graph_create(&graph, NULL, options.batch, false);
    if (!code) code = bl_model_build(graph, options.definition, &options);
    if (!code) code = bl_graph_finish(graph, options.seed);
    expect_read(code);
    bl_graph_free(graph);
}

static void open_data(const struct bl_run_config *config) {
    static const char image[] = "P5 2 1 255\n\x10\x20";
    struct bl_dataset *set = NULL;
    char *changes = NULL;
    memory_file("a/1.pgm", image, sizeof image - 1), memory_file("b/1.pgm", image, sizeof image - 1);
    int code = bl_run_data_open(&set, config, "folder:" IN_MEMORY, &(struct bl_run_division){.seed = 0});
    if (!code) code = bl_run_data_resume(config, set, &changes);
    expect(code);
    free(changes);
    bl_dataset_close(set);
}

/* As --config takes it. */
static void take_config(struct bl_train_options given) {
    cJSON *json = NULL;
    given.resume = false, given.config = IN_MEMORY "/config.json";
    expect(bl_config_take(&given, &json));
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct run run = {0};
    struct bl_train_options given = BL_TRAIN_DEFAULT;
    given.out = IN_MEMORY, given.resume = true;
    memory_file("config.json", data, size);
    take_config(given);
    int code = bl_run_resolve(&run, &given);
    expect(code);
    if (!code) {
        struct bl_network_options options = run.o.network;
        const struct bl_view *view = &run.config.view;
        if (view->channels < 1 || view->height < 1 || view->width < 1 || options.batch < 1) abort();
        for (int i = 0; i < run.config.class_names; i++) cJSON_GetArrayItem(run.config.class_name, i);
        build_network(options);
        open_data(&run.config);
        run.schedule.steps = run.schedule.epoch_steps = 10;
        for (int64_t step = 0; step < 10; step += 3) bl_schedule_lr(&run.schedule, step);
    }
    bl_model_free(run.model);
    bl_run_release(&run.config);
    return 0;
}
