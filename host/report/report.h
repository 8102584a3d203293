/* One self-contained HTML page from measurements: no file beside it, no network. */
#ifndef BL_REPORT_H
#define BL_REPORT_H

#include "base/base.h"
#include <cjson/cJSON.h>

/* Writes the page of count documents, each in the form of `blanch compare --json`. What a document lacks is left out of
 * the page. BLANCH_EIO, BLANCH_ENOMEM. */
int bl_report_write(const char *path, const cJSON *const *documents, int count);

/* One PATH of `blanch report` as such a document: a run directory, a comparison's folder or file, a bench's file.
 * Anything else: BLANCH_EINPUT, naming it. */
int bl_report_read(const char *path, cJSON **document);
int bl_report_csv(const char *path, const cJSON *const *documents, int count);

/* Where a report's rows come from: what each phase is called, and the group whose colour it has. */
struct bl_phase_style {
    const char *name, *label, *css;
};
extern const struct bl_phase_style bl_phase_styles[]; // ends with a NULL name

#endif
