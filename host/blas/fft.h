/* Fourier transforms of real planes, by clFFT, in place. A plane of h by w real values lies with 2*(w/2 + 1) floats
 * between its rows, its spectrum as h by (w/2 + 1) complex values (real part first) in the same memory, the other half
 * being their conjugates; planes follow each other. Forward: exp(-2 pi i u x / w). Inverse: divided by h*w, so that it
 * undoes forward. */
#ifndef BL_FFT_H
#define BL_FFT_H

#include "cl/cl.h"

struct bl_fft {
    int64_t h, w, planes;
};

bool bl_fft_available(void);          // whether this build has clFFT
int64_t bl_fft_length(int64_t least); // the first one from there on that it is fast for: a product of 2, 3, 5, 7
/* Builds what a transform needs, which can take seconds; kept until the device is closed. */
int bl_fft_prepare(struct blanch_device *dev, const struct bl_fft *fft, bool inverse);
int bl_fft_forward(struct blanch_device *dev, const struct bl_fft *fft, struct bl_mem *planes);
int bl_fft_inverse(struct blanch_device *dev, const struct bl_fft *fft, struct bl_mem *planes);

#endif
