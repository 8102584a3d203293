/* blanch doctor: what a report of a fault needs, and what is wrong here, each with what to do. */
#include "base/cache.h"
#include "base/text.h"
#include "cl/hint.h"
#include "cli/parts.h"
#include "common.h"
#include "devices.h"
#include "io/commit.h"
#include "probes.h"
#include "report/suite.h"
#include "sched/limits.h"
#include "suite.h"
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MAX_FINDINGS = 64 };
static const double mib = 1048576, least_disk = 512 * 1048576.0, least_memory = 1024 * 1048576.0;

struct doctor {
    bool quick;
    cJSON *json; // NULL: text
    char *finding[MAX_FINDINGS];
    int findings, notes;     // notes: findings with which nothing is wrong
    int devices, gpus, code; // code: of the first device that fails
    char message[512];       // of it
};

/* "What is wrong: what to do". */
static void find(struct doctor *d, char *text) {
    if (text && d->findings < MAX_FINDINGS)
        d->finding[d->findings++] = text;
    else
        free(text);
}

/* What a user should know, though nothing is wrong. */
static void note(struct doctor *d, char *text) {
    int before = d->findings;
    find(d, text);
    d->notes += d->findings - before;
}

/* A line of the report, which it frees; in JSON a key. "": nothing of the kind. */
static void put(struct doctor *d, const char *title, char *text) {
    char key[32];
    snprintf(key, sizeof key, "%s", title);
    if (strchr(key, ' ')) *strchr(key, ' ') = '_';
    if (text && d->json)
        cJSON_AddStringToObject(d->json, key, text);
    else if (text && *text)
        printf("%s: %s\n", title, bl_shown(text));
    free(text);
}

static char *append(char *text, const char *separator, const char *more) {
    char *both = text ? bl_format("%s%s%s", text, *text ? separator : "", more) : NULL;
    free(text);
    return both;
}

/* --- the machine ------------------------------------------------------------------------------ */

static void look_at_machine(struct doctor *d) {
    const struct bl_host *host = bl_host();
    double load = NAN;
    char busy[64] = "";
    if (getloadavg(&load, 1) != 1) load = NAN;
    if (!isnan(load)) snprintf(busy, sizeof busy, "; %.1f processes want a core", load);
    if (!d->json) printf("blanch: %s%s%s\n", BLANCH_VERSION, *BLANCH_COMMIT ? ", " : "", BLANCH_COMMIT);
    put(d, "built with", bl_format("%s", BLANCH_PARTS));
    put(d, "system",
        bl_format("%s, kernel %s; %s, %.0f cores, %.1f GiB of memory%s", host->os, host->kernel,
                  *host->cpu ? host->cpu : "a processor of unknown name", host->cores, host->memory / mib / 1024,
                  busy));
    if (load > host->cores)
        note(d, bl_format("the machine is busy (%.1f processes for %.0f cores): times that are measured now say "
                          "nothing; wait, or end what runs",
                          load, host->cores));
    if (host->memory > 0 && host->memory < least_memory)
        find(d, bl_format("the machine has %.0f MiB of memory: take small batches, and --recompute auto",
                          host->memory / mib));
}

/* What a user may have set and forgotten. */
static void look_at_environment(struct doctor *d) {
    static const char *const told[] = {"BLANCH_DEVICE",          "BLANCH_VERBOSE",  "XDG_CACHE_HOME",
                                       "OPENCL_VENDOR_PATH",     "OCL_ICD_VENDORS", "RUSTICL_ENABLE",
                                       "POCL_MAX_PTHREAD_COUNT", "POCL_DEVICES"};
    static const char *const choose[] = {"BLANCH_CONV", "BLANCH_GEMM",   "BLANCH_KIND", "BLANCH_KERNELS",
                                         "BLANCH_FUSE", "BLANCH_POISON", "BLANCH_TUNE"};
    char *set = bl_format("%s", "");
    for (int i = 0; i < BL_COUNT(told) + BL_COUNT(choose); i++) {
        const char *name = i < BL_COUNT(told) ? told[i] : choose[i - BL_COUNT(told)], *value = getenv(name);
        if (!value || !*value) continue;
        char *word = bl_format("%s=%s", name, value);
        set = append(set, " ", word ? word : name);
        free(word);
        if (i >= BL_COUNT(told))
            note(d, bl_format("%s=%s changes which kernels run: unset it unless that is meant", name, value));
    }
    static const char *const places[] = {"OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH"};
    for (int i = 0; i < BL_COUNT(places); i++) {
        const char *value = getenv(places[i]);
        if (value && strchr(value, '/') && access(value, F_OK))
            find(d, bl_format("%s=%s, where drivers are looked for, is not there: unset it", places[i], value));
    }
    put(d, "environment", set);
}

