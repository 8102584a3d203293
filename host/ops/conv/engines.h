/* Every engine of the convolution: a line here, host/ops/conv/NAME.c and kernels/conv/NAME.cl, which Meson finds by
 * this list (winograd4 is a variant in winograd.c, tiled128x128 to tiled32x32, and matrix, are in
 * tiled.c). Among equals of a rule
 * the first is chosen. Included with X defined. */
X(depthwise)
X(direct)
X(grouped)
X(grouped4)
X(pointwise)
X(tiled)
X(tiled128x128)
X(tiled128x64)
X(tiled64x64)
X(tiled32x32)
X(matrix)
X(winograd)
X(winograd4)
X(patches)
X(fft)
