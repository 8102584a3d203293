/* Stands in for clblast.c and clblast_tune.c in a build without CLBlast: the own kernels compute every product. */
#include "blas/internal.h"

bool bl_clblast_available(void) {
    return false;
}

bool bl_clblast_refused(const struct blanch_device *dev) {
    return true;
}

static int absent(void) {
    return bl_fail(BLANCH_EUSAGE, "this build lacks CLBlast: install libclblast-dev (Fedora: clblast-devel; Arch: "
                                  "clblast), then set up the build again");
}

int bl_clblast_gemm(struct blanch_device *dev, const struct bl_gemm *gemm) {
    return absent();
}
int bl_clblast_tune(struct blanch_device *dev) {
    return absent();
}
int bl_clblast_set(struct blanch_device *dev, const struct bl_clblast_set *set) {
    return absent();
}
void bl_clblast_ship(struct blanch_device *dev) {}
const struct bl_clblast_set *bl_clblast_seed(const struct blanch_device *dev) {
    return NULL;
}
