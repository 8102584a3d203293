/* Device memory: buffers, parts of them, transfers. */
#include "cl/internal.h"
#include <stdlib.h>

struct bl_mem {
    struct blanch_device *dev;
    cl_mem raw;
    size_t size;
    cl_mem root;          // of a part: the buffer that it lies in, for OpenCL knows no part of a part
    size_t origin;        // bytes from the root's start
    struct bl_mem *whole; // the root's; NULL: itself
    void *host;           // of shared memory: where the host has it, NULL while the device has it
};

static int pass(struct blanch_device *dev, cl_int error, cl_event event, const char *what, size_t bytes) {
    if (error) return bl_cl_fail(error, "%s %zu bytes on %s", what, bytes, dev->info.name);
    bl_work(dev, 0, 0);
    return event ? bl_record_command(dev, what, event, bytes, false) : 0;
}

/* The event is its caller's, who releases it by bl_await; the record has a reference of its own. */
int bl_transferred(struct blanch_device *dev, cl_int error, cl_event event, const char *what, size_t bytes,
                   struct bl_event **wanted) {
    if (error) return pass(dev, error, NULL, what, bytes);
    bl_event_drop(wanted);
    *wanted = (struct bl_event *)event;
    if (!dev->recording) return 0;
    error = clRetainEvent(event);
    return pass(dev, error, error ? NULL : event, what, bytes);
}

/* Some drivers accept what they cannot give, so the limits are checked here. */
static int within_limits(const struct blanch_device *dev, size_t bytes) {
    const struct blanch_device_info *info = &dev->info;
    if (!bytes) return bl_fail(BLANCH_ELIMIT, "a buffer of no bytes on %s", info->name);
    if (bytes > info->max_alloc)
        return bl_fail(BLANCH_ELIMIT, "a buffer of %.1f MiB, where %s allows %.1f MiB", (double)bytes / 1048576,
                       info->name, (double)info->max_alloc / 1048576);
    if (dev->used + bytes > info->global_memory)
        return bl_fail(BLANCH_ELIMIT, "%.1f MiB more than the %.1f MiB in use, where %s has %.1f MiB",
                       (double)bytes / 1048576, (double)dev->used / 1048576, info->name,
                       (double)info->global_memory / 1048576);
    return 0;
}

/* NaN in every whole float; a tail shorter than one gets the bytes of one. */
static int poison(struct bl_mem *mem) {
    const float nan = __builtin_nanf("");
    size_t whole = mem->size / sizeof nan * sizeof nan, rest = mem->size - whole;
    int code = whole ? bl_mem_fill(mem, 0, whole, nan) : 0;
    return code || !rest ? code : bl_mem_write(mem, whole, rest, &nan);
}

static int allocate(struct blanch_device *dev, size_t bytes, cl_mem_flags where, struct bl_mem **out) {
    *out = NULL;
    int code = within_limits(dev, bytes);
    if (code) return code;
    struct bl_mem *mem = bl_calloc(1, sizeof *mem);
    if (!mem) return BLANCH_ENOMEM;
    cl_int error;
    *mem = (struct bl_mem){.dev = dev, .size = bytes};
    mem->raw = clCreateBuffer(dev->context, CL_MEM_READ_WRITE | where, bytes, NULL, &error);
    if (error) {
        free(mem);
        return bl_cl_fail(error, "a buffer of %zu bytes beside %llu in use on %s", bytes, (unsigned long long)dev->used,
                          dev->info.name);
    }
    dev->used += bytes;
    if (dev->used > dev->peak) dev->peak = dev->used;
    if (dev->poison && (code = poison(mem))) return bl_mem_free(mem), code;
    *out = mem;
    return 0;
}

int bl_mem_alloc(struct blanch_device *dev, size_t bytes, struct bl_mem **out) {
    return allocate(dev, bytes, 0, out);
}

