/* Entries of the cache of compiled programs: a header, the program, its key. */
#include "cl/entry.h"
#include <string.h>
#include <unistd.h>

/* Drivers end the process on a damaged binary (PoCL asserts), so an entry says how long it is and what it hashes to. */
struct header {
    char magic[8];
    uint64_t user, body, key, hash; // who wrote it; bytes; of both
};
#define MAGIC "blanch2"

static uint64_t hash_of(const char *body, size_t size, const char *key) {
    return bl_hash(bl_hash(BL_HASH_START, body, size), key, strlen(key));
}

void bl_entry_write(const struct bl_cache *cache, const char *name, const char *key, const void *body, size_t size) {
    const struct header header = {MAGIC, geteuid(), size, strlen(key), hash_of(body, size, key)};
    const struct bl_part parts[] = {{&header, sizeof header}, {body, size}, {key, strlen(key)}};
    bl_cache_write(cache, name, parts, BL_COUNT(parts));
}

const unsigned char *bl_entry_body(const char *data, size_t size, const char *key, size_t *body_size) {
    struct header header;
    const size_t length = strlen(key);
    if (size < sizeof header + length) return NULL;
    memcpy(&header, data, sizeof header);
    const char *body = data + sizeof header;
    *body_size = size - sizeof header - length;
    bool ours = !memcmp(header.magic, MAGIC, sizeof header.magic) && header.user == geteuid() &&
                header.body == *body_size && header.key == length && !memcmp(body + *body_size, key, length) &&
                header.hash == hash_of(body, *body_size, key);
    return ours && *body_size ? (const unsigned char *)body : NULL;
}
