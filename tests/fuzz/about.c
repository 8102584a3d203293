/* What weights say of themselves. Input: a header and data (safetensors.h). */
#include "safetensors.h"
#include "train/about.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bl_run_config config;
    struct bl_about_said said;
    size_t made;
    uint8_t *bytes = safetensors_bytes((struct part){data, size}, &made);
    memory_file("x", bytes, made);
    int code = bl_about_read(&config, IN_MEMORY "/x");
    expect(code);
    expect(bl_about_said_read(&said, IN_MEMORY "/x"));
    if (said.view.channels < 0 || said.view.channels > BL_MOST_CHANNELS) abort();
    cJSON_Delete(said.class_names);
    if (!code && config.json) {
        expect_read(0);
        const struct bl_network_options *network = &config.options.network;
        if (network->classes < 1 || network->channels < 1 || !network->definition) abort();
        if (config.view.channels && config.view.channels != network->channels) abort();
        if (config.class_name && cJSON_GetArraySize(config.class_name) != network->classes) abort();
    }
    if (!code) bl_run_release(&config);
    free(bytes);
    return 0;
}
