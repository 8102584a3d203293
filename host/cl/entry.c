/* Entries of the cache of compiled programs: a header, the program, its key. */
#include "cl/entry.h"
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Drivers end the process on a damaged binary (PoCL asserts), so an entry says how long it is and what it hashes to. */
struct header {
    char magic[8];
    uint64_t size, hash; // of all that follows
    uint64_t user, key;  // who wrote it; the key's bytes
};
#define MAGIC "blanch2"
enum { BEFORE = offsetof(struct header, user) };

static uint64_t hash_of(const struct header *header, const void *body, size_t size, const char *key) {
    const uint64_t hash = bl_hash(BL_HASH_START, &header->user, sizeof *header - BEFORE);
    return bl_hash(bl_hash(hash, body, size), key, header->key);
}

void bl_entry_write(const struct bl_cache *cache, const char *name, const char *key, const void *body, size_t size) {
    struct header header = {.magic = MAGIC, .user = geteuid(), .key = strlen(key)};
    header.size = sizeof header - BEFORE + size + header.key;
    header.hash = hash_of(&header, body, size, key);
    const struct bl_part parts[] = {{&header, sizeof header}, {body, size}, {key, header.key}};
    bl_cache_write(cache, name, parts, BL_COUNT(parts));
}

const unsigned char *bl_entry_body(const char *data, size_t size, const char *key, size_t *body_size) {
    struct header header;
    const size_t length = strlen(key);
    if (size <= sizeof header + length) return NULL;
    memcpy(&header, data, sizeof header);
    const char *body = data + sizeof header;
    *body_size = size - sizeof header - length;
    bool ours = !memcmp(header.magic, MAGIC, sizeof header.magic) && header.user == geteuid() &&
                header.size == size - BEFORE && header.key == length && !memcmp(body + *body_size, key, length) &&
                header.hash == hash_of(&header, body, *body_size, key);
    return ours ? (const unsigned char *)body : NULL;
}
