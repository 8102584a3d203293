/* What every JSON document of Blanch starts with: which format it has, when it was written, by which version, on which
 * machine and device, and what was asked for. docs/reading.md lists the keys. */
#ifndef BL_DOCUMENT_H
#define BL_DOCUMENT_H

#include "base/base.h"
#include <cjson/cJSON.h>

/* "" and 0: unknown. */
struct bl_host {
    char cpu[128], os[128], kernel[128];
    double cores, memory; // bytes
};
struct bl_device_facts {
    char platform[128], name[256], driver[128], version[128], kind[16]; // kind: cpu, gpu, accelerator
    double compute_units, memory;                                       // bytes
};
struct bl_header {
    char kind[16];
    double format; // a number of its kind; 1: written before there was this block
    char date[32], version[32], commit[64];
    struct bl_host host;
    struct bl_device_facts device; // name "": the document is of no device
};

const struct bl_host *bl_host(void); // this machine
struct bl_device_facts bl_device_facts(const struct blanch_device_info *info);
/* All of both is equal: a name alone does not tell a machine's card from another machine's. A CPU's memory is left out,
 * for some runtimes give what is free of it at the moment. */
bool bl_same_device(const struct bl_device_facts *a, const struct bl_host *on, const struct bl_device_facts *b,
                    const struct bl_host *bon);

/* kind: one of those in document.c. */
struct bl_header bl_header_now(const char *kind, const struct blanch_device_info *device);
/* A new document; whoever calls adds the rest. device NULL: none. Takes settings over; NULL: none. NULL: no memory. */
cJSON *bl_document(const char *kind, const struct blanch_device_info *device, cJSON *settings);
cJSON *bl_header_json(const struct bl_header *header, cJSON *settings); // the same of a document that was read
cJSON *bl_device_json(const struct bl_device_facts *device);
/* BLANCH_EINPUT, naming path and who wrote it, where json is a document of a later format than this program knows, or
 * its format is no positive whole number. */
int bl_document_check(const cJSON *json, const char *path);
int bl_format_refuse(const char *path, double format, const char *version, int known); // says that; version NULL: none
/* What a document says of itself, also one of an older version; what it does not say is "" or 0. */
void bl_header_read(const cJSON *json, struct bl_header *header);

/* Reading: NAN where the key is missing, no number, or beyond 1e100, which is no quantity: sums and products of a few
 * are finite. "" where it is no text. */
double bl_json_value(const cJSON *item);
double bl_json_get(const cJSON *object, const char *key);
const char *bl_json_text(const cJSON *object, const char *key);

#endif
