/* Uploads that go on while the queue computes: into a stage's memory on a queue of their own, and from there in queue
 * order by a copy within the device. */
#include "cl/internal.h"
#include <stdlib.h>

struct bl_stage {
    struct blanch_device *dev;
    struct bl_mem *mem;
    struct bl_event *copied; // by the last upload, after which the memory is free
};

int bl_stage_create(struct blanch_device *dev, size_t bytes, struct bl_stage **out) {
    *out = NULL;
    if (dev->info.unified_memory) return 0;
    struct bl_stage *stage = bl_calloc(1, sizeof *stage);
    if (!stage) return BLANCH_ENOMEM;
    stage->dev = dev;
    int code = bl_mem_alloc(dev, bytes, &stage->mem);
    if (!code && !dev->uploads) code = bl_queue_open(dev, 0, &dev->uploads);
    if (code)
        bl_stage_free(stage);
    else
        *out = stage;
    return code == BLANCH_ELIMIT ? 0 : code;
}

void bl_stage_free(struct bl_stage *stage) {
    if (!stage) return;
    bl_event_drop(&stage->copied);
    bl_mem_free(stage->mem);
    free(stage);
}

static int upload_in_order(struct blanch_device *dev, const struct bl_upload *uploads, int count,
                           struct bl_event **event) {
    int code = 0;
    for (int i = 0; i < count && !code; i++)
        code = bl_mem_write_later(uploads[i].to, 0, uploads[i].bytes, uploads[i].from, event);
    return code;
}

static size_t place_after(const struct blanch_device *dev, const struct bl_upload *upload, size_t at) {
    const size_t align = bl_mem_align(dev);
    return (at + upload->bytes + align - 1) / align * align;
}

/* To the stage, once what was uploaded before has left it. */
static int write_all(struct bl_stage *stage, const struct bl_upload *uploads, int count, struct bl_event **event) {
    struct blanch_device *dev = stage->dev;
    const cl_event *copied = stage->copied ? (const cl_event *)&stage->copied : NULL;
    size_t at = 0;
    int code = copied ? bl_flush(dev) : 0; // what one queue waits for, the other must have begun
    for (int i = 0; i < count && !code; i++) {
        cl_event raw = NULL;
        if (at > bl_mem_size(stage->mem) || uploads[i].bytes > bl_mem_size(stage->mem) - at)
            return bl_fail(BLANCH_ELIMIT, "an upload beyond the %zu bytes of its stage", bl_mem_size(stage->mem));
        cl_int error = clEnqueueWriteBuffer(dev->uploads, bl_raw_mem(stage->mem), CL_FALSE, at, uploads[i].bytes,
                                            uploads[i].from, copied ? 1 : 0, copied, &raw);
        code = bl_transferred(dev, error, raw, "write", uploads[i].bytes, event);
        at = place_after(dev, &uploads[i], at);
    }
    cl_int error = code ? CL_SUCCESS : clFlush(dev->uploads);
    return error ? bl_cl_fail(error, "flushing the uploads of %s", dev->info.name) : code;
}

static int copy_all(struct bl_stage *stage, const struct bl_upload *uploads, int count, const cl_event *written) {
    struct blanch_device *dev = stage->dev;
    size_t at = 0;
    int code = 0;
    for (int i = 0; i < count && !code; i++) {
        cl_event raw = NULL;
        cl_int error = clEnqueueCopyBuffer(dev->queue, bl_raw_mem(stage->mem), bl_raw_mem(uploads[i].to), at, 0,
                                           uploads[i].bytes, i ? 0 : 1, i ? NULL : written, &raw);
        code = bl_transferred(dev, error, raw, "copy", uploads[i].bytes, &stage->copied);
        at = place_after(dev, &uploads[i], at);
    }
    return code;
}

int bl_stage_upload(struct bl_stage *stage, struct blanch_device *dev, const struct bl_upload *uploads, int count,
                    struct bl_event **event) {
    if (!stage || dev->recording || dev->dry) return upload_in_order(dev, uploads, count, event);
    for (int i = 0; i < count; i++)
        if (uploads[i].bytes > bl_mem_size(uploads[i].to))
            return bl_fail(BLANCH_ELIMIT, "an upload of %zu bytes to a buffer of %zu", uploads[i].bytes,
                           bl_mem_size(uploads[i].to));
    int code = write_all(stage, uploads, count, event);
    return code ? code : copy_all(stage, uploads, count, (const cl_event *)event);
}
