/* Inputs of targets that read safetensors files. */
#ifndef BL_FUZZ_SAFETENSORS_H
#define BL_FUZZ_SAFETENSORS_H

#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

/* A header and the data, with a zero byte between them: the length before them is set here, for hardly any that a
 * fuzzer changed would be right. malloc'd. */
static inline uint8_t *safetensors_bytes(struct part input, size_t *size) {
    struct part header = next_part(&input);
    const uint64_t length = header.size;
    *size = 8 + header.size + input.size;
    uint8_t *bytes = malloc(*size);
    if (!bytes) abort();
    memcpy(bytes, &length, 8);
    if (header.size) memcpy(bytes + 8, header.data, header.size);
    if (input.size) memcpy(bytes + 8 + header.size, input.data, input.size);
    return bytes;
}

#endif
