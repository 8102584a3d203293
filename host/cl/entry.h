/* Entries of the cache of compiled programs. A program is native code: an entry is loaded where it is this user's,
 * whole and made of the very text, options, device, driver and platform that are asked for, all of which it holds. */
#ifndef BL_ENTRY_H
#define BL_ENTRY_H

#include "base/cache.h"

void bl_entry_write(const struct bl_cache *cache, const char *name, const char *key, const void *body, size_t size);
/* The program's bytes within an entry's; NULL: it is not to be loaded. */
const unsigned char *bl_entry_body(const char *data, size_t size, const char *key, size_t *body_size);

#endif
