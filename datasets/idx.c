/* IDX files, gzip or plain: MNIST and its descendants. Big-endian: magic (0, 0, 8 = bytes, dimensions), the dimensions,
 * the bytes. */
#include "internal.h"
#include "base/path.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CLASSES 10
#define MAX_SIZE 4096

static int inflate_all(const char *path, const uint8_t *packed, size_t packed_size, uint8_t **bytes, size_t *size) {
    z_stream stream = {.next_in = (Bytef *)packed, .avail_in = (uInt)packed_size};
    size_t capacity = packed_size * 4 + 1024;
    uint8_t *out = bl_malloc(capacity);
    int status = out && packed_size < UINT32_MAX ? inflateInit2(&stream, 31) : Z_MEM_ERROR;
    while (status == Z_OK) {
        if (stream.total_out == capacity) {
            uint8_t *larger = bl_realloc(out, capacity *= 2);
            if (!larger) {
                status = Z_MEM_ERROR;
                break;
            }
            out = larger;
        }
        size_t room = capacity - stream.total_out;
        stream.next_out = out + stream.total_out;
        stream.avail_out = room < (1u << 30) ? (uInt)room : 1u << 30;
        status = inflate(&stream, Z_NO_FLUSH);
    }
    inflateEnd(&stream);
    if (status == Z_STREAM_END && !stream.avail_in) {
        *bytes = out;
        *size = stream.total_out;
        return 0;
    }
    free(out);
    if (status == Z_MEM_ERROR) return bl_fail(BLANCH_ENOMEM, "%s: out of memory", path);
    return bl_fail(BLANCH_EINPUT, "%s: the gzip file is %s", path, status == Z_BUF_ERROR ? "cut off" : "damaged");
}

static int read_unpacked(const char *path, uint8_t **bytes, size_t *size) {
    uint8_t *raw;
    int code = bl_data_read(path, &raw, size);
    if (code) return code;
    if (*size < 2 || raw[0] != 0x1f || raw[1] != 0x8b) {
        *bytes = raw;
        return 0;
    }
    code = inflate_all(path, raw, *size, bytes, size);
    free(raw);
    return code;
}

/* The names in use: with a dash as published, with a dot as some copies have it. */
static int find_file(const char *folder, const char *prefix, const char *what, int dimensions, char **path) {
    static const char *const patterns[] = {"%s/%s-%s-idx%d-ubyte.gz", "%s/%s-%s-idx%d-ubyte", "%s/%s-%s.idx%d-ubyte.gz",
                                           "%s/%s-%s.idx%d-ubyte"};
    for (int i = 0; i < BL_COUNT(patterns); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        *path = bl_format(patterns[i], folder, prefix, what, dimensions);
#pragma GCC diagnostic pop
        if (!*path) return BLANCH_ENOMEM;
        if (bl_data_exists(*path)) return 0;
        free(*path);
    }
    *path = NULL;
    return bl_fail(BLANCH_EINPUT, "%s: there is no %s-%s-idx%d-ubyte or %s-%s-idx%d-ubyte.gz", folder, prefix, what,
                   dimensions, prefix, what, dimensions);
}

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

struct idx { // a file as read
    char *path;
    uint8_t *bytes;
    const uint8_t *values; // after the header
    uint32_t dims[3];
};

/* Also after a failure, free_idx releases what there is. */
static int read_idx(struct idx *file, const char *folder, const char *prefix, const char *what, int dimensions) {
    size_t size, header = 4 + 4 * (size_t)dimensions, expected = 1;
    *file = (struct idx){0};
    int code = find_file(folder, prefix, what, dimensions, &file->path);
    if (!code) code = read_unpacked(file->path, &file->bytes, &size);
    if (code) return code;
    if (size < header || big_endian(file->bytes) != 0x800u + (unsigned)dimensions)
        return bl_fail(BLANCH_EINPUT, "%s: not an IDX file of bytes with %d dimension%s", file->path, dimensions,
                       dimensions > 1 ? "s" : "");
    file->values = file->bytes + header;
    bool fits = true;
    for (int i = 0; i < dimensions; i++) {
        file->dims[i] = big_endian(file->bytes + 4 + 4 * i);
        fits = fits && !__builtin_mul_overflow(expected, (size_t)file->dims[i], &expected);
    }
    if (!fits || size - header != expected)
        return bl_fail(BLANCH_EINPUT, "%s: has %zu bytes of data where its header announces %zu", file->path,
                       size - header, expected);
    return 0;
}

static void free_idx(struct idx *file) {
    free(file->path);
    free(file->bytes);
}

