/* NVML (NVIDIA Management Library), found at run time: names, numbers and units of its nvml.h, whose versions keep
 * them. */
#include "sched/nvml.h"
#include "base/base.h"
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef int (*plain_call)(void);
typedef int (*find_call)(const char *bus_id, void **card);
typedef int (*energy_call)(void *card, unsigned long long *millijoules); // since Volta
typedef int (*power_call)(void *card, unsigned *milliwatts);
typedef int (*clock_call)(void *card, int which, unsigned *mhz);
enum { CLOCK_SM = 1 };

struct bl_nvml {
    void *library, *card;
    bool ready; // between its own init and shutdown
    plain_call shutdown;
    energy_call energy;
    power_call power; // where there is no energy
    clock_call clock;
};

/* POSIX lets an object's pointer hold a function's; ISO C does not cast one into the other. */
static bool find(void *library, const char *name, void *call) {
    void *symbol = dlsym(library, name);
    *(void **)call = symbol;
    return symbol;
}

static bool open_card(struct bl_nvml *n, const char *pci) {
    plain_call init;
    find_call by_place;
    char bus_id[32];
    snprintf(bus_id, sizeof bus_id, "00000000:%s", pci);
    if (!find(n->library, "nvmlInit_v2", &init) || !find(n->library, "nvmlShutdown", &n->shutdown) ||
        !find(n->library, "nvmlDeviceGetHandleByPciBusId_v2", &by_place))
        return false;
    find(n->library, "nvmlDeviceGetTotalEnergyConsumption", &n->energy);
    find(n->library, "nvmlDeviceGetPowerUsage", &n->power);
    find(n->library, "nvmlDeviceGetClockInfo", &n->clock);
    n->ready = !init();
    return n->ready && !by_place(bus_id, &n->card);
}

struct bl_nvml *bl_nvml_open(const char *pci, bool *power) {
    struct bl_nvml *n = calloc(1, sizeof *n);
    if (n) n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    bool found = n && n->library && open_card(n, pci);
    if (found && isnan(bl_nvml_energy(n))) n->energy = NULL;
    if (found && !isnan(bl_nvml_energy(n))) return *power = !n->energy, n;
    bl_nvml_close(n);
    return NULL;
}

void bl_nvml_close(struct bl_nvml *n) {
    if (!n) return;
    if (n->ready) n->shutdown();
    if (n->library) dlclose(n->library);
    free(n);
}

double bl_nvml_energy(const struct bl_nvml *n) {
    unsigned long long millijoules;
    unsigned milliwatts;
    if (n->energy) return n->energy(n->card, &millijoules) ? NAN : 1e3 * (double)millijoules;
    return n->power && !n->power(n->card, &milliwatts) ? 1e3 * milliwatts : NAN;
}

double bl_nvml_clock_mhz(const struct bl_nvml *n) {
    unsigned mhz;
    return n->clock && !n->clock(n->card, CLOCK_SM, &mhz) ? mhz : NAN;
}
