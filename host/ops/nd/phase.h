/* The phases of network deconvolution, among those of graph/phase.h; bl_phase_names (ops/list.c) takes their names. */
#ifndef BL_ND_PHASE_H
#define BL_ND_PHASE_H

#include "graph/phase.h"

enum { BL_COVARIANCE = BL_PHASE_OWN, BL_INVERSE_SQRT, BL_FOLD, BL_WHITEN_BACKWARD, BL_ND_PHASES_END };
#define BL_ND_PHASE_NAMES                                                                                              \
    [BL_COVARIANCE] = "covariance", [BL_INVERSE_SQRT] = "inverse_sqrt", [BL_FOLD] = "fold",                            \
    [BL_WHITEN_BACKWARD] = "whiten_backward"

#endif
