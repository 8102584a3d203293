/* Stands in for fft.c in a build without clFFT: the engine that uses it suits nothing. */
#include "blas/fft.h"

bool bl_fft_available(void) {
    return false;
}

int64_t bl_fft_length(int64_t least) {
    return least;
}

static int absent(void) {
    return bl_fail(BLANCH_EUSAGE,
                   "a Fourier transform needs clFFT, which this build lacks: install libclfft-dev (Fedora: "
                   "clFFT-devel; Arch: clfft), then set up the build again");
}

int bl_fft_prepare(struct blanch_device *dev, const struct bl_fft *fft, bool inverse) {
    return absent();
}
int bl_fft_forward(struct blanch_device *dev, const struct bl_fft *fft, struct bl_mem *planes) {
    return absent();
}
int bl_fft_inverse(struct blanch_device *dev, const struct bl_fft *fft, struct bl_mem *planes) {
    return absent();
}
