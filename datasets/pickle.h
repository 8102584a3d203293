/* CIFAR's batches for Python. */
#ifndef BL_PICKLE_H
#define BL_PICKLE_H

#include "internal.h"

enum { BL_CIFAR_MOST = 50000 };
struct bl_cifar_batch {
    size_t count, rows;            // labels; rows of data: as many
    uint8_t labels[BL_CIFAR_MOST]; // (count)
    const uint8_t *data;           // (rows, row), within bytes
};
/* labels: the key of the labels; row: bytes of an image. BLANCH_EINPUT: anything else than such a batch. */
int bl_cifar_batch_read(struct bl_cifar_batch *batch, const char *path, const uint8_t *bytes, size_t size,
                        const char *labels, size_t row);

#endif
