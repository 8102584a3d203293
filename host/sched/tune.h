/* The tuner of a device: which engine computes each pass of each convolution, and how each matrix product is computed,
 * by measurement on that device. Once a device has one, it is asked for every choice there: what this process has
 * measured, else what the tuning cache holds, else nothing, and the rule of thumb chooses. What it was asked in vain it
 * notes, and bl_tuner_measure measures. It belongs to the device and is released with it; tuners of several devices
 * share nothing but the cache on disk, and CLBlast's parameters where two are the same OpenCL device (blas.h). */
#ifndef BL_TUNE_H
#define BL_TUNE_H

#include "cl/cl.h"
#include <cjson/cJSON.h>

enum { BL_FIRST_USE_SECONDS = 30, BL_FIRST_USE_CANDIDATE = 1, BL_FIRST_USE_BUILD = 20 }; // bounds where a network runs
struct bl_tune_bounds {
    double seconds;   // of measuring in all; no shape is begun after it
    double candidate; // seconds that one call of a candidate may take, as its small part projects
    double build;     // seconds that building a candidate's kernels may take, its first calls included
    /* A shape is done; text NULL: this measuring is over. May be NULL. */
    void (*progress)(void *context, int done, int total, const char *text);
    /* A candidate is refused, once each, or what is measured cannot be kept. May be NULL. */
    void (*said)(void *context, const char *line);
    void *context;
};
struct bl_tune_report {
    int known, measured, wrong, failed, left; // shapes known before, measured now; candidates refused; shapes left
    double seconds;                           // of measuring
};

struct bl_tuner;
/* Gives the device a tuner; one that it has takes the bounds instead, its seconds counted anew. */
int bl_tuner_open(struct blanch_device *dev, const struct bl_tune_bounds *bounds);
/* Gives the device the choices of a former run, a JSON object of shape: engine, and nothing else: it neither looks into
 * the cache nor notes anything, so that a resumed run computes the same bits. */
int bl_tuner_replay(struct blanch_device *dev, const cJSON *choices);
struct bl_tuner *bl_tuner_of(const struct blanch_device *dev); // NULL: it has none
/* The choices that the device's tuner has made, as bl_tuner_replay takes them; NULL: none. */
cJSON *bl_tuner_choices(const struct blanch_device *dev);
const struct bl_tune_report *bl_tuner_report(const struct bl_tuner *tuner);

/* Measures what was noted. */
int bl_tuner_measure(struct bl_tuner *tuner);
/* The convolutions asked for so far are computed by the rule's engines in this process: the measured ones need too much
 * memory. false: none of them was measured. */
bool bl_tuner_drop_engines(struct bl_tuner *tuner);
/* Searches CLBlast's parameters for products, from where a former search ended; `tries` sets in all. Says so where none
 * was right within the bounds. */
int bl_tuner_clblast(struct bl_tuner *tuner, int tries);
/* Gives CLBlast the parameters that a search has found for the device, as opening a tuner does. */
int bl_tune_clblast_apply(struct blanch_device *dev);

#endif
