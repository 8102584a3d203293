/* The only door to OpenCL: devices, programs and their cache, memory, launches, time. Nothing outside host/cl and
 * host/blas includes an OpenCL header. One in-order queue per device takes commands, one thread at a time; another one,
 * whose commands OpenCL times, takes its place while they are recorded, a third has uploads beside it. */
#ifndef BL_CL_H
#define BL_CL_H

#include "base/base.h"

/* Another user, who calls blanch_device_close too: the last one ends it. */
void bl_device_hold(struct blanch_device *dev);

/* --- memory --------------------------------------------------------------------------------- */

struct bl_mem; // a buffer or a part of one

/* bytes > 0; refused with BLANCH_ELIMIT beyond the device's limits (or --max-alloc), BLANCH_EDEVICE where the driver
 * refuses. Contents undefined; with BLANCH_POISON=1 in the environment, filled with NaN. */
int bl_mem_alloc(struct blanch_device *dev, size_t bytes, struct bl_mem **mem);
/* A part of parent that shares its memory; offset is a multiple of bl_mem_align(dev). The parent outlives it. */
int bl_mem_part(struct bl_mem *parent, size_t offset, size_t bytes, struct bl_mem **mem);
void bl_mem_free(struct bl_mem *mem); // NULL is fine
size_t bl_mem_size(const struct bl_mem *mem);
struct bl_mem *bl_mem_whole(struct bl_mem *mem, size_t *origin); // the buffer that it is a part of, or itself
size_t bl_mem_align(const struct blanch_device *dev);            // bytes, at least 64
uint64_t bl_mem_used(const struct blanch_device *dev);           // bytes allocated now
uint64_t bl_mem_peak(const struct blanch_device *dev);

/* Memory that host and device have in turn, without a copy where they share theirs (info.unified_memory): the host
 * first. It changes hands in queue order: the host has it once what was enqueued before bl_mem_to_host is done. */
int bl_mem_alloc_shared(struct blanch_device *dev, size_t bytes, struct bl_mem **mem);
void *bl_mem_host(const struct bl_mem *mem); // NULL: the device has it
int bl_mem_to_device(struct bl_mem *mem);
int bl_mem_to_host(struct bl_mem *mem); // its address may be another one

/* Blocking transfers of bytes at a byte offset. Here and below, BLANCH_ELIMIT for what reaches beyond the end. */
int bl_mem_write(struct bl_mem *mem, size_t offset, size_t bytes, const void *host);
int bl_mem_read(struct bl_mem *mem, size_t offset, size_t bytes, void *host);
/* The host's, at *at, from when what was enqueued is done until bl_mem_unmap: in place where the device has the host's
 * memory (info.unified_memory), elsewhere a copy. wait: until then; without, a later call that waits does. */
int bl_mem_map(struct bl_mem *mem, size_t offset, size_t bytes, bool wait, void **at);
int bl_mem_unmap(struct bl_mem *mem, void *at);
/* The same, not waited for: the host's memory is the device's until the event, of which *event is NULL or an older one
 * of the same queue, which is dropped. */
struct bl_event;
int bl_mem_write_later(struct bl_mem *mem, size_t offset, size_t bytes, const void *host, struct bl_event **event);
int bl_mem_read_later(struct bl_mem *mem, size_t offset, size_t bytes, void *host, struct bl_event **event);
/* One wait for those of up to BL_MOST_AWAITED events that are not NULL; they are dropped, and become NULL. */
enum { BL_MOST_AWAITED = 8 };
int bl_await(struct blanch_device *dev, struct bl_event **const events[], int count);
void bl_event_drop(struct bl_event **event); // without waiting; NULL is fine
/* Uploads beside what the queue computes: through memory of the stage, on a queue of their own. NULL: there is none,
 * and they are writes in queue order, as suits a device that shares the host's memory. */
struct bl_stage;
struct bl_upload {
    struct bl_mem *to;
    const void *from;
    size_t bytes;
};
/* For so many bytes at once. *stage NULL: the device shares the host's memory, or has no room. */
int bl_stage_create(struct blanch_device *dev, size_t bytes, struct bl_stage **stage);
void bl_stage_free(struct bl_stage *stage);
/* What is enqueued from now on finds the bytes there. The host's memory is read until the event, as above. While
 * commands are recorded they are writes in queue order. */
int bl_stage_upload(struct bl_stage *stage, struct blanch_device *dev, const struct bl_upload *uploads, int count,
                    struct bl_event **event);
