/* Stands in for onnx_read.c and onnx_write.c in a build without protobuf-c: ONNX is refused. */
#include "io/onnx.h"

int bl_onnx_check(void) {
    return bl_fail(BLANCH_EUSAGE,
                   "ONNX needs protobuf-c, which this build lacks: install libprotobuf-c-dev and protobuf-c-compiler "
                   "(Fedora: protobuf-c-devel, protobuf-c-compiler; Arch, openSUSE, Homebrew: protobuf-c), then set up "
                   "the build again");
}

int bl_onnx_open(struct bl_onnx_file **file, const char *path) {
    *file = NULL;
    return bl_onnx_check();
}
const struct bl_onnx_model *bl_onnx_model(const struct bl_onnx_file *file) {
    return NULL;
}
void bl_onnx_close(struct bl_onnx_file *file) {}
int bl_onnx_write(const char *path, const struct bl_onnx_model *model) {
    return bl_onnx_check();
}