int bl_mem_part(struct bl_mem *parent, size_t offset, size_t bytes, struct bl_mem **out) {
    *out = NULL;
    if (!bytes || offset > parent->size || bytes > parent->size - offset)
        return bl_fail(BLANCH_ELIMIT, "a part of %zu bytes at %zu of a buffer of %zu", bytes, offset, parent->size);
    struct bl_mem *mem = bl_calloc(1, sizeof *mem);
    if (!mem) return BLANCH_ENOMEM;
    cl_int error;
    *mem = (struct bl_mem){.dev = parent->dev,
                           .size = bytes,
                           .root = parent->root ? parent->root : parent->raw,
                           .origin = parent->origin + offset,
                           .whole = parent->whole ? parent->whole : parent};
    cl_buffer_region region = {mem->origin, bytes};
    mem->raw = clCreateSubBuffer(mem->root, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
    if (error) {
        free(mem);
        return bl_cl_fail(error, "a part of %zu bytes at %zu of a buffer of %zu", bytes, offset, parent->size);
    }
    *out = mem;
    return 0;
}

void bl_mem_free(struct bl_mem *mem) {
    if (!mem) return;
    if (mem->host)
        bl_cl_released(clEnqueueUnmapMemObject(mem->dev->queue, mem->raw, mem->host, 0, NULL, NULL),
                       "memory shared with the host");
    bl_cl_release(clReleaseMemObject, mem->raw, "a buffer");
    if (!mem->root) mem->dev->used -= mem->size;
    free(mem);
}

size_t bl_mem_size(const struct bl_mem *mem) {
    return mem->size;
}
struct bl_mem *bl_mem_whole(struct bl_mem *mem, size_t *origin) {
    *origin = mem->origin;
    return mem->whole ? mem->whole : mem;
}
size_t bl_mem_align(const struct blanch_device *dev) {
    return dev->info.base_align > 64 ? dev->info.base_align : 64;
}
uint64_t bl_mem_used(const struct blanch_device *dev) {
    return dev->used;
}
uint64_t bl_mem_peak(const struct blanch_device *dev) {
    return dev->peak;
}
cl_mem bl_raw_mem(const struct bl_mem *mem) {
    return mem->raw;
}

/* --- memory that is the host's and the device's in turn ---------------------------------------- */

static int map(struct bl_mem *mem, cl_bool wait) {
    cl_int error;
    mem->host = clEnqueueMapBuffer(mem->dev->queue, mem->raw, wait, CL_MAP_READ | CL_MAP_WRITE, 0, mem->size, 0, NULL,
                                   NULL, &error);
    if (!error) return 0;
    mem->host = NULL;
    return bl_cl_fail(error, "%zu bytes that %s shares with the host", mem->size, mem->dev->info.name);
}

int bl_mem_alloc_shared(struct blanch_device *dev, size_t bytes, struct bl_mem **out) {
    int code = allocate(dev, bytes, CL_MEM_ALLOC_HOST_PTR, out);
    if (code || !(code = map(*out, CL_TRUE))) return code;
    bl_mem_free(*out);
    *out = NULL;
    return code;
}

void *bl_mem_host(const struct bl_mem *mem) {
    return mem->host;
}

int bl_mem_to_device(struct bl_mem *mem) {
    cl_int error = clEnqueueUnmapMemObject(mem->dev->queue, mem->raw, mem->host, 0, NULL, NULL);
    mem->host = NULL;
    return error ? bl_cl_fail(error, "giving %zu bytes to %s", mem->size, mem->dev->info.name) : 0;
}

int bl_mem_to_host(struct bl_mem *mem) {
    return map(mem, CL_FALSE);
}

/* --- transfers ---------------------------------------------------------------------------------- */

static cl_event *event_of(struct blanch_device *dev, cl_event *event) {
    *event = NULL;
    return dev->recording ? event : NULL;
}

/* Some drivers do not look where a command in a part of a buffer ends. */
static int within(const struct bl_mem *mem, size_t offset, size_t bytes, const char *what) {
    if (offset <= mem->size && bytes <= mem->size - offset) return 0;
    return bl_fail(BLANCH_ELIMIT, "%s of %zu bytes at %zu of a buffer of %zu", what, bytes, offset, mem->size);
}

int bl_mem_write(struct bl_mem *mem, size_t offset, size_t bytes, const void *host) {
    int code = within(mem, offset, bytes, "a write");
    if (code || mem->dev->dry) return code;
    cl_event event, *want = event_of(mem->dev, &event);
    cl_int error = clEnqueueWriteBuffer(mem->dev->queue, mem->raw, CL_TRUE, offset, bytes, host, 0, NULL, want);
    return pass(mem->dev, error, event, "write", bytes);
}

int bl_mem_read(struct bl_mem *mem, size_t offset, size_t bytes, void *host) {
    int code = within(mem, offset, bytes, "a read");
    if (code) return code;
    cl_event event, *want = event_of(mem->dev, &event);
    cl_int error = clEnqueueReadBuffer(mem->dev->queue, mem->raw, CL_TRUE, offset, bytes, host, 0, NULL, want);
    return pass(mem->dev, error, event, "read", bytes);
}

int bl_mem_map(struct bl_mem *mem, size_t offset, size_t bytes, bool wait, void **at) {
    int code = within(mem, offset, bytes, "a map");
    if (code) return code;
    cl_int error;
    cl_event event, *want = event_of(mem->dev, &event);
    *at = clEnqueueMapBuffer(mem->dev->queue, mem->raw, wait, CL_MAP_READ | CL_MAP_WRITE, offset, bytes, 0, NULL, want,
                             &error);
    return pass(mem->dev, error, event, "map", bytes);
}

int bl_mem_unmap(struct bl_mem *mem, void *at) {
    cl_event event, *want = event_of(mem->dev, &event);
    cl_int error = clEnqueueUnmapMemObject(mem->dev->queue, mem->raw, at, 0, NULL, want);
    return pass(mem->dev, error, event, "unmap", 0);
}

int bl_mem_write_later(struct bl_mem *mem, size_t offset, size_t bytes, const void *host, struct bl_event **event) {
    cl_event raw = NULL;
    int code = within(mem, offset, bytes, "a write");
    if (code || mem->dev->dry) return code;
    cl_int error = clEnqueueWriteBuffer(mem->dev->queue, mem->raw, CL_FALSE, offset, bytes, host, 0, NULL, &raw);
    return bl_transferred(mem->dev, error, raw, "write", bytes, event);
}

int bl_mem_read_later(struct bl_mem *mem, size_t offset, size_t bytes, void *host, struct bl_event **event) {
    cl_event raw = NULL;
    int code = within(mem, offset, bytes, "a read");
    if (code) return code;
    cl_int error = clEnqueueReadBuffer(mem->dev->queue, mem->raw, CL_FALSE, offset, bytes, host, 0, NULL, &raw);
    return bl_transferred(mem->dev, error, raw, "read", bytes, event);
}

void bl_event_drop(struct bl_event **event) {
    if (*event) bl_cl_release(clReleaseEvent, (cl_event)*event, "an event");
    *event = NULL;
}

int bl_await(struct blanch_device *dev, struct bl_event **const events[], int count) {
    cl_event list[BL_MOST_AWAITED];
    cl_uint there = 0;
    for (int i = 0; i < count; i++)
        if (*events[i]) list[there++] = (cl_event)*events[i];
    cl_int error = there ? clWaitForEvents(there, list) : CL_SUCCESS;
    for (int i = 0; i < count; i++) bl_event_drop(events[i]);
    return error ? bl_cl_fail(error, "waiting for %s", dev->info.name) : 0;
}

int bl_mem_fill(struct bl_mem *mem, size_t offset, size_t bytes, float value) {
    int code = within(mem, offset, bytes, "a fill");
    if (code || mem->dev->dry) return code;
    cl_event event, *want = event_of(mem->dev, &event);
    cl_int error = clEnqueueFillBuffer(mem->dev->queue, mem->raw, &value, sizeof value, offset, bytes, 0, NULL, want);
    return pass(mem->dev, error, event, "fill", bytes);
}

int bl_mem_copy(struct bl_mem *from, size_t from_offset, struct bl_mem *to, size_t to_offset, size_t bytes) {
    int code = within(from, from_offset, bytes, "a copy");
    if (!code) code = within(to, to_offset, bytes, "a copy");
    if (code || to->dev->dry) return code;
    cl_event event, *want = event_of(to->dev, &event);
    cl_int error =
        clEnqueueCopyBuffer(to->dev->queue, from->raw, to->raw, from_offset, to_offset, bytes, 0, NULL, want);
    return pass(to->dev, error, event, "copy", bytes);
}
