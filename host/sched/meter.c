/* Reading energy and clocks. */
#include "sched/meter.h"
#include "sched/nvml.h"
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double least_s = 0.1; // between samples
static const char nvml_name[] = "NVML";

/* The number that a file begins with; NAN. */
static double read_number(const char *path) {
    char text[64];
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = 0;
    char *end;
    double value = strtod(text, &end);
    return end != text && isfinite(value) && value >= 0 ? value : NAN;
}

/* --- finding ---------------------------------------------------------------------------------- */

static bool is_power(const char *path) {
    const char *slash = strrchr(path, '/');
    return strstr(slash ? slash : path, "power") != NULL;
}

/* Where a counter begins anew stands beside RAPL's. */
static void add_energy(struct bl_meter *m, const char *path) {
    if (m->files == BL_METER_FILES || strlen(path) >= sizeof m->energy[0] || isnan(read_number(path))) return;
    const char *slash = strrchr(path, '/');
    char *range = bl_format("%.*smax_energy_range_uj", slash ? (int)(slash + 1 - path) : 0, path);
    double value = range ? read_number(range) : NAN;
    free(range);
    m->range[m->files] = value > 0 ? value : 0;
    snprintf(m->energy[m->files++], sizeof m->energy[0], "%s", path);
}

/* most: how many of the files that the pattern names. */
static void find_energy(struct bl_meter *m, const char *pattern, int most) {
    glob_t found = {0};
    if (m->files) return;
    if (!glob(pattern, 0, NULL, &found))
        for (size_t i = 0; i < found.gl_pathc && m->files < most; i++) add_energy(m, found.gl_pathv[i]);
    globfree(&found);
    m->power = m->files && is_power(m->energy[0]);
}

static void find_clock(struct bl_meter *m, const char *pattern, double scale) {
    glob_t found = {0};
    if (*m->clock) return;
    if (!glob(pattern, 0, NULL, &found))
        for (size_t i = 0; i < found.gl_pathc && !*m->clock; i++)
            if (strlen(found.gl_pathv[i]) < sizeof m->clock && !isnan(read_number(found.gl_pathv[i])))
                snprintf(m->clock, sizeof m->clock, "%s", found.gl_pathv[i]);
    globfree(&found);
    m->clock_scale = scale;
}

/* Of a device on PCI: what its driver tells (amdgpu, i915 and xe have these names). */
static void look_on_bus(struct bl_meter *m, const char *pci) {
    static const char *const energy[] = {"hwmon/hwmon*/energy1_input", "hwmon/hwmon*/power1_average",
                                         "hwmon/hwmon*/power1_input"};
    static const struct {
        const char *name;
        double scale;
    } clocks[] = {
        {"hwmon/hwmon*/freq1_input", 1e-6}, {"drm/card*/gt_act_freq_mhz", 1}, {"tile0/gt0/freq0/act_freq", 1}};
    char pattern[256];
    for (int i = 0; i < BL_COUNT(energy); i++) {
        snprintf(pattern, sizeof pattern, "/sys/bus/pci/devices/0000:%s/%s", pci, energy[i]);
        find_energy(m, pattern, 1);
    }
    for (int i = 0; i < BL_COUNT(clocks); i++) {
        snprintf(pattern, sizeof pattern, "/sys/bus/pci/devices/0000:%s/%s", pci, clocks[i].name);
        find_clock(m, pattern, clocks[i].scale);
    }
}

/* What the user names stays; energy and clock are the library's otherwise. */
static void look_in_nvml(struct bl_meter *m, const char *pci) {
    bool power;
    if (m->files && *m->clock) return;
    m->nvml = bl_nvml_open(pci, &power);
    if (!m->nvml) return;
    if (!m->files) {
        strcpy(m->energy[m->files++], nvml_name);
        m->power = power;
    }
    if (!*m->clock && !isnan(bl_nvml_clock_mhz(m->nvml))) strcpy(m->clock, nvml_name), m->clock_scale = 1;
}

int bl_meter_open(struct bl_meter *m, const struct blanch_device_info *device, const char *energy) {
    *m = (struct bl_meter){.clock_scale = 1};
    if (energy) {
        add_energy(m, energy);
        if (!m->files) return bl_fail(BLANCH_EINPUT, "--energy %s: no number can be read there", energy);
        m->power = is_power(energy);
    }
    if (device->kind == BLANCH_CPU) {
        find_energy(m, "/sys/class/powercap/intel-rapl:[0-9]/energy_uj", BL_METER_FILES);
        find_clock(m, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e-3);
    } else if (*device->pci) {
        look_on_bus(m, device->pci);
        look_in_nvml(m, device->pci);
    }
    return 0;
}

void bl_meter_close(struct bl_meter *m) {
    bl_nvml_close(m->nvml);
    m->nvml = NULL;
}

/* --- measuring -------------------------------------------------------------------------------- */

static double energy_now(const struct bl_meter *m, int i) {
    return strcmp(m->energy[i], nvml_name) ? read_number(m->energy[i]) : bl_nvml_energy(m->nvml);
}

static double clock_now(const struct bl_meter *m) {
    if (!*m->clock) return NAN;
    return strcmp(m->clock, nvml_name) ? read_number(m->clock) : bl_nvml_clock_mhz(m->nvml);
}

/* A counter that has begun anew is taken to have done so once. */
static void take_energy(struct bl_meter *m, double seconds) {
    for (int i = 0; i < m->files; i++) {
        double value = energy_now(m, i), more = value - m->last[i];
        if (isnan(value) || (!m->power && more < 0 && !(m->range[i] > 0))) m->broken = true;
        if (m->power)
            m->joules += 1e-6 * 0.5 * (value + m->last[i]) * seconds;
        else
            m->joules += 1e-6 * (more < 0 ? more + m->range[i] : more);
        m->last[i] = value;
    }
}

static void take_clock(struct bl_meter *m) {
    double value = clock_now(m);
    if (isnan(value)) return;
    m->clock_sum += m->clock_scale * value;
    m->clock_count++;
}

void bl_meter_start(struct bl_meter *m) {
    m->joules = m->clock_sum = m->clock_count = 0;
    m->broken = false;
    for (int i = 0; i < m->files; i++) m->last[i] = energy_now(m, i);
    m->started = m->sampled = bl_now();
}

void bl_meter_sample(struct bl_meter *m) {
    double now = bl_now();
    if (now - m->sampled < least_s) return;
    take_energy(m, now - m->sampled);
    take_clock(m);
    m->sampled = now;
}

void bl_meter_stop(struct bl_meter *m, double *joules, double *clock_mhz) {
    take_energy(m, bl_now() - m->sampled);
    if (!m->clock_count) take_clock(m);
    *joules = m->files && !m->broken ? m->joules : NAN;
    *clock_mhz = m->clock_count > 0 ? m->clock_sum / m->clock_count : NAN;
}
