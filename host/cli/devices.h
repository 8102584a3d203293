/* What `devices` and `doctor` both show. */
#ifndef BL_DEVICES_H
#define BL_DEVICES_H

#include "base/base.h"
#include <cjson/cJSON.h>

void bl_print_device(const struct blanch_device_info *info);
cJSON *bl_device_listing(const struct blanch_device_info *info);

#endif
