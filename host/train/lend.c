/* Batches in memory that host and device share. */
#include "train/lend.h"
#include <stdlib.h>
#include <string.h>

struct slot {
    struct bl_mem *part[BL_BATCH_PARTS];
};
struct lent {
    struct blanch_tensor *tensor;
    struct bl_mem *own, *mem; // the tensor's; what it has instead
    const void *from;
};
struct bl_lender {
    struct blanch_device *dev;
    struct slot *slots;
    size_t count, capacity;
    struct lent lent[BL_BATCH_PARTS];
    int lents;
};

int bl_lender_create(struct blanch_device *dev, struct bl_lender **lender) {
    *lender = NULL;
    if (!blanch_device_info(dev)->unified_memory) return 0;
    if (!(*lender = bl_calloc(1, sizeof **lender))) return BLANCH_ENOMEM;
    (*lender)->dev = dev;
    return 0;
}

void bl_lender_free(struct bl_lender *lender) {
    if (!lender) return;
    for (size_t i = 0; i < lender->count; i++)
        for (int part = 0; part < BL_BATCH_PARTS; part++) bl_mem_free(lender->slots[i].part[part]);
    free(lender->slots);
    free(lender);
}

int bl_lender_take(void *context, int slot, enum bl_batch_part part, size_t bytes, void **at) {
    struct bl_lender *lender = context;
    const size_t count = (size_t)slot + 1;
    int code = bl_grow((void **)&lender->slots, &lender->capacity, count, sizeof *lender->slots);
    if (code) return code;
    for (; lender->count < count; lender->count++) lender->slots[lender->count] = (struct slot){{NULL}};
    struct bl_mem **mem = &lender->slots[slot].part[part];
    if (!*mem && (code = bl_mem_alloc_shared(lender->dev, bytes, mem))) return code;
    *at = bl_mem_host(*mem);
    return 0;
}

static struct bl_mem *find(const struct bl_lender *lender, const void *from) {
    for (size_t i = 0; i < lender->count; i++)
        for (int part = 0; part < BL_BATCH_PARTS; part++) {
            struct bl_mem *mem = lender->slots[i].part[part];
            if (mem && bl_mem_host(mem) == from) return mem;
        }
    return NULL;
}

int bl_lender_give(struct bl_lender *lender, struct blanch_tensor *tensor, const void *from, bool *given) {
    struct bl_mem *mem = from && !bl_is_dry(lender->dev) ? find(lender, from) : NULL;
    *given = mem && lender->lents < BL_BATCH_PARTS && bl_mem_size(mem) == bl_tensor_bytes(tensor);
    if (!*given) return 0;
    lender->lent[lender->lents++] = (struct lent){tensor, tensor->mem, mem, from};
    tensor->mem = mem;
    return bl_mem_to_device(mem);
}

static void move(struct bl_batch *batch, const void *from, const void *to) {
    if (batch->images == from) batch->images = to;
    if (batch->labels == from) batch->labels = to;
    if (batch->others == from) batch->others = to;
}

int bl_lender_take_back(struct bl_lender *lender, struct bl_batch *batch) {
    int code = 0;
    while (lender && lender->lents) {
        const struct lent *lent = &lender->lent[--lender->lents];
        lent->tensor->mem = lent->own;
        const int mapped = bl_mem_to_host(lent->mem);
        if (!mapped) move(batch, lent->from, bl_mem_host(lent->mem));
        if (!code) code = mapped;
    }
    return code;
}
