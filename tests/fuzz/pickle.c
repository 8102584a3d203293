/* A batch of CIFAR for Python, whose images are of four bytes here. Input: the file. */
#include "../../datasets/pickle.h"
#include "fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct bl_cifar_batch batch;
    int code = bl_cifar_batch_read(&batch, "x", data, size, "labels", 4);
    expect_read(code);
    if (code) return 0;
    if (!batch.count || batch.count > BL_CIFAR_MOST || batch.rows != batch.count) abort();
    if (batch.data < data || batch.data + 4 * batch.rows > data + size) abort();
    return 0;
}
