/* What weights are, in the metadata of their file. */
#include "train/about.h"
#include "graph/describe.h"
#include "io/document.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "train/open.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- writing ---------------------------------------------------------------------------------- */

/* Takes json over. */
static void add(cJSON *about, const char *key, cJSON *json) {
    char *text = bl_json_print(json, false);
    if (text) cJSON_AddStringToObject(about, key, text);
    free(text);
    cJSON_Delete(json);
}

/* A network of a program's own function is described as it was built. */
static int add_network(cJSON *about, const struct blanch_network *net) {
    const struct blanch_model *model = net->model;
    if (bl_model_find(model->name) == model) return 0;
    cJSON *json = model->json ? cJSON_Duplicate(model->json, true) : cJSON_CreateObject();
    int code = json ? 0 : BLANCH_ENOMEM;
    if (!code && !model->json) code = bl_model_describe(model, &net->options, json);
    if (!code) add(about, "network", json), json = NULL;
    cJSON_Delete(json);
    return code;
}

int bl_network_hash(const struct blanch_network *net, char text[17]) {
    cJSON *json = cJSON_CreateObject();
    int code = json ? bl_model_describe(net->model, &net->options, json) : BLANCH_ENOMEM;
    char *described = code ? NULL : bl_json_print(json, false);
    if (!code && !described) code = BLANCH_ENOMEM;
    if (!code) snprintf(text, 17, "%016" PRIx64, bl_hash(BL_HASH_START, described, strlen(described)));
    free(described);
    cJSON_Delete(json);
    return code;
}

int bl_about_set(struct blanch_network *net) {
    const struct bl_network_options *o = &net->options;
    cJSON *about = cJSON_CreateObject(), *options = bl_network_settings(o);
    const bool own = !net->model->json && bl_model_find(net->model->name) != net->model;
    cJSON_AddStringToObject(about, "model", net->model->name);
    cJSON_AddStringToObject(about, "norm", bl_norm_name(own ? BLANCH_OWN : o->norm));
    add(about, "classes", net->class_names ? cJSON_Duplicate(net->class_names, true) : cJSON_CreateNumber(o->classes));
    add(about, "input", cJSON_CreateIntArray((int[]){o->channels, o->height, o->width}, 3));
    if (options && options->child && !own)
        add(about, "options", options);
    else
        cJSON_Delete(options);
    if (net->view.channels) add(about, "view", bl_view_json(&net->view));
    int code = add_network(about, net);
    if (!code && bl_memory_lacked()) code = BLANCH_ENOMEM;
    if (code)
        cJSON_Delete(about);
    else
        bl_graph_set_about(net->graph, about);
    return code;
}

