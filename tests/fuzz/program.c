/* An entry of the cache of programs: what goes to the driver is the whole body of one that is this key's and this
 * user's, or nothing. */
#include "fuzz.h"
#include "cl/entry.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t body = 0;
    const unsigned char *at = bl_entry_body((const char *)data, size, "key", &body);
    if (at && (at < data || at + body + 3 != data + size)) abort();
    if (at) expect_read(0);
    return 0;
}