static int take_images(struct bl_dataset *data, enum bl_split split, const struct idx *file) {
    struct bl_images *images = &data->split[split];
    const uint32_t count = file->dims[0], height = file->dims[1], width = file->dims[2];
    if (!count) return bl_fail(BLANCH_EINPUT, "%s: holds no images", file->path);
    if (!height || height > MAX_SIZE || !width || width > MAX_SIZE)
        return bl_fail(BLANCH_EINPUT, "%s: images are %u x %u; up to %d a side are read", file->path, height, width,
                       MAX_SIZE);
    if (data->height && (data->height != (int)height || data->width != (int)width))
        return bl_fail(BLANCH_EINPUT, "%s: images are %u x %u, the training images %d x %d", file->path, height, width,
                       data->height, data->width);
    data->height = (int)height;
    data->width = (int)width;
    size_t bytes = (size_t)count * height * width;
    images->pixels = bl_malloc(bytes);
    if (!images->pixels) return bl_fail(BLANCH_ENOMEM, "%s: out of memory", file->path);
    memcpy(images->pixels, file->values, bytes);
    images->count = count;
    return 0;
}

static int take_labels(struct bl_dataset *data, enum bl_split split, const struct idx *file) {
    struct bl_images *images = &data->split[split];
    if (file->dims[0] != images->count)
        return bl_fail(BLANCH_EINPUT, "%s: has %u labels for %u images", file->path, file->dims[0], images->count);
    images->labels = bl_calloc(images->count, sizeof *images->labels);
    if (!images->labels) return BLANCH_ENOMEM;
    for (uint32_t i = 0; i < images->count; i++) {
        images->labels[i] = file->values[i];
        if (images->labels[i] >= CLASSES)
            return bl_fail(BLANCH_EINPUT, "%s: image %u has label %d, which is not in 0..%d", file->path, i,
                           images->labels[i], CLASSES - 1);
    }
    return 0;
}

static int load_split(struct bl_dataset *data, enum bl_split split, const char *folder) {
    const char *prefix = split == BL_TRAIN ? "train" : "t10k";
    struct idx images, labels = {0};
    int code = read_idx(&images, folder, prefix, "images", 3);
    if (!code) code = take_images(data, split, &images);
    if (!code) code = read_idx(&labels, folder, prefix, "labels", 1);
    if (!code) code = take_labels(data, split, &labels);
    free_idx(&images);
    free_idx(&labels);
    return code;
}

static int open_folder(struct bl_dataset *data, const char *folder, const char *const *names) {
    if (!bl_data_exists(folder)) return bl_fail(BLANCH_EINPUT, "%s: there is no such folder", folder);
    data->classes = CLASSES;
    data->channels = 1;
    data->folder = bl_strdup(folder);
    int code = data->folder ? bl_dataset_names(data, names) : BLANCH_ENOMEM;
    if (!code) code = load_split(data, BL_TRAIN, folder);
    return code ? code : load_split(data, BL_TEST, folder);
}

static int open_mnist(struct bl_dataset *data, const char *argument, uint64_t seed) {
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    return open_folder(data, argument, names);
}

/* Where Debian's package puts the files, or else the user's own folder. */
static char *default_folder(void) {
    static const char system_folder[] = "/usr/share/datasets/fashion-mnist";
    if (bl_data_exists(system_folder)) return bl_strdup(system_folder);
    char *home = bl_data_home(), *own = home ? bl_format("%s/blanch/fashion-mnist", home) : NULL;
    free(home);
    return own;
}

static int open_fashion(struct bl_dataset *data, const char *argument, uint64_t seed) {
    static const char *const names[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                        "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
    char *folder = argument ? bl_strdup(argument) : default_folder();
    int code = folder ? 0 : bl_memory_lacked();
    if (code || !folder) return code ? code : bl_fail_in(BLANCH_EINPUT, "fashion-mnist");
    if (!argument && !bl_data_exists(folder))
        code = bl_fail(BLANCH_EINPUT,
                       "fashion-mnist is neither in /usr/share/datasets/fashion-mnist nor in %s: install Debian's "
                       "dataset-fashion-mnist or give fashion-mnist:DIR",
                       folder);
    else
        code = open_folder(data, folder, names);
    free(folder);
    return code;
}

const struct bl_format bl_format_fashion_mnist = {
    .name = "fashion-mnist",
    .help = "fashion-mnist[:DIR]",
    .optional = true,
    .augment = BL_AUGMENT_NONE,
    .mean = {0.2860f, 0.2860f, 0.2860f},
    .deviation = {0.3530f, 0.3530f, 0.3530f},
    .open = open_fashion,
};

const struct bl_format bl_format_mnist = {
    .name = "mnist",
    .help = "mnist:DIR",
    .augment = BL_AUGMENT_NONE,
    .mean = {0.1307f, 0.1307f, 0.1307f},
    .deviation = {0.3081f, 0.3081f, 0.3081f},
    .open = open_mnist,
};