/* In queue order, not waited for. */
int bl_mem_fill(struct bl_mem *mem, size_t offset, size_t bytes, float value);
int bl_mem_copy(struct bl_mem *from, size_t from_offset, struct bl_mem *to, size_t to_offset, size_t bytes);

/* --- kernels -------------------------------------------------------------------------------- */

struct bl_kernel; // owned by the device
struct bl_define {
    const char *name;
    long value;
}; // -D name=value

/* Kernel `function` of kernels/FILE.cl ("batchnorm", "conv/direct") built with the defines. Programs are built once per
 * file and defines, cached on disk; repeated calls return the same kernel. A program that the compiler refuses returns
 * BLANCH_EDEVICE, with file, options and the log's first error in the message's line and the log behind it, at later
 * calls too, without another attempt. */
int bl_kernel_get(struct blanch_device *dev, const char *file, const char *function, const struct bl_define *defines,
                  int count, struct bl_kernel **kernel);
const char *bl_kernel_name(const struct bl_kernel *kernel);
bool bl_kernel_cached(const struct bl_kernel *kernel);  // its program came from the cache on disk
size_t bl_kernel_items(const struct bl_kernel *kernel); // the most that a group of it may have on its device

enum bl_arg_kind { BL_ARG_MEM, BL_ARG_I32, BL_ARG_I64, BL_ARG_F32, BL_ARG_STRUCT, BL_ARG_LOCAL };
struct bl_arg {
    enum bl_arg_kind kind;
    union {
        struct bl_mem *mem;
        int32_t i32;
        int64_t i64;
        float f32;
        size_t bytes;
        struct {
            const void *at;
            size_t size;
        } constants;
    };
};
#define BL_MEM(m) ((struct bl_arg){BL_ARG_MEM, {.mem = (m)}})
#define BL_I32(v) ((struct bl_arg){BL_ARG_I32, {.i32 = (int32_t)(v)}})
#define BL_I64(v) ((struct bl_arg){BL_ARG_I64, {.i64 = (int64_t)(v)}}) // `long` in the kernel
#define BL_F32(v) ((struct bl_arg){BL_ARG_F32, {.f32 = (float)(v)}})
/* A struct by value, which the kernel declares with the same members: int32_t for its int, int64_t for its long,
 * nothing else, the long ones first. For what would be a row of constants. */
#define BL_STRUCT(v) ((struct bl_arg){BL_ARG_STRUCT, {.constants = {&(v), sizeof(v)}}})
#define BL_LOCAL(n) ((struct bl_arg){BL_ARG_LOCAL, {.bytes = (n)}})

/* Work sizes. global: items wanted per dimension (0 counts as 1). local: 0 lets the launcher choose within the limits
 * of kernel and device; it rounds global up to a multiple, so kernels guard their edges. local = {1, 1, 1} for kernels
 * of one item a group. */
struct bl_range {
    size_t global[3], local[3];
};
#define BL_ITEMS(...) ((struct bl_range){.global = {__VA_ARGS__}})
#define BL_GROUPS1(...) ((struct bl_range){.global = {__VA_ARGS__}, .local = {1, 1, 1}})

/* Enqueues; arguments in the kernel's order; a missing or superfluous one is an error. */
#define bl_launch(kernel, range, ...)                                                                                  \
    bl_launch_args((kernel), (range), (const struct bl_arg[]){__VA_ARGS__},                                            \
                   (int)(sizeof((struct bl_arg[]){__VA_ARGS__}) / sizeof(struct bl_arg)))
int bl_launch_args(struct bl_kernel *kernel, struct bl_range range, const struct bl_arg *args, int count);
int bl_flush(struct blanch_device *dev); // what was enqueued starts; the launcher does it now and then
int bl_finish(struct blanch_device *dev);

/* --- time ----------------------------------------------------------------------------------- */

struct bl_span { // one command on the device's timeline
    int layer;   // as tagged; -1: none
    int phase;   // likewise
    const char *kernel;
    uint64_t queued, start, end; // nanoseconds of the device's clock
    uint64_t bytes;
    double operations; // see bl_work
    bool stated;       // operations, 0 too, were stated
    bool library;      // a library's: `kernel` stands for one or several kernels of its own
};

/* The tag that following commands carry; what phases are is the caller's (graph/phase.h). light: commands compute
 * little for what they move, and count 0 operations unless they state others. Cheap. */
