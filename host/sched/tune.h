/* The tuner: which engine computes each pass of each convolution, and how each matrix product is computed, by
 * measurement on the device. While one exists it is asked for every choice: what this process has measured, else what
 * the tuning cache holds, else nothing, and the rule of thumb chooses. What it was asked in vain it notes, and
 * bl_tuner_measure measures. One per process. */
#ifndef BL_TUNE_H
#define BL_TUNE_H

#include "cl/cl.h"
#include <cjson/cJSON.h>

struct bl_tuner;
int bl_tuner_create(struct bl_tuner **tuner);
void bl_tuner_free(struct bl_tuner *tuner); // NULL is fine
/* The choices, a JSON object of shape: engine, for config.json; NULL where there are none. */
cJSON *bl_tuner_choices(const struct bl_tuner *tuner);
/* Takes the choices of a former run, and from now on neither looks into the cache nor notes anything: a resumed run
 * computes the same bits. choices NULL: none. */
int bl_tuner_restore(struct bl_tuner *tuner, const cJSON *choices);

/* Gives CLBlast the parameters that a search has found for the device, as the first choice would. */
int bl_tuner_apply(struct bl_tuner *tuner, struct blanch_device *dev);
/* The convolutions asked for so far are computed by the rule's engines in this process: the measured ones need too much
 * memory. false: none of them was measured. */
bool bl_tuner_drop_engines(struct bl_tuner *tuner, const struct blanch_device *dev);

struct bl_tune_bounds {
    double seconds;           // in all; no shape is begun after it
    double candidate;         // seconds that one call of a candidate may take, as its small part projects
    bool brief;               // leaves out what hardly wins: CLBlast on CPUs, whose kernels take seconds to build
    const volatile int *stop; // BLANCH_EINTERRUPTED once it is not 0
    void (*progress)(void *context, int done, int total, const char *text); // may be NULL
    void (*refused)(void *context, const char *line); // a candidate is wrong or fails; once each; may be NULL
    void *context;
};
struct bl_tune_report {
    int known, measured, wrong, failed, left; // shapes known before, measured now; candidates refused; shapes left
    double seconds;
    char warning[300]; // the cache could not be written; else ""
};
/* Measures what was noted for the device. Adds to report. */
int bl_tuner_measure(struct bl_tuner *tuner, struct blanch_device *dev, const struct bl_tune_bounds *bounds,
                     struct bl_tune_report *report);
int bl_tuner_wanted(const struct bl_tuner *tuner, const struct blanch_device *dev); // how many shapes that would be
/* Searches CLBlast's parameters for products on the device, from where a former search ended; `tries` sets in all. */
int bl_tuner_clblast(struct bl_tuner *tuner, struct blanch_device *dev, int tries, const struct bl_tune_bounds *bounds,
                     struct bl_tune_report *report);

#endif
