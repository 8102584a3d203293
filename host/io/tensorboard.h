/* TensorBoard event files: scalars and histograms under tags, over steps. Knows nothing of training. */
#ifndef BL_TENSORBOARD_H
#define BL_TENSORBOARD_H

#include "base/base.h"

struct bl_tensorboard; // an event file being written
/* BLANCH_EUSAGE, with what to install, where Blanch was built without protobuf-c. */
int bl_tensorboard_check(void);
/* Makes DIR where need be, and in it a new file: TensorBoard reads all files of a folder as one run, so that a run that
 * goes on gets a further one. */
int bl_tensorboard_open(struct bl_tensorboard **file, const char *dir);
int bl_tensorboard_scalar(struct bl_tensorboard *file, const char *tag, int64_t step, double value);
/* Values are sorted into about thirty buckets between the least and the greatest; those that are not finite are left
 * out. */
int bl_tensorboard_histogram(struct bl_tensorboard *file, const char *tag, int64_t step, const float *values,
                             int count);
/* Also with NULL. BLANCH_EIO where not all was written. */
int bl_tensorboard_close(struct bl_tensorboard *file);

#endif
