#include "ops/ahead.h"
#include "ops/common.h"
#include <stdlib.h>
#include <string.h>

struct job {
    struct bl_mem *from, *to; // whole buffers
    int64_t blocks;
};
struct launch {
    struct bl_mem *from, *to;
    int first, count;
    int64_t blocks;
};
struct ahead { // of a graph and a kind
    size_t bytes;
    char *entries;
    struct job *jobs;
    size_t count, capacity, job_capacity;
    struct launch *launches;
    int launch_count;
    struct bl_mem *table;
    struct bl_kernel *kernel;
    uint64_t version; // of the weights that it was made of; 0: none
};

static void release(void *what) {
    struct ahead *a = what;
    bl_mem_free(a->table);
    free(a->entries), free(a->jobs), free(a->launches);
    free(a);
}

static struct ahead *ahead_of(struct bl_node *node, const struct bl_ahead_kind *kind) {
    struct ahead *a = bl_node_shared(node, kind);
    if (a || !(a = bl_calloc(1, sizeof *a))) return a;
    a->bytes = kind->entry;
    if (!bl_node_share(node, kind, a, release)) return a;
    release(a);
    return NULL;
}

int bl_ahead_add(struct bl_node *node, const struct bl_ahead_kind *kind, struct bl_mem *from, struct bl_mem *to,
                 const void *entry, int64_t values) {
    struct ahead *a = ahead_of(node, kind);
    if (!a || bl_grow((void **)&a->entries, &a->capacity, a->count + 1, a->bytes) ||
        bl_grow((void **)&a->jobs, &a->job_capacity, a->count + 1, sizeof *a->jobs))
        return BLANCH_ENOMEM;
    size_t at_from, at_to;
    struct job *job = &a->jobs[a->count];
    *job = (struct job){bl_mem_whole(from, &at_from), bl_mem_whole(to, &at_to),
                        (values + BL_AHEAD_BLOCK - 1) / BL_AHEAD_BLOCK};
    struct bl_ahead *head = (struct bl_ahead *)(a->entries + a->count++ * a->bytes);
    memcpy(head, entry, a->bytes);
    head->from = (int64_t)(at_from / sizeof(float));
    head->to += (int64_t)(at_to / sizeof(float));
    return 0;
}

/* The table, in which those that share both buffers follow each other. */
static char *sort(struct ahead *a) {
    char *table = bl_calloc(a->count, a->bytes);
    bool *done = bl_calloc(a->count, sizeof *done);
    a->launches = bl_calloc(a->count, sizeof *a->launches);
    for (size_t i = 0, at = 0; table && done && a->launches && i < a->count; i++) {
        if (done[i]) continue;
        struct launch *l = &a->launches[a->launch_count++];
        *l = (struct launch){.from = a->jobs[i].from, .to = a->jobs[i].to, .first = (int)at};
        for (size_t k = i; k < a->count; k++) {
            if (done[k] || a->jobs[k].from != l->from || a->jobs[k].to != l->to) continue;
            char *entry = memcpy(table + at++ * a->bytes, a->entries + k * a->bytes, a->bytes);
            ((struct bl_ahead *)entry)->block = l->blocks;
            l->blocks += a->jobs[k].blocks, l->count++, done[k] = true;
        }
    }
    free(done);
    return table;
}

static int prepare(struct bl_node *node, const struct bl_ahead_kind *kind, struct ahead *a) {
    char *table = sort(a);
    int code = table && a->launches ? 0 : BLANCH_ENOMEM;
    if (!code) code = bl_mem_alloc(node->dev, a->count * a->bytes, &a->table);
    if (!code) code = bl_mem_write(a->table, 0, a->count * a->bytes, table);
    if (!code) code = bl_kernel_get(node->dev, kind->file, kind->kernel, kind->defines, kind->define_count, &a->kernel);
    free(table);
    return code;
}

int bl_ahead_make(struct bl_node *node, const struct bl_ahead_kind *kind, const struct bl_run *run, int phase) {
    struct ahead *a = bl_node_shared(node, kind);
    if (!a || a->version == run->weights_version) return 0;
    int code = a->table ? 0 : prepare(node, kind, a);
    bl_tag(node->dev, -1, BL_UPDATE);
    for (int i = 0; i < a->launch_count && !code; i++) {
        const struct launch *l = &a->launches[i];
        bl_work(node->dev, 0, 2 * sizeof(float) * BL_AHEAD_BLOCK * (uint64_t)l->blocks);
        code = bl_launch(a->kernel, BL_ITEMS((size_t)l->blocks * 64), BL_MEM(l->from), BL_MEM(l->to), BL_MEM(a->table),
                         BL_I32(l->first), BL_I32(l->count));
    }
    bl_node_phase(node, phase);
    if (!code) a->version = run->weights_version;
    return code;
}
