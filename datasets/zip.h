/* Members of a zip archive in memory, stored or deflated; nothing larger than 4 GiB. */
#ifndef BL_ZIP_H
#define BL_ZIP_H

#include "internal.h"

struct bl_zip {
    const char *path; // for messages
    const uint8_t *bytes;
    size_t size;
    size_t directory, directory_end;
    uint32_t entries;
};
struct bl_zip_member {
    const uint8_t *packed;
    size_t packed_size, size;
    bool deflated;
    uint32_t crc;
};
int bl_zip_open(struct bl_zip *zip, const char *path, const uint8_t *bytes, size_t size); // BLANCH_EINPUT
/* 1: there is none of that name. Every offset and size is checked. */
int bl_zip_find(const struct bl_zip *zip, const char *name, struct bl_zip_member *member);
int bl_zip_read(const struct bl_zip *zip, const struct bl_zip_member *member, uint8_t **bytes); // malloc'd

#endif
