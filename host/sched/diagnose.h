/* Diagnosis of network deconvolution: how well each layer's whitening does on a batch, and which option to turn where
 * it does badly. Works on copies in double precision; the network stays as it was. */
#ifndef BL_DIAGNOSE_H
#define BL_DIAGNOSE_H

#include "graph/graph.h"
#include <cjson/cJSON.h>

enum { BL_EIGENVALUES = 24 }; // eigenvalues that are estimated

struct bl_diagnosis { // the worst of a layer's matrices where it has several (8 are looked at)
    const struct bl_node *node;
    int64_t features, samples;
    bool finite;          // S and D hold numbers; without them the rest is 0
    double residual;      // largest |D S D - I| over 16 columns
    double condition;     // of S: Lanczos' largest over smallest value, from below
    double eps_share;     // of the mean variance: eps F / trace(S)
    double gain;          // how much more D raises the smallest direction than the largest, in amplitude
    int eigenvalue_count; // estimates of those of D S D, rising; 1 each where it whitens fully
    double eigenvalue[BL_EIGENVALUES];
    const char *trouble, *remedy; // NULL: nothing to remark
};

/* Runs the n images that are on the device forwards once more; *diagnoses (malloc'd, the caller frees it) gets one of
 * each layer that whitened this batch exactly. */
int bl_diagnose(struct bl_graph *graph, int n, struct bl_diagnosis **diagnoses, int *count);
/* "layers" of a line of log.jsonl. */
cJSON *bl_diagnoses_json(const struct bl_diagnosis *diagnoses, int count);

#endif
