/* Every engine of the convolution: a line here, host/ops/conv/NAME.c and kernels/conv/NAME.cl, which Meson finds by
 * this list (winograd4 is a variant in winograd.c). Among equals of a rule the first is chosen. Included with X
 * defined. */
X(depthwise)
X(direct)
X(grouped)
X(pointwise)
X(tiled)
X(winograd)
X(winograd4)
X(patches)
X(fft)