/* --- drivers ---------------------------------------------------------------------------------- */

/* The number that a file of the kernel's begins with, hexadecimal; 0. */
static unsigned long read_hex(const char *folder, const char *name) {
    char path[512], text[32] = "";
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = 0;
    return strtoul(text, NULL, 16);
}

static const struct {
    unsigned long id;
    const char *name, *driver;
} makers[] = {
    {0x1002, "AMD", "ROCm's OpenCL (rocm-opencl-icd), or Mesa's (mesa-opencl-icd) with RUSTICL_ENABLE=radeonsi"},
    {0x10de, "NVIDIA", "NVIDIA's driver with its OpenCL library (nvidia-opencl-icd on Debian)"},
    {0x8086, "Intel", "Intel's compute runtime (intel-opencl-icd)"},
};

static int is_card(const struct dirent *entry) {
    return !strncmp(entry->d_name, "card", 4) && !strchr(entry->d_name, '-');
}

/* Cards that the kernel knows; a finding each where OpenCL shows no GPU. */
static void look_at_cards(struct doctor *d) {
    struct dirent **entries = NULL;
    int count = scandir("/sys/class/drm", &entries, is_card, alphasort);
    char *cards = bl_format("%s", "");
    for (int i = 0; i < count; i++) {
        char folder[400], card[64];
        snprintf(folder, sizeof folder, "/sys/class/drm/%.64s/device", entries[i]->d_name);
        unsigned long vendor = read_hex(folder, "vendor"), product = read_hex(folder, "device");
        free(entries[i]);
        for (int m = 0; m < BL_COUNT(makers); m++) {
            if (makers[m].id != vendor) continue;
            snprintf(card, sizeof card, "%s %04lx:%04lx", makers[m].name, vendor, product);
            cards = append(cards, ", ", card);
            if (!d->gpus)
                find(d, bl_format("a card is there (%s) and no OpenCL driver shows a GPU: install %s", card,
                                  makers[m].driver));
        }
    }
    free(entries);
    put(d, "cards", cards);
}

static void look_at_drivers(struct doctor *d) {
    char *hints = bl_hints();
    for (char *end, *line = hints; line && (end = strchr(line, '\n')); line = end + 1)
        find(d, bl_format("%.*s", (int)(end - line), line));
    free(hints);
    look_at_cards(d);
}

/* --- devices ---------------------------------------------------------------------------------- */

struct shown {
    struct doctor *doctor;
    const struct blanch_device_info *info;
    cJSON *checks; // NULL: text
};

static void show_check(const struct shown *s, const char *name, enum bl_verdict verdict, const char *detail) {
    static const char *const verdicts[] = {"available", "missing", "failed"};
    if (s->checks) {
        cJSON *entry = cJSON_CreateObject();
        cJSON_AddStringToObject(entry, "probe", name);
        cJSON_AddStringToObject(entry, "verdict", verdicts[verdict]);
        cJSON_AddStringToObject(entry, "detail", detail);
        cJSON_AddItemToArray(s->checks, entry);
        return;
    }
    printf("     %s: %s%s%s\n", name, verdicts[verdict], verdict == BL_AVAILABLE ? ", " : " - ", bl_shown(detail));
    fflush(stdout); // before a driver ends the process
}

static void probed(void *context, const char *name, enum bl_verdict verdict, const char *detail) {
    const struct shown *s = context;
    show_check(s, name, verdict, detail);
    if (verdict == BL_FAILED)
        find(s->doctor,
             bl_format("%s: %s: %s: try another version of its driver, and report it", s->info->name, name, detail));
    if (verdict == BL_MISSING && !strcmp(name, "event times"))
        find(s->doctor, bl_format("%s: %s: steps are timed, layers cannot be", s->info->name, detail));
}

