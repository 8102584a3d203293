/* The launcher, and the record of when commands ran. */
#include "cl/internal.h"
#include "cl/program.h"
#include <stdio.h>
#include <stdlib.h>

/* --- launching -------------------------------------------------------------------------------- */

static cl_int set_arg(cl_kernel kernel, cl_uint index, const struct bl_arg *arg) {
    cl_mem mem;
    switch (arg->kind) {
    case BL_ARG_MEM:
        mem = arg->mem ? bl_raw_mem(arg->mem) : NULL;
        return clSetKernelArg(kernel, index, sizeof mem, &mem);
    case BL_ARG_I32:
        return clSetKernelArg(kernel, index, sizeof(cl_int), &arg->i32);
    case BL_ARG_I64:
        return clSetKernelArg(kernel, index, sizeof(cl_long), &arg->i64);
    case BL_ARG_F32:
        return clSetKernelArg(kernel, index, sizeof(cl_float), &arg->f32);
    case BL_ARG_STRUCT:
        return clSetKernelArg(kernel, index, arg->constants.size, arg->constants.at);
    default:
        return clSetKernelArg(kernel, index, arg->bytes, NULL);
    }
}

enum { GROUP = 64 }; // items of a group that nobody chose

/* Fills in what the caller left open: a power of two in the first dimension, within all limits, little wider than the
 * work; where that is short, the largest in the second that divides it. */
static void choose_sizes(const struct bl_kernel *k, struct bl_range *range) {
    const struct blanch_device_info *info = &k->dev->info;
    for (int i = 0; i < 3; i++)
        if (!range->global[i]) range->global[i] = 1;
    if (!range->local[0]) {
        size_t others = (range->local[1] ? range->local[1] : 1) * (range->local[2] ? range->local[2] : 1);
        size_t limit = k->work_group / others < GROUP ? k->work_group / others : GROUP, local = 1, second = 1;
        size_t most = limit < info->max_work_item[0] ? limit : info->max_work_item[0];
        while (local * 2 <= most && local < range->global[0]) local *= 2;
        most = limit / local < info->max_work_item[1] ? limit / local : info->max_work_item[1];
        while (second * 2 <= most && range->global[1] % (second * 2) == 0) second *= 2;
        range->local[0] = local;
        if (!range->local[1]) range->local[1] = second;
    }
    for (int i = 0; i < 3; i++) {
        if (!range->local[i]) range->local[i] = 1;
        range->global[i] = (range->global[i] + range->local[i] - 1) / range->local[i] * range->local[i];
    }
}

/* Some drivers end the process where the argument itself is too large, so the sum is checked before any is set. */
static int set_args(struct bl_kernel *k, const struct bl_arg *args, int count) {
    const struct blanch_device_info *info = &k->dev->info;
    uint64_t local = k->local_memory;
    if (count != k->args)
        return bl_fail(BLANCH_EDEVICE, "kernel %s takes %d arguments, %d are given", k->name, k->args, count);
    for (int i = 0; i < count; i++)
        if (args[i].kind == BL_ARG_LOCAL) local += args[i].bytes;
    if (local > info->local_memory)
        return bl_fail(BLANCH_ELIMIT, "kernel %s: %llu bytes of local memory, where %s has %llu", k->name,
                       (unsigned long long)local, info->name, (unsigned long long)info->local_memory);
    for (int i = 0; i < count; i++) {
        cl_int error = set_arg(k->raw, (cl_uint)i, &args[i]);
        if (error) return bl_cl_fail(error, "kernel %s, argument %d", k->name, i);
    }
    return 0;
}

static int check_sizes(const struct bl_kernel *k, const struct bl_range *range) {
    const struct blanch_device_info *info = &k->dev->info;
    const size_t *local = range->local, *most = info->max_work_item;
    if (local[0] <= most[0] && local[1] <= most[1] && local[2] <= most[2] &&
        local[0] * local[1] * local[2] <= k->work_group)
        return 0;
    return bl_fail(BLANCH_ELIMIT,
                   "kernel %s: a work-group of %zu x %zu x %zu, where %s allows %zu items, at most %zu x %zu x %zu",
                   k->name, local[0], local[1], local[2], info->name, k->work_group, most[0], most[1], most[2]);
}

static bool given_before(const struct bl_arg *args, int index) {
    for (int i = 0; i < index; i++)
        if (args[i].kind == BL_ARG_MEM && args[i].mem == args[index].mem) return true;
    return false;
}

/* Each buffer once. */
static uint64_t bytes_of(const struct bl_arg *args, int count) {
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        if (args[i].kind == BL_ARG_MEM && args[i].mem && !given_before(args, i)) bytes += bl_mem_size(args[i].mem);
    return bytes;
}

int bl_launch_args(struct bl_kernel *k, struct bl_range range, const struct bl_arg *args, int count) {
    struct blanch_device *dev = k->dev;
    choose_sizes(k, &range);
    int code = check_sizes(k, &range);
    if (code || (code = set_args(k, args, count))) return code;
    if (dev->dry) return 0;
    cl_event event = NULL;
    const size_t *global = range.global, *local = range.local;
    cl_int error =
        clEnqueueNDRangeKernel(dev->queue, k->raw, 3, NULL, global, local, 0, NULL, dev->recording ? &event : NULL);
    if (error)
        return bl_cl_fail(error, "kernel %s of %zu x %zu x %zu items in groups of %zu x %zu x %zu on %s", k->name,
                          global[0], global[1], global[2], local[0], local[1], local[2], dev->info.name);
    int counted = bl_count_launch(dev), recorded = 0;
    if (event) recorded = bl_record_command(dev, k->name, event, bytes_of(args, count), false);
    return counted ? counted : recorded;
}

