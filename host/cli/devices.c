/* blanch devices: what OpenCL offers here. */
#include "devices.h"
#include "cl/hint.h"
#include "common.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {[BLANCH_CPU] = "CPU", [BLANCH_GPU] = "GPU", [BLANCH_ACCELERATOR] = "accelerator"};

/* --- listing ---------------------------------------------------------------------------------- */

static double mib(uint64_t bytes) {
    return (double)bytes / 1048576;
}

void bl_print_device(const struct blanch_device_info *d) {
    printf("%d:%d  %s%s\n", d->platform, d->device, bl_shown(d->name), d->is_default ? "  (the default)" : "");
    const char *pocl = strstr(d->version, "PoCL") ? "PoCL, " : ""; // as its users call it
    printf("     %s, %s%s; %s; driver %s\n", kinds[d->kind], pocl, bl_shown(d->platform_name), bl_shown(d->version),
           bl_shown(d->driver));
    printf("     %d compute units at %d MHz; float vectors of %u; work-groups of up to %zu\n", d->compute_units,
           d->clock_mhz, d->float_width, d->max_work_group);
    printf("     memory %.0f MiB, at most %.0f MiB in one buffer; local %.0f KiB%s\n", mib(d->global_memory),
           mib(d->max_alloc), (double)d->local_memory / 1024, d->local_is_real ? "" : " (in plain memory)");
    if (*d->pci) printf("     PCI place %s%s\n", d->pci, d->unified_memory ? "; memory shared with the host" : "");
}

static void add_limits(cJSON *json, const struct blanch_device_info *d) {
    cJSON *items = cJSON_AddArrayToObject(json, "max_work_item");
    for (int i = 0; i < 3; i++) cJSON_AddItemToArray(items, cJSON_CreateNumber((double)d->max_work_item[i]));
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"compute_units", d->compute_units},
                   {"clock_mhz", d->clock_mhz},
                   {"max_work_group", (double)d->max_work_group},
                   {"max_alloc", (double)d->max_alloc},
                   {"global_memory", (double)d->global_memory},
                   {"local_memory", (double)d->local_memory},
                   {"constant_memory", (double)d->constant_memory},
                   {"base_align", d->base_align},
                   {"float_width", d->float_width}};
    const struct {
        const char *name;
        bool value;
    } flags[] = {{"local_is_real", d->local_is_real},
                 {"fp16", d->fp16},
                 {"fp64", d->fp64},
                 {"subgroups", d->subgroups},
                 {"out_of_order", d->out_of_order},
                 {"partition", d->partition},
                 {"unified_memory", d->unified_memory},
                 {"default", d->is_default}};
    for (int i = 0; i < BL_COUNT(numbers); i++) cJSON_AddNumberToObject(json, numbers[i].name, numbers[i].value);
    for (int i = 0; i < BL_COUNT(flags); i++) cJSON_AddBoolToObject(json, flags[i].name, flags[i].value);
}

cJSON *bl_device_listing(const struct blanch_device_info *d) {
    cJSON *json = cJSON_CreateObject();
    char spec[32];
    snprintf(spec, sizeof spec, "%d:%d", d->platform, d->device);
    const char *const texts[][2] = {
        {"device", spec},      {"name", d->name},       {"kind", kinds[d->kind]}, {"platform", d->platform_name},
        {"vendor", d->vendor}, {"version", d->version}, {"driver", d->driver},    {"c_version", d->c_version},
        {"pci", d->pci}};
    for (int i = 0; i < BL_COUNT(texts); i++) cJSON_AddStringToObject(json, texts[i][0], texts[i][1]);
    add_limits(json, d);
    return json;
}

/* --- the subcommand --------------------------------------------------------------------------- */

static void show(const struct blanch_device_info *info, cJSON *json) {
    if (json)
        cJSON_AddItemToArray(json, bl_device_listing(info));
    else
        bl_print_device(info);
}

static int show_one(const char *spec, cJSON *json) {
    struct blanch_device *dev = NULL;
    int code = blanch_device_open(&dev, spec, 0);
    if (!code) show(blanch_device_info(dev), json);
    blanch_device_close(dev);
    return code;
}

/* One that cannot be asked does not keep the others from being shown. */
static int show_all(cJSON *json) {
    struct blanch_device_info **infos = NULL;
    int count, code = blanch_devices_list(&infos, &count);
    if (!infos) return code;
    for (int i = 0; i < count; i++) show(infos[i], json);
    free(infos);
    return code;
}

/* Each line of hints: printed, or into an array. */
void bl_show_hints(char *hints, cJSON *array) {
    for (char *end, *line = hints; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (array)
            cJSON_AddItemToArray(array, cJSON_CreateString(line));
        else
            printf("hint: %s\n", bl_shown(line));
    }
}

static int run(int argc, char **argv) {
    bool help, json_wanted = false;
    const char *device = NULL;
    const struct bl_option options[] = {
        {"device", BL_OPT_TEXT, &device, 0, 0, "DEVICE", "this one alone"},
        {"json", BL_OPT_FLAG, &json_wanted, 0, 0, NULL, "one JSON document on standard output"},
        {0},
    };
    int code = bl_options_parse(&bl_command_devices, options, argc, argv, NULL, &help);
    if (code || help) return code;
    cJSON *json = json_wanted ? cJSON_CreateArray() : NULL;
    if (json_wanted && !json) return bl_fail(BLANCH_ENOMEM, "out of host memory");
    code = device ? show_one(device, json) : show_all(json);
    if (code == BLANCH_EUSAGE || (code && !json)) {
        cJSON_Delete(json);
        return code;
    }
    char *hints = device ? bl_format("%s", "") : bl_hints();
    if (!hints) {
        cJSON_Delete(json);
        return BLANCH_ENOMEM;
    }
    cJSON *document = json ? bl_document("devices", NULL, bl_options_json(options)) : NULL;
    if (json) cJSON_AddItemToObject(document, "devices", json);
    bl_show_hints(hints, json ? cJSON_AddArrayToObject(document, "hints") : NULL);
    free(hints);
    if (!json) return 0;
    int printed = bl_print_json(document);
    return code ? code : printed;
}

const struct bl_command bl_command_devices = {
    .name = "devices",
    .summary = "lists the OpenCL devices",
    .usage =
        "usage: blanch devices [--device DEVICE] [--json]\n"
        "\n"
        "Lists every OpenCL platform's devices with their limits and the default choice. `blanch doctor` tries what\n"
        "they can do.\n",
    .run = run,
};