/* Steps of small networks against plain C, and how fast simple kernels are. */
static int try_networks(const struct shown *s, struct blanch_device *dev) {
    struct bl_suite_result *found = bl_calloc(1, sizeof *found);
    struct bl_limits limits = {0};
    char text[512];
    int code = found ? bl_suite_validate(dev, found) : BLANCH_ENOMEM, failed = 0;
    for (int i = 0; found && i < found->checks && !code; i++) {
        const struct bl_suite_check *check = &found->check[i];
        bool good = check->passed > 0;
        if (good)
            snprintf(text, sizeof text, "a step is right, within %.1g", check->largest_error);
        else
            snprintf(text, sizeof text, "%s", check->message);
        char *name = bl_format("network %s", check->name);
        probed((void *)s, name ? name : check->name, good ? BL_AVAILABLE : BL_FAILED, text);
        free(name);
        failed += !good;
    }
    if (!code) code = bl_limits_get(dev, true, &limits);
    snprintf(text, sizeof text, "%.4g GFlop/s, %.4g GB/s, the most that was ever measured", limits.operations / 1e9,
             limits.bytes / 1e9);
    if (*limits.lacking) snprintf(text, sizeof text, "%s", limits.lacking);
    if (!code) show_check(s, "limits", *limits.lacking ? BL_MISSING : BL_AVAILABLE, text);
    free(found);
    return code ? code : failed ? bl_fail(BLANCH_EDEVICE, "%s computes wrong results", s->info->name) : 0;
}

static int look_at_device(struct doctor *d, const struct blanch_device_info *info, cJSON *json) {
    struct blanch_device *dev = NULL;
    struct shown shown = {.doctor = d, .info = info};
    char spec[32];
    cJSON *entry = json ? bl_device_listing(info) : NULL;
    if (entry) {
        cJSON_AddItemToArray(json, entry);
        shown.checks = cJSON_AddArrayToObject(entry, "checks");
    } else
        bl_print_device(info);
    d->devices++;
    d->gpus += info->kind == BLANCH_GPU;
    snprintf(spec, sizeof spec, "%d:%d", info->platform, info->device);
    int code = blanch_device_open(&dev, spec, 0);
    if (code) probed(&shown, "opening", BL_FAILED, blanch_error_message());
    if (!code) code = bl_probe_device(dev, probed, &shown);
    if (!code && !d->quick) code = try_networks(&shown, dev);
    if (code && !d->code) d->code = code, snprintf(d->message, sizeof d->message, "%s", blanch_error_message());
    blanch_device_close(dev);
    return code == BLANCH_EINTERRUPTED || code == BLANCH_ENOMEM ? code : 0;
}

/* What commands without --device take. */
static void look_at_chosen(struct doctor *d) {
    const char *name = getenv("BLANCH_DEVICE");
    struct blanch_device *dev = NULL;
    if (!name || !*name) return;
    if (blanch_device_open(&dev, NULL, 0))
        find(d, bl_format("BLANCH_DEVICE=%s, which every command takes, leads nowhere: %s; unset it, or name one of "
                          "`blanch devices`",
                          name, blanch_error_message()));
    blanch_device_close(dev);
}

/* Why is told once: where a driver is silent, look_at_drivers() tells it. */
static void find_no_device(struct doctor *d, int code) {
    char *message = bl_strdup(blanch_error_message()), *hints = bl_hints();
    find(d, hints && *hints ? bl_format("no device: no driver that is installed shows one")
                            : bl_format("no device: %s", message ? message : blanch_error_text(code)));
    d->code = code;
    snprintf(d->message, sizeof d->message, "there is no device: what was found says why");
    free(message), free(hints);
}

static int look_at_devices(struct doctor *d, const char *wanted) {
    struct blanch_device_info **infos = NULL;
    struct blanch_device *dev = NULL;
    cJSON *json = d->json ? cJSON_AddArrayToObject(d->json, "devices") : NULL;
    int count = 0, code;
    if (wanted) {
        code = blanch_device_open(&dev, wanted, 0);
        struct blanch_device_info info;
        if (!code) info = *blanch_device_info(dev);
        blanch_device_close(dev);
        return code ? code : look_at_device(d, &info, json);
    }
    code = blanch_devices_list(&infos, &count);
    if (code) find_no_device(d, code);
    code = 0;
    for (int i = 0; infos && i < count && !code; i++) code = look_at_device(d, infos[i], json);
    if (infos && !code) look_at_chosen(d);
    free(infos);
    return code;
}

