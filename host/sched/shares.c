#include "sched/shares.h"
#include <math.h>

static const double worth = 1.02, slow = 0.25; // of the fastest: only such a rank may be left out

static double sum_of(const double *speed, int ranks) {
    double sum = 0;
    for (int k = 0; k < ranks; k++) sum += speed[k];
    return sum;
}

void bl_shares_of(const double *speed, int ranks, int batch, int *share) {
    const double sum = sum_of(speed, ranks);
    for (int k = 0; k < ranks; k++) {
        const double own = round(batch * speed[k] / sum);
        share[k] = own >= 1 ? (int)own : 1;
    }
}

double bl_shares_time(const double *speed, const int *share, int ranks, int batch) {
    double sum = 0, most = 0;
    for (int k = 0; k < ranks; k++) sum += share[k];
    for (int k = 0; k < ranks; k++) most = fmax(most, batch * share[k] / sum / speed[k]);
    return most;
}

bool bl_shares_doubt(const double *speed, int ranks, bool *keep) {
    double fastest = 0;
    bool any = false;
    for (int k = 0; k < ranks; k++) fastest = fmax(fastest, speed[k]);
    for (int k = 0; k < ranks; k++) {
        keep[k] = !k || speed[k] > slow * fastest;
        any |= !keep[k];
    }
    return any;
}

bool bl_shares_help(const double *speed, const double *alone, int ranks, const bool *keep) {
    double without = 0;
    for (int k = 0; k < ranks; k++) without += keep[k] ? alone[k] : 0;
    return sum_of(speed, ranks) > worth * without;
}
