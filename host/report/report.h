/* One self-contained HTML page from measurements: no file beside it, no network. */
#ifndef BL_REPORT_H
#define BL_REPORT_H

#include "report/result.h"

/* Writes the page of count results. What one lacks is left out of the page. BLANCH_EIO, BLANCH_ENOMEM. */
int bl_report_write(const char *path, const struct bl_result *results, int count);

/* One PATH of `blanch report`: a run directory, a comparison's folder or file, a bench's or a suite's file. Anything
 * else: BLANCH_EINPUT, naming it. Whatever it returns, the result is freed with bl_result_free. */
int bl_report_read(const char *path, struct bl_result *result);
/* A row of each run, layer "(run)", and one for each of its layers and phases; of suites alone their rows.
 * BLANCH_EUSAGE: they are mixed. */
int bl_report_csv(const char *path, const struct bl_result *results, int count);
int bl_report_table(const struct bl_result *results, int count, char **table); // the same as a string, to be freed

#endif