void bl_tag_as(struct blanch_device *dev, int layer, int phase, bool light);
/* Changes the phase alone; returns the one before. */
int bl_tag_phase(struct blanch_device *dev, int phase);
/* For the record: what the next command computes by the definition of its method (2 operations a multiply-add),
 * whatever tricks it computes it with, and the bytes it must move. bytes 0: each buffer that it is given counts once,
 * whole, which is right where an argument is one tensor. In the phases norm, activation, pool, loss, update and load
 * commands compute little for what they move and count 0 unsaid (docs/reading.md); elsewhere each says so. Cheap. */
void bl_work(struct blanch_device *dev, double operations, uint64_t bytes);
/* The commands in between make up one method of so many operations: those that they state themselves do not count. */
void bl_work_begin(struct blanch_device *dev, double operations);
void bl_work_end(struct blanch_device *dev);
/* While on, every command keeps an event, and OpenCL must tell its times: on a queue of its own, for some drivers slow
 * down where they keep times. Each change finishes the queue. bl_record_take finishes the queue, hands over the spans
 * in order (valid until the next take) and starts anew. Off at first. */
int bl_record(struct blanch_device *dev, bool on);
int bl_record_take(struct blanch_device *dev, const struct bl_span **spans, int *count);
int64_t bl_launch_count(const struct blanch_device *dev);  // kernels run since the device was opened
double bl_device_seconds(const struct blanch_device *dev); // since then

/* While on, launches, fills, copies and writes are checked but not run: a pass over a network then tells which products
 * it asks for, and changes nothing. Off at first. */
void bl_dry(struct blanch_device *dev, bool on);
bool bl_is_dry(const struct blanch_device *dev);

/* Rows of a register tile of 16 columns that fills a CPU's registers: 12 where they hold 16 floats (32 of them), else 6
 * (16, in pairs). dev may be NULL. */
int bl_tile_rows(const struct blanch_device *dev);

/* Items that keep a GPU busy: four for each float that it computes with at once, as it waits for memory meanwhile. */
int64_t bl_device_items(const struct blanch_device *dev);

/* Sums that an item can hold in its registers beside all else: fewer on Intel's GPUs, whose compiler has 64 registers
 * for each of 16 lanes, and on Arm's, where an item has 64. */
int bl_device_sums(const struct blanch_device *dev);

/* The matrix units that the device's compiler offers in OpenCL C, by what the device says of itself, and the items that
 * use one together; kernels/matrix.h has the same numbers. NONE, 1: it says nothing of any. */
enum bl_matrix_kind { BL_MATRIX_NONE, BL_MATRIX_MMA, BL_MATRIX_WMMA, BL_MATRIX_MFMA, BL_MATRIX_DPAS };
struct bl_matrix {
    enum bl_matrix_kind kind;
    int wave;
};
struct bl_matrix bl_matrix_of(const struct blanch_device *dev);

/* 0, or BLANCH_EDEVICE where a long loop does not take all its turns. Compiles and runs a kernel. */
int bl_check_loops(struct blanch_device *dev);

/* --- failing -------------------------------------------------------------------------------- */

/* Whether the last call to OpenCL that failed in this thread tells of what was asked (a kernel that does not build, a
 * group too large, no room), after which a device can do other work. Else it or its driver is lost. */
bool bl_device_refused(void);
/* 0, or BLANCH_EDEVICE with its message where a release has failed in this process. The work was done; its caller says
 * so at the end. */
int bl_release_failed(void);

/* --- attachments ------------------------------------------------------------------------------ */

/* What a layer above keeps for a device, under a key of its own: the address of something static. NULL: nothing. */
void *bl_attached(const struct blanch_device *dev, const void *key);
/* Replaces what the key has, without releasing it. release is called when the device is closed, the last attached
 * first; it may be NULL. */
int bl_attach(struct blanch_device *dev, const void *key, void *what, void (*release)(void *what));
void bl_detach(struct blanch_device *dev, const void *key); // releases nothing

/* --- keys of caches --------------------------------------------------------------------------- */

/* What tells this device, with its driver and platform, from others. */
uint64_t bl_device_hash(const struct blanch_device *dev);
/* Bytes, as blanch_device_open was given it; 0: none. Part of a key, unlike the size of memory that a driver reports,
 * which may differ from one process to the next. */
uint64_t bl_memory_limit(const struct blanch_device *dev);
/* Of the text of all kernels, those of BLANCH_KERNELS where it is set. */
int bl_kernels_hash(uint64_t *hash);
/* Remembers what the device was measured to compute a second: where several could be the default, it counts. */
void bl_device_keep_rate(const struct blanch_device_info *info, double rate);

#endif
