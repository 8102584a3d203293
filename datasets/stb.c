/* stb_image, compiled once and kept inside this file, so that a program may carry its own copy. */
#include "internal.h"

#include <limits.h>
#include <stdlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wmisleading-indentation"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS 65536
#define STBI_MALLOC(size) bl_malloc(size)
#define STBI_REALLOC(data, size) bl_realloc(data, size)
#define STBI_FREE(data) free(data)
#include <stb_image.h>
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wunused-function" // judged at the end of the file, for stb_image's sake

/* What a decoder may be asked to hold: a small file can claim any size. */
#define MAX_PIXELS (1ll << 28)

bool bl_stb_size(const uint8_t *bytes, size_t size, int *width, int *height, const char **reason) {
    int channels;
    if (size > INT_MAX) {
        *reason = "the file is too large";
    } else if (!stbi_info_from_memory(bytes, (int)size, width, height, &channels)) {
        *reason = stbi_failure_reason();
    } else if ((long long)*width * *height > MAX_PIXELS) {
        *reason = "the image is too large";
    } else {
        return true;
    }
    return false;
}

uint8_t *bl_stb_decode(const uint8_t *bytes, size_t size, int *width, int *height, const char **reason) {
    int channels;
    if (!bl_stb_size(bytes, size, width, height, reason)) return NULL;
    uint8_t *pixels = stbi_load_from_memory(bytes, (int)size, width, height, &channels, 3);
    if (!pixels) *reason = stbi_failure_reason();
    return pixels;
}
