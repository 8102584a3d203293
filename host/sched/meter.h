/* The energy that a device takes and its clock, from what Linux tells in files: hwmon of a GPU's driver, RAPL of
 * processors, or a file that the user names; of NVIDIA's cards from their driver's library. */
#ifndef BL_METER_H
#define BL_METER_H

#include "base/base.h"

enum { BL_METER_FILES = 8 }; // of energy: a processor's packages
struct bl_nvml;
struct bl_meter {
    char energy[BL_METER_FILES][256]; // microjoules so far, or with `power` microwatts now; "NVML": from `nvml`
    double range[BL_METER_FILES];     // a counter begins anew there; 0: unknown
    double last[BL_METER_FILES];
    int files; // 0: none can be read
    bool power;
    char clock[256];    // "": none can be read; "NVML"
    double clock_scale; // of what stands there, for MHz
    struct bl_nvml *nvml;
    /* Of the interval that was started. */
    double started, sampled, joules, clock_sum, clock_count;
    bool broken; // a file could not be read
};
/* energy: what the user names, a counter of microjoules as RAPL's energy_uj, or with "power" in its file name
 * microwatts as hwmon's power1_average: BLANCH_EINPUT where no number stands in it. NULL: what is there of the device.
 */
int bl_meter_open(struct bl_meter *meter, const struct blanch_device_info *device, const char *energy);
void bl_meter_close(struct bl_meter *meter); // also of one that is all 0
void bl_meter_start(struct bl_meter *meter);
/* Within an interval, every now and then: of the clock, and of power, which is summed over time. */
void bl_meter_sample(struct bl_meter *meter);
/* joules, mean of the clock; NAN: not readable. */
void bl_meter_stop(struct bl_meter *meter, double *joules, double *clock_mhz);

#endif
