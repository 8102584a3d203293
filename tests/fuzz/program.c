/* An entry of the cache of programs: what goes to the driver is the whole rest of the file, or nothing. */
#include "fuzz.h"
#include "../../host/cl/program.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t read = 0, body = 0;
    memory_file("x.bin", data, size);
    char *entry = read_file(IN_MEMORY "/x.bin", &read);
    const unsigned char *at = entry ? entry_body(entry, read, &body) : NULL;
    if (at && (at < (unsigned char *)entry || at + body != (unsigned char *)entry + read)) abort();
    free(entry);
    return 0;
}
