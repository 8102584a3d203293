/* Contexts, queues, buffers, and the commands that move bytes. */
#include "recorder.h"
#include <stdlib.h>
#include <string.h>

static cl_int give(cl_int *to, cl_int code) {
    if (to) *to = code;
    return code;
}

/* --- contexts and queues ------------------------------------------------------------------------- */

cl_context recorder_clCreateContext(const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
                                    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user,
                                    cl_int *error) {
    if (count != 1) {
        give(error, recorder_refuse(CL_INVALID_VALUE, "a context of %u devices, where the recorder takes one", count));
        return NULL;
    }
    cl_context context = recorder_new(sizeof *context);
    context->references = 1, context->device = devices[0];
    give(error, CL_SUCCESS);
    return context;
}

cl_int recorder_clRetainContext(cl_context context) {
    context->references++;
    return CL_SUCCESS;
}

cl_int recorder_clReleaseContext(cl_context context) {
    if (!--context->references) free(context);
    return CL_SUCCESS;
}

cl_int recorder_clGetContextInfo(cl_context context, cl_context_info what, size_t size, void *value, size_t *size_ret) {
    if (what == CL_CONTEXT_NUM_DEVICES) ANSWER(cl_uint, 1);
    if (what == CL_CONTEXT_DEVICES) ANSWER(cl_device_id, context->device);
    return CL_INVALID_VALUE;
}

cl_command_queue recorder_clCreateCommandQueue(cl_context context, cl_device_id device,
                                               cl_command_queue_properties properties, cl_int *error) {
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) {
        give(error, CL_INVALID_QUEUE_PROPERTIES);
        return NULL;
    }
    cl_command_queue queue = recorder_new(sizeof *queue);
    static int count;
    queue->references = 1, queue->id = count++, queue->context = context, queue->properties = properties;
    context->references++;
    recorder_note("{\"op\": \"queue\", \"device\": %d, \"queue\": %d, \"times\": %d}", device->index, queue->id,
                  properties & CL_QUEUE_PROFILING_ENABLE ? 1 : 0);
    give(error, CL_SUCCESS);
    return queue;
}

cl_int recorder_clRetainCommandQueue(cl_command_queue queue) {
    queue->references++;
    return CL_SUCCESS;
}

cl_int recorder_clReleaseCommandQueue(cl_command_queue queue) {
    if (--queue->references) return CL_SUCCESS;
    recorder_clReleaseContext(queue->context);
    free(queue);
    return CL_SUCCESS;
}

cl_int recorder_clGetCommandQueueInfo(cl_command_queue queue, cl_command_queue_info what, size_t size, void *value,
                                      size_t *size_ret) {
    if (what == CL_QUEUE_CONTEXT) ANSWER(cl_context, queue->context);
    if (what == CL_QUEUE_DEVICE) ANSWER(cl_device_id, queue->context->device);
    if (what == CL_QUEUE_PROPERTIES) ANSWER(cl_command_queue_properties, queue->properties);
    return CL_INVALID_VALUE;
}

/* --- buffers ------------------------------------------------------------------------------------- */

static cl_mem new_mem(cl_context context, cl_mem parent, size_t size) {
    static int count;
    cl_mem mem = recorder_new(sizeof *mem);
    mem->references = 1, mem->id = count++;
    mem->context = context, mem->parent = parent, mem->size = size;
    if (parent)
        parent->references++;
    else
        context->references++, context->used += size;
    return mem;
}

cl_mem recorder_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error) {
    cl_device_id d = context->device;
    cl_int code = CL_SUCCESS;
    if (!size || size > recorder_number(d, "max_alloc"))
        code = recorder_refuse(CL_INVALID_BUFFER_SIZE, "a buffer of %zu bytes", size);
    else if (context->used + size > recorder_number(d, "memory"))
        code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    if (give(error, code)) return NULL;
    cl_mem mem = new_mem(context, NULL, size);
    recorder_note("{\"op\": \"buffer\", \"device\": %d, \"id\": %d, \"bytes\": %zu}", d->index, mem->id, size);
    return mem;
}

cl_mem recorder_clCreateSubBuffer(cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type, const void *info,
                                  cl_int *error) {
    const cl_buffer_region *region = info;
    size_t align = recorder_number(parent->context->device, "align_bits") / 8;
    cl_int code = CL_SUCCESS;
    if (parent->parent)
        code = recorder_refuse(CL_INVALID_MEM_OBJECT, "a part of a part");
    else if (!region->size || region->origin > parent->size || region->size > parent->size - region->origin)
        code = recorder_refuse(CL_INVALID_VALUE, "a part of %zu bytes at %zu of a buffer of %zu", region->size,
                               region->origin, parent->size);
    else if (align && region->origin % align)
        code = recorder_refuse(CL_MISALIGNED_SUB_BUFFER_OFFSET, "a part at %zu, where the device aligns to %zu",
                               region->origin, align);
    return give(error, code) ? NULL : new_mem(parent->context, parent, region->size);
}

cl_int recorder_clRetainMemObject(cl_mem mem) {
    mem->references++;
    return CL_SUCCESS;
}

cl_int recorder_clReleaseMemObject(cl_mem mem) {
    if (--mem->references) return CL_SUCCESS;
    if (mem->parent) {
        recorder_clReleaseMemObject(mem->parent);
    } else {
        mem->context->used -= mem->size;
        recorder_note("{\"op\": \"release\", \"id\": %d}", mem->id);
        recorder_clReleaseContext(mem->context);
    }
    free(mem->host);
    free(mem);
    return CL_SUCCESS;
}

