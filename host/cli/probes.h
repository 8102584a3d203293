/* Whether a device does what Blanch relies on. */
#ifndef BL_PROBES_H
#define BL_PROBES_H

#include "base/base.h"

enum bl_verdict { BL_AVAILABLE, BL_MISSING, BL_FAILED }; // BL_MISSING: Blanch does without
typedef void bl_probe_report(void *context, const char *probe, enum bl_verdict verdict, const char *detail);
/* Every probe, reported as it ends. BLANCH_EDEVICE, naming them, where something that Blanch cannot do without fails.
 */
int bl_probe_device(struct blanch_device *dev, bl_probe_report *report, void *context);

#endif
