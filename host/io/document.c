/* The block that every JSON document starts with. */
#include "io/document.h"
#include "base/text.h"
#include "io/commit.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bl_device_facts bl_device_facts(const struct blanch_device_info *info) {
    static const char *const kinds[] = {
        [BLANCH_CPU] = "cpu", [BLANCH_GPU] = "gpu", [BLANCH_ACCELERATOR] = "accelerator"};
    struct bl_device_facts facts = {.compute_units = info->compute_units, .memory = (double)info->global_memory};
    snprintf(facts.platform, sizeof facts.platform, "%s", info->platform_name);
    snprintf(facts.name, sizeof facts.name, "%s", info->name);
    snprintf(facts.driver, sizeof facts.driver, "%s", info->driver);
    snprintf(facts.version, sizeof facts.version, "%s", info->version);
    snprintf(facts.kind, sizeof facts.kind, "%s", kinds[info->kind]);
    return facts;
}

static bool same_host(const struct bl_host *a, const struct bl_host *b) {
    return !strcmp(a->cpu, b->cpu) && !strcmp(a->os, b->os) && !strcmp(a->kernel, b->kernel) && a->cores == b->cores &&
           a->memory == b->memory;
}

bool bl_same_device(const struct bl_device_facts *a, const struct bl_host *on, const struct bl_device_facts *b,
                    const struct bl_host *bon) {
    bool memory = a->memory == b->memory || !strcmp(a->kind, "cpu");
    return !strcmp(a->platform, b->platform) && !strcmp(a->name, b->name) && !strcmp(a->driver, b->driver) &&
           !strcmp(a->version, b->version) && !strcmp(a->kind, b->kind) && a->compute_units == b->compute_units &&
           memory && same_host(on, bon);
}

/* --- formats ---------------------------------------------------------------------------------- */

/* Of every kind the format that is written; it and those before it are read. docs/schemas has a schema of each. */
static const struct {
    const char *kind;
    int format;
} formats[] = {{"ablation", 2}, {"bench", 2},   {"check", 2},   {"compare", 2}, {"devices", 2},
               {"diverged", 2}, {"doctor", 1},  {"eval", 2},    {"ledger", 2},  {"model", 2},
               {"models", 2},   {"predict", 2}, {"product", 2}, {"report", 2},  {"sample", 1},
               {"study", 2},    {"suite", 2},   {"trace", 2},   {"train", 2},   {"tune", 2}};

static int format_of(const char *kind) {
    for (int i = 0; i < BL_COUNT(formats); i++)
        if (!strcmp(formats[i].kind, kind)) return formats[i].format;
    return 0;
}

/* A list of weights of classes may have one of that name. */
static bool has_odd_format(const cJSON *json) {
    const double format = bl_json_get(json, "format");
    const bool written = cJSON_HasObjectItem(json, "kind") || cJSON_HasObjectItem(json, "blanch");
    return written && cJSON_GetObjectItemCaseSensitive(json, "format") && !(format >= 1 && format == floor(format));
}

int bl_document_check(const cJSON *json, const char *path) {
    struct bl_header header;
    if (!cJSON_IsObject(json)) return 0;
    if (has_odd_format(json)) return bl_fail(BLANCH_EINPUT, "%s: its \"format\" is no positive whole number", path);
    bl_header_read(json, &header);
    const int known = format_of(header.kind);
    return known && header.format > known ? bl_format_refuse(path, header.format, header.version, known) : 0;
}

int bl_format_refuse(const char *path, double format, const char *version, int known) {
    return bl_fail(BLANCH_EINPUT,
                   "%s has format %.15g, as Blanch %.31s writes it; this is Blanch %s, which reads up to "
                   "format %d",
                   path, format, version && *version ? version : "of another version", BLANCH_VERSION, known);
}

/* --- writing ---------------------------------------------------------------------------------- */

static cJSON *host_json(const struct bl_host *host) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "cpu", host->cpu);
    cJSON_AddNumberToObject(json, "cores", host->cores);
    cJSON_AddNumberToObject(json, "memory", host->memory);
    cJSON_AddStringToObject(json, "os", host->os);
    cJSON_AddStringToObject(json, "kernel", host->kernel);
    return json;
}

cJSON *bl_device_json(const struct bl_device_facts *device) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "platform", device->platform);
    cJSON_AddStringToObject(json, "name", device->name);
    cJSON_AddStringToObject(json, "driver", device->driver);
    cJSON_AddStringToObject(json, "version", device->version);
    cJSON_AddNumberToObject(json, "compute_units", device->compute_units);
    cJSON_AddNumberToObject(json, "memory", device->memory);
    if (*device->kind) cJSON_AddStringToObject(json, "kind", device->kind);
    return json;
}

