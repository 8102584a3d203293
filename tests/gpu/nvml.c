/* A driver's library in place of NVIDIA's (host/sched/nvml.c), for tests/test_meter.c: one card, at 65:00.0, that draws
 * 100 W and runs at 1,500 MHz. With NVML_OLD in the environment it tells no energy, as before Volta. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TELLS __attribute__((visibility("default")))
enum { NOT_SUPPORTED = 3, NOT_FOUND = 6, NOT_INITIALISED = 1 };
static int users;

TELLS int nvmlInit_v2(void);
TELLS int nvmlShutdown(void);
TELLS int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **card);
TELLS int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *millijoules);
TELLS int nvmlDeviceGetPowerUsage(void *card, unsigned *milliwatts);
TELLS int nvmlDeviceGetClockInfo(void *card, int which, unsigned *mhz);

int nvmlInit_v2(void) {
    users++;
    return 0;
}
int nvmlShutdown(void) {
    return users-- ? 0 : NOT_INITIALISED;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **card) {
    *card = &users;
    return !users ? NOT_INITIALISED : strcmp(bus_id, "00000000:65:00.0") ? NOT_FOUND : 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *millijoules) {
    struct timespec t;
    if (getenv("NVML_OLD") || card != &users || clock_gettime(CLOCK_MONOTONIC, &t)) return NOT_SUPPORTED;
    *millijoules = 100000ULL * (unsigned long long)t.tv_sec + (unsigned long long)t.tv_nsec / 10000;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *card, unsigned *milliwatts) {
    *milliwatts = 100000;
    return card == &users ? 0 : NOT_SUPPORTED;
}
int nvmlDeviceGetClockInfo(void *card, int which, unsigned *mhz) {
    *mhz = 1500;
    return card == &users && which == 1 ? 0 : NOT_SUPPORTED;
}
