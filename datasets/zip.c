/* Zip archives (APPNOTE 6.3), as far as NumPy writes them. */
#include "zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { END = 22, ENTRY = 46, LOCAL = 30, MOST_COMMENT = 65535, MOST_RATIO = 1032 }; // of deflate

static uint32_t word(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t half(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static int damaged(const struct bl_zip *zip) {
    return bl_fail(BLANCH_EINPUT, "%s: the zip archive is damaged or cut off", zip->path);
}

int bl_zip_open(struct bl_zip *zip, const char *path, const uint8_t *bytes, size_t size) {
    *zip = (struct bl_zip){.path = path, .bytes = bytes, .size = size};
    if (size < END || memcmp(bytes, "PK", 2)) return bl_fail(BLANCH_EINPUT, "%s: it is no zip archive", path);
    size_t at = size - END;
    for (const size_t least = at > MOST_COMMENT ? at - MOST_COMMENT : 0; memcmp(bytes + at, "PK\5\6", 4); at--)
        if (at == least) return damaged(zip);
    zip->entries = half(bytes + at + 10);
    const size_t length = word(bytes + at + 12);
    zip->directory = word(bytes + at + 16);
    if (zip->entries == 0xffff || zip->directory == 0xffffffff)
        return bl_fail(BLANCH_EINPUT, "%s: a zip archive of more than 4 GiB or 65534 members", path);
    if (zip->directory > at || length > at - zip->directory) return damaged(zip);
    zip->directory_end = zip->directory + length;
    return 0;
}

/* The data lie behind a header of their own, whose lengths alone count. */
static int locate(const struct bl_zip *zip, size_t local, struct bl_zip_member *member) {
    if (local > zip->size || zip->size - local < LOCAL || memcmp(zip->bytes + local, "PK\3\4", 4)) return damaged(zip);
    const size_t skip = LOCAL + half(zip->bytes + local + 26) + half(zip->bytes + local + 28);
    if (skip > zip->size - local || member->packed_size > zip->size - local - skip) return damaged(zip);
    member->packed = zip->bytes + local + skip;
    return 0;
}

static int take(const struct bl_zip *zip, const uint8_t *entry, const char *name, struct bl_zip_member *member) {
    const uint32_t method = half(entry + 10);
    *member = (struct bl_zip_member){
        .crc = word(entry + 16), .packed_size = word(entry + 20), .size = word(entry + 24), .deflated = method == 8};
    if (half(entry + 8) & 1) return bl_fail(BLANCH_EINPUT, "%s: %s is encrypted", zip->path, name);
    if (method && method != 8) return bl_fail(BLANCH_EINPUT, "%s: %s is packed by method %u", zip->path, name, method);
    if (member->packed_size == 0xffffffff || member->size == 0xffffffff)
        return bl_fail(BLANCH_EINPUT, "%s: %s is larger than 4 GiB", zip->path, name);
    if (member->deflated ? member->size / MOST_RATIO > member->packed_size : member->size != member->packed_size)
        return damaged(zip);
    return locate(zip, word(entry + 42), member);
}

int bl_zip_find(const struct bl_zip *zip, const char *name, struct bl_zip_member *member) {
    const size_t wanted = strlen(name);
    size_t at = zip->directory;
    for (uint32_t i = 0; i < zip->entries; i++) {
        const uint8_t *entry = zip->bytes + at;
        if (zip->directory_end - at < ENTRY || memcmp(entry, "PK\1\2", 4)) return damaged(zip);
        const size_t length = half(entry + 28), whole = ENTRY + length + half(entry + 30) + half(entry + 32);
        if (whole > zip->directory_end - at) return damaged(zip);
        if (length == wanted && !memcmp(entry + ENTRY, name, wanted)) return take(zip, entry, name, member);
        at += whole;
    }
    return 1;
}

static bool unpack(const struct bl_zip_member *member, uint8_t *bytes) {
    z_stream stream = {.next_in = (Bytef *)member->packed,
                       .avail_in = (uInt)member->packed_size,
                       .next_out = bytes,
                       .avail_out = (uInt)member->size};
    if (inflateInit2(&stream, -15) != Z_OK) return false;
    const int status = inflate(&stream, Z_FINISH);
    const bool whole = status == Z_STREAM_END && stream.total_out == member->size;
    inflateEnd(&stream);
    return whole;
}

int bl_zip_read(const struct bl_zip *zip, const struct bl_zip_member *member, uint8_t **bytes) {
    if (!(*bytes = bl_malloc(member->size + 1))) return bl_fail(BLANCH_ENOMEM, "%s: out of memory", zip->path);
    bool good = true;
    if (member->deflated)
        good = unpack(member, *bytes);
    else
        memcpy(*bytes, member->packed, member->size);
    if (good && (uint32_t)crc32(crc32(0, NULL, 0), *bytes, (uInt)member->size) == member->crc) return 0;
    free(*bytes);
    *bytes = NULL;
    return damaged(zip);
}
