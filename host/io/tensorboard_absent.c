/* Stands in for tensorboard.c in a build without protobuf-c: --tensorboard is refused. */
#include "io/tensorboard.h"

int bl_tensorboard_check(void) {
    return bl_fail(BLANCH_EUSAGE,
                   "--tensorboard needs protobuf-c, which this build lacks: install libprotobuf-c-dev and "
                   "protobuf-c-compiler (Fedora: protobuf-c-devel, protobuf-c-compiler; Arch, openSUSE, Homebrew: "
                   "protobuf-c), then set up the build again");
}

int bl_tensorboard_open(struct bl_tensorboard **file, const char *dir) {
    return bl_tensorboard_check();
}
int bl_tensorboard_scalar(struct bl_tensorboard *file, const char *tag, int64_t step, double value) {
    return 0;
}
int bl_tensorboard_histogram(struct bl_tensorboard *file, const char *tag, int64_t step, const float *values,
                             int count) {
    return 0;
}
int bl_tensorboard_close(struct bl_tensorboard *file) {
    return 0;
}