/* --- caches ----------------------------------------------------------------------------------- */

/* Bytes of the files in a folder. */
static double folder_bytes(const char *path) {
    double sum = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat status;
        if (!fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) && S_ISREG(status.st_mode))
            sum += (double)status.st_size;
    }
    if (folder) closedir(folder);
    return sum;
}

static void look_at_caches(struct doctor *d) {
    static const char *const names[] = {"programs", "tune", "limits"};
    char *text = bl_format("%s", "");
    bool absent = false;
    double free_bytes = NAN;
    for (int i = 0; i < BL_COUNT(names); i++) {
        struct bl_cache cache;
        bl_cache_open(&cache, names[i]);
        absent = absent || !cache.path;
        struct statvfs disk;
        if (cache.path && !fstatvfs(cache.folder, &disk)) free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
        char *one = cache.path ? bl_format("%s %.1f MiB", cache.path, folder_bytes(cache.path) / mib) : NULL;
        if (one) text = append(text, ", ", one);
        free(one);
        bl_cache_close(&cache);
    }
    char *space = isnan(free_bytes) ? NULL : bl_format("%.0f MiB free", free_bytes / mib);
    if (space) text = append(text, "; ", space);
    free(space);
    put(d, "caches", text);
    if (absent)
        find(d, bl_format("there is no cache: every start compiles and measures again; set XDG_CACHE_HOME to a folder "
                          "that this user alone can write"));
    if (free_bytes < least_disk)
        find(d,
             bl_format("%.0f MiB are free where the caches are: make room, or set XDG_CACHE_HOME", free_bytes / mib));
}

/* --- the subcommand --------------------------------------------------------------------------- */

static void show_findings(struct doctor *d) {
    cJSON *array = d->json ? cJSON_AddArrayToObject(d->json, "findings") : NULL;
    if (!array) printf(d->findings ? "\n%d found:\n" : "\nnothing is wrong\n", d->findings);
    for (int i = 0; i < d->findings; i++) {
        if (array)
            cJSON_AddItemToArray(array, cJSON_CreateString(d->finding[i]));
        else
            printf("%3d. %s\n", i + 1, bl_shown(d->finding[i]));
        free(d->finding[i]);
    }
}

static int run(int argc, char **argv) {
    bool help, json = false;
    const char *device = NULL;
    struct doctor d = {0};
    const struct bl_option options[] = {
        {"device", BL_OPT_TEXT, &device, 0, 0, "DEVICE", "this one alone"},
        {"quick", BL_OPT_FLAG, &d.quick, 0, 0, NULL, "without networks and limits, which take the longest"},
        {"json", BL_OPT_FLAG, &json, 0, 0, NULL, "one JSON document on standard output"},
        {0},
    };
    int code = bl_options_parse(&bl_command_doctor, options, argc, argv, NULL, &help);
    if (code || help) return code;
    if (json && !(d.json = bl_document("doctor", NULL, bl_options_json(options))))
        return bl_fail(BLANCH_ENOMEM, "out of host memory");
    look_at_machine(&d);
    look_at_environment(&d);
    code = look_at_devices(&d, device);
    if (!code) look_at_drivers(&d);
    if (!code) look_at_caches(&d);
    show_findings(&d);
    if (code) return cJSON_Delete(d.json), code;
    code = json ? bl_print_json(d.json) : 0;
    if (d.code) return bl_fail(d.code, "%s", d.message);
    return code ? code : d.findings > d.notes;
}

const struct bl_command bl_command_doctor = {
    .name = "doctor",
    .summary = "says what is wrong here, and what a report of a fault needs",
    .usage =
        "usage: blanch doctor [--device DEVICE] [--quick] [--json]\n"
        "\n"
        "Tells version, machine, drivers, devices and caches, tries on every device what Blanch relies on and steps "
        "of\n"
        "small networks against plain C, and ends with what is wrong, each with what to do: drivers that show no\n"
        "device, missing permissions, wrong results, variables that were left set, full disks. A report of a fault\n"
        "should have its output. Exit status 1 where something is wrong, 3 where a device fails.\n",
    .run = run,
};
