/* The safetensors format: u64 header length, JSON header, little-endian data. */
#ifndef BL_SAFETENSORS_H
#define BL_SAFETENSORS_H

#include "base/base.h"
#include "base/types.h"

struct bl_st_tensor {
    const char *name;
    enum bl_type dtype;
    int dims;
    int64_t shape[8];
    const void *data; // of an opened file: in its memory, owned by it; may be unaligned
    size_t bytes;
    const char *path; // of an opened file, for messages
};

struct bl_safetensors; // an opened file
/* Reads the whole file. Every offset, shape and dtype is checked, and that the tensors fill the data without gap or
 * overlap, as the format demands; errors name the file and the tensor (BLANCH_EINPUT). */
int bl_st_open(struct bl_safetensors **file, const char *path);
/* The same of what bl_file_read has read, which it takes over; path is what errors call it. */
int bl_st_take(struct bl_safetensors **file, const char *path, char *bytes, size_t size);
void bl_st_close(struct bl_safetensors *file);
int bl_st_count(const struct bl_safetensors *file);
const struct bl_st_tensor *bl_st_at(const struct bl_safetensors *file, int index);          // in the header's order
const struct bl_st_tensor *bl_st_find(const struct bl_safetensors *file, const char *name); // NULL: none
const char *bl_st_meta(const struct bl_safetensors *file, const char *key);                 // NULL: none
/* Copies as float (from any dtype) or int64 (from whole-number dtypes); count must match. BLANCH_EINPUT. */
int bl_st_floats(const struct bl_st_tensor *tensor, float *out, int64_t count);
int bl_st_int64s(const struct bl_st_tensor *tensor, int64_t *out, int64_t count);

/* As bl_replace: an existing file survives any failure (BLANCH_EIO). meta: key, value, ..., NULL; what wrote the file
 * follows them ("blanch.format", "blanch.version"). NULL: none. The header keeps the order given; data are laid out by
 * falling element size, so that all are aligned. */
int bl_st_write(const char *path, const struct bl_st_tensor *tensors, int count, const char *const *meta);

#endif