cJSON *bl_header_json(const struct bl_header *header, cJSON *settings) {
    cJSON *json = cJSON_CreateObject(), *blanch;
    cJSON_AddNumberToObject(json, "format", header->format);
    cJSON_AddStringToObject(json, "date", header->date);
    blanch = cJSON_AddObjectToObject(json, "blanch");
    cJSON_AddStringToObject(blanch, "version", header->version);
    cJSON_AddStringToObject(blanch, "commit", header->commit);
    cJSON_AddItemToObject(json, "host", host_json(&header->host));
    cJSON_AddItemToObject(json, "device", *header->device.name ? bl_device_json(&header->device) : cJSON_CreateNull());
    cJSON_AddItemToObject(json, "settings", settings ? settings : cJSON_CreateObject());
    cJSON_AddStringToObject(json, "kind", header->kind);
    return json;
}

struct bl_header bl_header_now(const char *kind, const struct blanch_device_info *device) {
    struct bl_header header = {
        .format = format_of(kind), .version = BLANCH_VERSION, .commit = BLANCH_COMMIT, .host = *bl_host()};
    time_t now = time(NULL);
    struct tm utc;
    snprintf(header.kind, sizeof header.kind, "%s", kind);
    if (gmtime_r(&now, &utc)) strftime(header.date, sizeof header.date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (device) header.device = bl_device_facts(device);
    return header;
}

cJSON *bl_document(const char *kind, const struct blanch_device_info *device, cJSON *settings) {
    struct bl_header header = bl_header_now(kind, device);
    return bl_header_json(&header, settings);
}

/* --- reading ---------------------------------------------------------------------------------- */

double bl_json_value(const cJSON *item) {
    return cJSON_IsNumber(item) && fabs(item->valuedouble) <= 1e100 ? item->valuedouble : NAN;
}

double bl_json_get(const cJSON *object, const char *key) {
    return bl_json_value(cJSON_GetObjectItemCaseSensitive(object, key));
}

const char *bl_json_text(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static double known(const cJSON *object, const char *key) {
    double value = bl_json_get(object, key);
    return isnan(value) ? 0 : value;
}

static void copy(char *to, size_t size, const char *text) {
    snprintf(to, size, "%.*s", (int)bl_text_fit(text, size), text);
}

static void read_host(const cJSON *json, struct bl_host *host) {
    copy(host->cpu, sizeof host->cpu, bl_json_text(json, "cpu"));
    copy(host->os, sizeof host->os, bl_json_text(json, "os"));
    copy(host->kernel, sizeof host->kernel, bl_json_text(json, "kernel"));
    host->cores = known(json, "cores");
    host->memory = known(json, "memory");
}

/* In files of format 1 "blanch" is the version and "device" a name, or in a run's config.json a --device, with the
 * facts under "device_info". */
void bl_header_read(const cJSON *json, struct bl_header *header) {
    const cJSON *blanch = cJSON_GetObjectItemCaseSensitive(json, "blanch");
    const cJSON *device = cJSON_GetObjectItemCaseSensitive(json, "device");
    const cJSON *info = cJSON_GetObjectItemCaseSensitive(json, "device_info");
    *header = (struct bl_header){.format = 1};
    if (bl_json_get(json, "format") > 0) header->format = bl_json_get(json, "format");
    copy(header->kind, sizeof header->kind, bl_json_text(json, "kind"));
    copy(header->date, sizeof header->date, bl_json_text(json, "date"));
    copy(header->version, sizeof header->version,
         cJSON_IsString(blanch) ? blanch->valuestring : bl_json_text(blanch, "version"));
    copy(header->commit, sizeof header->commit, bl_json_text(blanch, "commit"));
    read_host(cJSON_GetObjectItemCaseSensitive(json, "host"), &header->host);
    if (!cJSON_IsObject(device)) copy(header->device.name, sizeof header->device.name, bl_json_text(json, "device"));
    if (!cJSON_IsObject(device)) device = info;
    if (!cJSON_IsObject(device)) return;
    struct bl_device_facts *facts = &header->device;
    copy(facts->platform, sizeof facts->platform, bl_json_text(device, "platform"));
    copy(facts->name, sizeof facts->name, bl_json_text(device, "name"));
    copy(facts->driver, sizeof facts->driver, bl_json_text(device, "driver"));
    copy(facts->version, sizeof facts->version, bl_json_text(device, "version"));
    copy(facts->kind, sizeof facts->kind, bl_json_text(device, "kind"));
    facts->compute_units = known(device, "compute_units");
    facts->memory = known(device, "memory");
}
