/* What the sums of staged.c and the statistics of staged_statistics.c share. */
#ifndef BL_STAGED_INTERNAL_H
#define BL_STAGED_INTERNAL_H

#include "dist/staged.h"
#include <pthread.h>

struct bl_begun_sum;
struct bl_lane { // of one thread
    struct blanch_collectives host;
    void *room; // of exchanges
    size_t room_bytes;
    double seconds; // under way
    uint64_t bytes; // sent
    bool left;      // a call has failed: MPI may write to what it was given to the process's end
};

struct bl_staged {
    struct bl_collectives table;
    struct bl_lane now, meanwhile;
    bool apart; // meanwhile has a table of its own
    float *staging;
    size_t staging_capacity;
    struct bl_begun_sum *sums;
    size_t capacity, begun, taken; // of sums; those behind `taken` are the thread's
    pthread_t thread;
    bool started, stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int code; // of what the thread does, or of a step: every call fails by it
    char *message;
    bool given_up;
    struct bl_traffic traffic; // of what the thread has done
    double waited;             // seconds
};

/* Floats of the device, for the host: where they are, or staged. */
struct bl_floats_view {
    struct bl_mem *mem;
    size_t offset, bytes;
    float *values;
    bool mapped;
};

/* Floats of the device for the host, with room for so many; what was enqueued is done. The view is to be put back. */
int bl_staged_look(struct bl_staged *staged, struct blanch_device *dev, const struct bl_floats *floats, size_t room,
                   struct bl_floats_view *view);
/* code: of what was done with them, which is returned, or what putting back fails by. changed: they are others now. */
int bl_staged_put_back(const struct bl_floats_view *view, int code, bool changed);
/* `count` values, with room for bl_staged_room() of them, become their sums over ranks. */
int bl_staged_sum(struct bl_staged *staged, float *values, int64_t count);
size_t bl_staged_room(const struct bl_staged *staged, int64_t count);
/* all: (ranks, bytes), of the host. */
int bl_staged_gather(struct bl_staged *staged, const void *own, size_t bytes, void *all);

/* Of the table (collectives.h). */
int bl_staged_merge(void *context, struct blanch_device *dev, struct bl_moments *moments);
int bl_staged_merge_sums(void *context, struct blanch_device *dev, struct bl_sums *sums);

#endif