int bl_about_images(struct blanch_network *net, const struct bl_view *view, const struct bl_dataset *data) {
    cJSON *names = data ? cJSON_CreateArray() : NULL;
    for (int i = 0; data && i < net->options.classes; i++)
        cJSON_AddItemToArray(names, cJSON_CreateString(bl_dataset_class_name(data, i)));
    if (bl_memory_lacked()) {
        cJSON_Delete(names);
        return BLANCH_ENOMEM;
    }
    net->view = *view;
    if (data) cJSON_Delete(net->class_names), net->class_names = names;
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Of the key; NULL: the file does not have it. */
static int read_json(const struct bl_safetensors *file, const char *path, const char *key, cJSON **json) {
    const char *text = bl_st_meta(file, key);
    *json = text ? bl_json_parse(text, strlen(text), NULL) : NULL;
    if (!text || *json) return 0;
    return bl_memory_lacked() ? BLANCH_ENOMEM
                              : bl_fail(BLANCH_EINPUT, "%s: the metadata's \"%s\" is no JSON", path, key);
}

static int move(cJSON *to, const char *as, const struct bl_safetensors *file, const char *path, const char *key) {
    cJSON *json;
    int code = read_json(file, path, key, &json);
    if (json) cJSON_AddItemToObject(to, as, json);
    return code;
}

static int read_classes(struct bl_run_config *config, const char *path) {
    cJSON *classes = cJSON_GetObjectItemCaseSensitive(config->json, "classes");
    struct bl_network_options *network = &config->options.network;
    const cJSON *name;
    const double count = cJSON_IsArray(classes) ? cJSON_GetArraySize(classes) : bl_json_value(classes);
    bool right = count >= 1 && count <= BL_MOST_CLASSES && count == (double)(int)count;
    if (cJSON_IsArray(classes)) cJSON_ArrayForEach(name, classes) right = right && cJSON_IsString(name);
    if (!right) return bl_fail(BLANCH_EINPUT, "%s: the metadata's \"classes\" are neither names nor a number", path);
    network->classes = (int)count;
    if (!cJSON_IsArray(classes)) return 0;
    config->class_name = classes;
    config->class_names = network->classes;
    return 0;
}

static int read_input(struct bl_run_config *config, const char *path) {
    const cJSON *input = cJSON_GetObjectItemCaseSensitive(config->json, "input");
    struct bl_network_options *network = &config->options.network;
    int *const to[] = {&network->channels, &network->height, &network->width};
    bool right = cJSON_IsArray(input) && cJSON_GetArraySize(input) == 3;
    for (int i = 0; right && i < 3; i++)
        right = bl_json_int(cJSON_GetArrayItem(input, i), to[i]) && *to[i] >= 1 &&
                *to[i] <= (i ? BL_LARGEST_INPUT : BL_MOST_CHANNELS);
    return right ? 0 : bl_fail(BLANCH_EINPUT, "%s: the metadata's \"input\" is not [channels, height, width]", path);
}

static int read_view(struct bl_run_config *config, const char *path) {
    const cJSON *view = cJSON_GetObjectItemCaseSensitive(config->json, "view");
    const struct bl_network_options *network = &config->options.network;
    int code = view ? bl_view_read(&config->view, view, path) : 0;
    if (code || !view) return code;
    if (config->view.channels == network->channels && config->view.height == network->height &&
        config->view.width == network->width)
        return 0;
    return bl_fail(BLANCH_EINPUT, "%s: the metadata's \"view\" is not of its \"input\"", path);
}

static int read_network(struct bl_run_config *config, const struct bl_safetensors *file, const char *path) {
    const char *name = bl_st_meta(file, "model");
    cJSON *network;
    int code = read_json(file, path, "network", &network);
    if (!code && network) code = bl_model_from_document(&config->model, name, network);
    if (!code && !network && (bl_model_is_file(name) || bl_model_open(&config->model, name)))
        code = bl_fail(BLANCH_EINPUT, "the metadata's \"model\" is '%s', which this version does not know", name);
    config->options.network.definition = config->model;
    return code ? bl_fail_in(code, "%s", path) : 0;
}

static int read_all(struct bl_run_config *config, const struct bl_safetensors *file, const char *path) {
    static const char *const keys[] = {"classes", "input", "options", "view"};
    const char *norm = bl_st_meta(file, "norm");
    struct bl_network_options *network = &config->options.network;
    int code = (config->json = cJSON_CreateObject()) ? 0 : BLANCH_ENOMEM;
    for (int i = 0; i < BL_COUNT(keys) && !code; i++) code = move(config->json, keys[i], file, path, keys[i]);
    if (!code && !norm) code = bl_fail(BLANCH_EINPUT, "%s: the metadata lack \"norm\"", path);
    if (!code && (code = bl_norm_parse(norm, &network->norm))) code = bl_fail_in(BLANCH_EINPUT, "%s", path);
    if (!code) code = read_classes(config, path);
    if (!code) code = read_input(config, path);
    if (!code) code = read_view(config, path);
    if (!code) code = read_network(config, file, path);
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(config->json, "options");
    return !code && options ? bl_network_settings_read(network, options, path) : code;
}

int bl_about_read(struct bl_run_config *config, const char *path) {
    struct bl_safetensors *file = NULL;
    *config = (struct bl_run_config){.options.network = {.nd = {.eps = NAN, .momentum = NAN}, .batch = 128}};
    int code = bl_st_open(&file, path);
    if (!code && bl_st_meta(file, "model")) code = read_all(config, file, path);
    bl_st_close(file);
    if (code) bl_run_release(config);
    return code;
}

/* Whose "view" and "classes" are texts of this program: a file that names its model. */
int bl_about_said_read(struct bl_about_said *said, const char *path) {
    struct bl_safetensors *file = NULL;
    cJSON *view = NULL, *classes = NULL;
    *said = (struct bl_about_said){.class_names = NULL};
    int code = bl_st_open(&file, path);
    if (!code && bl_st_meta(file, "model")) code = read_json(file, path, "view", &view);
    if (!code && view && (code = bl_view_read(&said->view, view, path)))
        code = bl_fail_in(BLANCH_EINPUT, "the metadata");
    if (!code && view) code = read_json(file, path, "classes", &classes);
    if (!code && cJSON_IsArray(classes))
        said->class_names = classes;
    else
        cJSON_Delete(classes);
    cJSON_Delete(view);
    bl_st_close(file);
    return code;
}

void bl_about_take(struct blanch_network *net, struct bl_about_said *said) {
    const cJSON *name;
    bool named = said->class_names && cJSON_GetArraySize(said->class_names) == net->options.classes;
    cJSON_ArrayForEach(name, said->class_names) named = named && cJSON_IsString(name);
    if (said->view.channels == net->options.channels) {
        net->view = said->view;
        net->view.height = net->options.height, net->view.width = net->options.width;
    }
    if (named) {
        cJSON_Delete(net->class_names);
        net->class_names = said->class_names;
    } else
        cJSON_Delete(said->class_names);
    *said = (struct bl_about_said){.class_names = NULL};
}