void bl_dry(struct blanch_device *dev, bool on) {
    dev->dry = on;
}
bool bl_is_dry(const struct blanch_device *dev) {
    return dev->dry;
}

/* A driver that starts work only when told to would idle, one that collects without bound could be reset. */
int bl_count_launch(struct blanch_device *dev) {
    dev->launches++;
    return ++dev->unflushed < 32 ? 0 : bl_flush(dev);
}

double bl_device_seconds(const struct blanch_device *dev) {
    return bl_now() - dev->opened;
}

int64_t bl_launch_count(const struct blanch_device *dev) {
    return dev->launches;
}

int bl_flush(struct blanch_device *dev) {
    dev->unflushed = 0;
    cl_int error = clFlush(dev->queue);
    return error ? bl_cl_fail(error, "flushing the queue of %s", dev->info.name) : 0;
}

int bl_finish(struct blanch_device *dev) {
    cl_int error = clFinish(dev->queue);
    return error ? bl_cl_fail(error, "waiting for %s", dev->info.name) : 0;
}

/* --- recording -------------------------------------------------------------------------------- */

void bl_tag_as(struct blanch_device *dev, int layer, int phase, bool light) {
    dev->layer = layer, dev->phase = phase, dev->light = light;
}

int bl_tag_phase(struct blanch_device *dev, int phase) {
    const int before = dev->phase;
    dev->phase = phase;
    return before;
}

bool bl_recording(const struct blanch_device *dev) {
    return dev->recording;
}
int bl_record(struct blanch_device *dev, bool on) {
    int code = bl_finish(dev);
    if (on && !code && !dev->timed) code = bl_queue_open(dev, CL_QUEUE_PROFILING_ENABLE, &dev->timed);
    dev->recording = on && !code;
    dev->queue = dev->recording ? dev->timed : dev->plain;
    return code;
}

void bl_work(struct blanch_device *dev, double operations, uint64_t bytes) {
    if (!dev->recording) return;
    if (!dev->within) dev->operations += operations;
    dev->bytes += bytes;
    dev->stated = true;
}

void bl_work_begin(struct blanch_device *dev, double operations) {
    bl_work(dev, operations, 0);
    dev->within = true;
}

void bl_work_end(struct blanch_device *dev) {
    dev->within = dev->stated = false;
}

void bl_record_free(struct record *record) {
    bl_cl_release(clReleaseEvent, record->event, "an event");
    if (record->since) bl_cl_release(clReleaseEvent, record->since, "an event");
}

int bl_record_since(struct blanch_device *dev) {
    if (!dev->recording) return 0;
    if (dev->since) bl_cl_release(clReleaseEvent, dev->since, "an event");
    dev->since = NULL;
    cl_int error = clEnqueueMarkerWithWaitList(dev->queue, 0, NULL, &dev->since);
    return error ? bl_cl_fail(error, "a marker on %s", dev->info.name) : 0;
}

int bl_record_command(struct blanch_device *dev, const char *name, cl_event event, uint64_t bytes, bool library) {
    struct record record = {.event = event,
                            .since = dev->since,
                            .name = name,
                            .layer = dev->layer,
                            .phase = dev->phase,
                            .bytes = dev->bytes ? dev->bytes : bytes,
                            .operations = dev->operations,
                            .stated = dev->stated || dev->within || dev->light,
                            .library = library};
    dev->bytes = 0, dev->operations = 0, dev->stated = false, dev->since = NULL;
    if (bl_grow((void **)&dev->records, &dev->record_capacity, dev->record_count + 1, sizeof *dev->records)) {
        bl_record_free(&record);
        return BLANCH_ENOMEM;
    }
    dev->records[dev->record_count++] = record;
    return 0;
}

int bl_record_event(struct blanch_device *dev, const char *name, cl_event event, uint64_t bytes) {
    return bl_record_command(dev, name, event, bytes, true);
}

static int moment(cl_event event, cl_profiling_info what, uint64_t *nanoseconds) {
    cl_ulong value = 0;
    cl_int error = clGetEventProfilingInfo(event, what, sizeof value, &value, NULL);
    *nanoseconds = value;
    return error ? bl_cl_fail(error, "asking a command for its times") : 0;
}

static int times_of(const struct record *r, struct bl_span *span) {
    int code = moment(r->event, CL_PROFILING_COMMAND_QUEUED, &span->queued);
    if (!code) code = moment(r->event, CL_PROFILING_COMMAND_END, &span->end);
    if (!code && r->since) code = moment(r->since, CL_PROFILING_COMMAND_END, &span->start);
    return code || span->start ? code : moment(r->event, CL_PROFILING_COMMAND_START, &span->start);
}

int bl_record_take(struct blanch_device *dev, const struct bl_span **spans, int *count) {
    int code = bl_finish(dev);
    if (!code) code = bl_grow((void **)&dev->spans, &dev->span_capacity, dev->record_count + 1, sizeof *dev->spans);
    for (size_t i = 0; i < dev->record_count; i++) {
        struct record *r = &dev->records[i];
        if (!code) {
            dev->spans[i] = (struct bl_span){.layer = r->layer,
                                             .phase = r->phase,
                                             .kernel = r->name,
                                             .bytes = r->bytes,
                                             .operations = r->operations,
                                             .stated = r->stated,
                                             .library = r->library};
            code = times_of(r, &dev->spans[i]);
        }
        bl_record_free(r);
    }
    *spans = dev->spans, *count = code ? 0 : (int)dev->record_count;
    dev->record_count = 0;
    return code;
}
