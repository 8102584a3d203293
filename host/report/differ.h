/* Which runs of several documents may be set beside one another, and whether they differ. */
#ifndef BL_DIFFER_H
#define BL_DIFFER_H

#include "report/result.h"

/* Runs that repeat one another: of one network, norm and settings, by one version, on one device of one machine. */
struct bl_repeats {
    const struct bl_result *result; // of the first
    const struct bl_run_result *run;
    int count;
    double ms;         // of a step, or of a pass where inference was timed: the median of the runs
    double spread_pct; // of ms: from least to most of several runs, between the quartiles of one; NAN: unknown
};
/* A network with a norm beside the same, first, of another document or device. */
struct bl_difference {
    struct bl_repeats of, against; // against.run NULL: there is none, or none is needed
    double pct;                    // more than against takes; NAN where they may not be compared
    char why[400];                 // they may not, in words; "": they may
};

/* One for each group of repeats, in the documents' order; free(*list). BLANCH_ENOMEM. */
int bl_differences(const struct bl_result *results, int count, struct bl_difference **list, int *differences);
/* Less than the wider of both spreads: it is none. false: more, or a spread is unknown. */
bool bl_difference_is_none(const struct bl_difference *difference);
/* One line; "": there is nothing to say. */
void bl_difference_say(const struct bl_difference *difference, char *text, size_t size);
cJSON *bl_difference_json(const struct bl_difference *difference);
/* The difference whose group has this run. NULL: none. */
const struct bl_difference *bl_difference_of(const struct bl_difference *list, int differences,
                                             const struct bl_result *result, const struct bl_run_result *run);

/* Of two runs of one network and norm; settings of one document are there to be compared. */
bool bl_may_compare(const struct bl_result *a, const struct bl_run_result *ra, const struct bl_result *b,
                    const struct bl_run_result *rb);
/* Of a step, or of a pass where inference alone was timed; a mean where steps differ by plan. */
double bl_run_ms(const struct bl_run_result *run);
double bl_run_spread(const struct bl_run_result *run); // between quartiles, per cent of the median; NAN
/* The BN run that a run is held against: of its own document if that has one, else of the same network, batch,
 * precision and device. NULL: none, and why, where given, says what the nearest lacks. */
const struct bl_run_result *bl_bn_beside(const struct bl_result *results, int count, const struct bl_result *result,
                                         const struct bl_run_result *run, char *why, size_t size);

#endif
