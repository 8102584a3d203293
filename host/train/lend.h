/* Batches that are made where the device reads them, where it shares the host's memory: they are uploaded by changing
 * hands (bl_mem_alloc_shared), and nothing is copied. */
#ifndef BL_LEND_H
#define BL_LEND_H

#include "train/train.h"

struct bl_lender;
int bl_lender_create(struct blanch_device *dev, struct bl_lender **lender); // *lender NULL: it shares no memory
void bl_lender_free(struct bl_lender *lender);                              // after who fills it; NULL is fine
/* As struct bl_loader_memory has it, with the lender for context. BLANCH_ELIMIT: the device has no room. */
int bl_lender_take(void *lender, int slot, enum bl_batch_part part, size_t bytes, void **at);
/* What is enqueued from now on finds in the tensor what lies at `from`. *given false: that is none of the lender's, or
 * of another size than the tensor, and nothing was done. */
int bl_lender_give(struct bl_lender *lender, struct blanch_tensor *tensor, const void *from, bool *given);
/* Of all that was given, once what reads it is enqueued: tensors have their own memory again, and the batch is the
 * host's behind what was enqueued so far. NULL is fine. */
int bl_lender_take_back(struct bl_lender *lender, struct bl_batch *batch);

#endif