cl_int recorder_clGetMemObjectInfo(cl_mem mem, cl_mem_info what, size_t size, void *value, size_t *size_ret) {
    if (what == CL_MEM_SIZE) ANSWER(size_t, mem->size);
    if (what == CL_MEM_CONTEXT) ANSWER(cl_context, mem->context);
    return CL_INVALID_VALUE;
}

/* --- commands ------------------------------------------------------------------------------------ */

static cl_int check(cl_mem mem, size_t offset, size_t size, const char *what) {
    if (mem->mapped) return recorder_refuse(CL_INVALID_OPERATION, "%s of a buffer that is mapped", what);
    if (size && offset <= mem->size && size <= mem->size - offset) return CL_SUCCESS;
    return recorder_refuse(CL_INVALID_VALUE, "%s of %zu bytes at %zu of a buffer of %zu", what, size, offset,
                           mem->size);
}

/* waits: the command of the first event that it waits for; -1: it waits for none. */
static void note_bytes(cl_command_queue queue, const char *what, size_t size, cl_bool blocking, const cl_event *list,
                       cl_event *event) {
    recorder_note("{\"op\": %q, \"command\": %lld, \"device\": %d, \"queue\": %d, \"bytes\": %zu, "
                  "\"blocking\": %d, \"waits\": %lld}",
                  what, recorder_command(queue, event), queue->context->device->index, queue->id, size, (int)blocking,
                  list ? (*list)->command : -1LL);
}

cl_int recorder_clEnqueueReadBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t size,
                                    void *to, cl_uint count, const cl_event *list, cl_event *event) {
    cl_int code = check(mem, offset, size, "a read");
    if (code) return code;
    memset(to, 0, size);
    note_bytes(queue, "read", size, blocking, list, event);
    return CL_SUCCESS;
}

cl_int recorder_clEnqueueWriteBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset, size_t size,
                                     const void *from, cl_uint count, const cl_event *list, cl_event *event) {
    cl_int code = check(mem, offset, size, "a write");
    if (!code) note_bytes(queue, "write", size, blocking, list, event);
    return code;
}

cl_int recorder_clEnqueueFillBuffer(cl_command_queue queue, cl_mem mem, const void *pattern, size_t pattern_size,
                                    size_t offset, size_t size, cl_uint count, const cl_event *list, cl_event *event) {
    cl_int code = check(mem, offset, size, "a fill");
    if (!code && (!pattern_size || offset % pattern_size || size % pattern_size))
        code = recorder_refuse(CL_INVALID_VALUE, "a fill of %zu bytes at %zu by a pattern of %zu", size, offset,
                               pattern_size);
    if (!code) note_bytes(queue, "fill", size, CL_FALSE, list, event);
    return code;
}

cl_int recorder_clEnqueueCopyBuffer(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset,
                                    size_t to_offset, size_t size, cl_uint count, const cl_event *list,
                                    cl_event *event) {
    cl_int code = check(from, from_offset, size, "a copy");
    if (!code) code = check(to, to_offset, size, "a copy");
    if (!code) note_bytes(queue, "copy", size, CL_FALSE, list, event);
    return code;
}

static void note_map(cl_command_queue queue, cl_mem mem, const char *what, cl_bool blocking, cl_event *event) {
    recorder_note("{\"op\": %q, \"command\": %lld, \"device\": %d, \"queue\": %d, \"id\": %d, \"bytes\": %zu, "
                  "\"blocking\": %d}",
                  what, recorder_command(queue, event), queue->context->device->index, queue->id, mem->id, mem->size,
                  (int)blocking);
}

void *recorder_clEnqueueMapBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking, cl_map_flags flags,
                                  size_t offset, size_t size, cl_uint count, const cl_event *list, cl_event *event,
                                  cl_int *error) {
    if (!mem->host && !(mem->host = calloc(1, mem->size))) recorder_stop("out of memory");
    if (give(error, check(mem, offset, size, "a map"))) return NULL;
    mem->mapped = true;
    note_map(queue, mem, "map", blocking, event);
    return (char *)mem->host + offset;
}

cl_int recorder_clEnqueueUnmapMemObject(cl_command_queue queue, cl_mem mem, void *host, cl_uint count,
                                        const cl_event *list, cl_event *event) {
    if (!mem->mapped || host != mem->host) return recorder_refuse(CL_INVALID_VALUE, "unmapped what is not mapped");
    mem->mapped = false;
    note_map(queue, mem, "unmap", CL_FALSE, event);
    return CL_SUCCESS;
}

cl_int recorder_clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint count, const cl_event *list,
                                            cl_event *event) {
    recorder_note("{\"op\": \"marker\", \"command\": %lld, \"device\": %d}", recorder_command(queue, event),
                  queue->context->device->index);
    return CL_SUCCESS;
}

static cl_int note_queue(cl_command_queue queue, const char *what) {
    recorder_note("{\"op\": %q, \"device\": %d}", what, queue->context->device->index);
    return CL_SUCCESS;
}

cl_int recorder_clFlush(cl_command_queue queue) {
    return note_queue(queue, "flush");
}
cl_int recorder_clFinish(cl_command_queue queue) {
    return note_queue(queue, "finish");
}
