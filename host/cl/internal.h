/* What the files of cl/ share. */
#ifndef BL_CL_INTERNAL_H
#define BL_CL_INTERNAL_H

#include "base/cache.h"
#include "cl/cl_raw.h"

struct program;
struct record {
    cl_event event, since;
    const char *name;
    int layer;
    int phase;
    uint64_t bytes;
    double operations;
    bool stated, library;
};

struct attachment {
    const void *key;
    void *what;
    void (*release)(void *what);
};

struct blanch_device {
    int users; // who opened it, and its networks
    struct blanch_device_info info;
    cl_platform_id platform;
    char platform_version[256];
    cl_device_id id;
    bool sub_device; // to be released
    int lanes;       // floats that a compute unit computes with at once
    int sums;        // that an item can hold in registers
    cl_context context;
    cl_command_queue queue;                 // the one of the two that follow that takes commands now
    cl_command_queue plain, timed, uploads; // timed: of recorded commands; uploads: of a stage; made when needed
    struct program *programs;
    struct bl_cache cache; // of compiled programs
    bool saves_late;       // binaries are written as the device is closed
    double opened;         // seconds of bl_now()
    uint64_t used, peak;   // bytes
    uint64_t memory_limit; // bytes, as blanch_device_open was asked; 0: none
    bool poison;
    bool recording;
    bool dry; // see bl_dry
    int layer, phase;
    bool light; // the tag
    uint64_t bytes;
    double operations; // of the next command, as bl_work said
    bool stated;       // by bl_work, of the next command
    bool within;       // between bl_work_begin and bl_work_end
    cl_event since;    // of the next record, see bl_record_since
    struct record *records;
    size_t record_count, record_capacity;
    struct bl_span *spans;
    size_t span_capacity;
    int64_t launches;
    int unflushed;
    struct attachment *attachments; // see bl_attach
    size_t attachment_count, attachment_capacity;
};

int bl_record_command(struct blanch_device *dev, const char *name, cl_event event, uint64_t bytes, bool library);
void bl_record_free(struct record *record);
/* Of devices some versions of which compute wrongly, checked as they are opened: 0, or BLANCH_EDEVICE. */
int bl_check_known(struct blanch_device *dev);
void bl_programs_free(struct blanch_device *dev);
int bl_queue_open(struct blanch_device *dev, cl_command_queue_properties properties, cl_command_queue *queue);
/* With the event of one of its commands, or NULL: what is said and recorded of a transfer; the event becomes the
 * caller's where he wants it. */
int bl_transferred(struct blanch_device *dev, cl_int error, cl_event event, const char *what, size_t bytes,
                   struct bl_event **wanted);

#endif
