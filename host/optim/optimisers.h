/* Every optimiser, the default first: a line here, host/optim/NAME.c and kernels/NAME.cl, which Meson finds by this
 * list. Included with X defined. */
X(sgd)
X(adamw)
X(muon)
