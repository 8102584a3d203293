/* Why a driver that is installed shows no device: what the OpenCL loader passes over in silence. */
#include "cl/hint.h"
#include "cl/cl_raw.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Adds a line, which it frees; NULL for no memory. */
static int add(char **hints, char *hint) {
    if (hint)
        for (char *at = hint; *at; at++)
            if (*at == '\n') *at = ' ';
    char *both = hint ? bl_format("%s%s\n", *hints, hint) : NULL;
    free(hint);
    if (!both) return BLANCH_ENOMEM;
    free(*hints);
    *hints = both;
    return 0;
}

/* --- drivers ---------------------------------------------------------------------------------- */

/* Mesa's offers devices only where it is told the driver by name, and none at all otherwise. */
static bool rusticl_has_devices(void) {
    cl_platform_id platforms[32];
    cl_uint count = 0, devices = 0;
    char name[128];
    if (clGetPlatformIDs(BL_COUNT(platforms), platforms, &count)) return false;
    for (cl_uint p = 0; p < count && p < BL_COUNT(platforms); p++) {
        memset(name, 0, sizeof name);
        if (clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof name - 1, name, NULL)) continue;
        if (!strcmp(name, "rusticl") && !clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 0, NULL, &devices) && devices)
            return true;
    }
    return false;
}

static char *hint_of_rusticl(const char *path) {
    const char *enabled = getenv("RUSTICL_ENABLE");
    if (enabled && *enabled)
        return bl_format("%s: RUSTICL_ENABLE=%s gives no device: radeonsi is for AMD, iris for Intel, nouveau for "
                         "NVIDIA, llvmpipe for the CPU",
                         path, enabled);
    return bl_format("%s: rusticl shows no device until RUSTICL_ENABLE names a driver: radeonsi for AMD, iris for "
                     "Intel, nouveau for NVIDIA, llvmpipe for the CPU",
                     path);
}

/* The first line of an .icd file names a library, which the loader has loaded by now, or could not. */
static int look_at_file(char **hints, const char *path) {
    char line[1024] = "";
    FILE *file = fopen(path, "r");
    if (!file) return add(hints, bl_format("%s cannot be read: %s", path, strerror(errno)));
    const bool read = fgets(line, sizeof line, file);
    fclose(file);
    line[strcspn(line, "\r\n")] = 0;
    if (!read || !*line) return add(hints, bl_format("%s names no library: install its driver again", path));
    void *library = dlopen(line, RTLD_LAZY | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        return add(hints, bl_format("%s: its library does not load (%s): install the driver again, or what that lacks",
                                    path, why ? why : line));
    }
    dlclose(library);
    return strstr(line, "RusticlOpenCL") && !rusticl_has_devices() ? add(hints, hint_of_rusticl(path)) : 0;
}

static int is_icd(const struct dirent *entry) {
    const size_t length = strlen(entry->d_name);
    return length > 4 && !strcmp(entry->d_name + length - 4, ".icd");
}

static int look_at_drivers(char **hints) {
    const char *place = getenv("OPENCL_VENDOR_PATH");
    if (!place || !*place) place = getenv("OCL_ICD_VENDORS");
    if (!place || !*place) place = "/etc/OpenCL/vendors";
    struct stat status;
    if (!stat(place, &status) && S_ISREG(status.st_mode)) return look_at_file(hints, place);
    struct dirent **entries = NULL;
    const int count = scandir(place, &entries, is_icd, alphasort);
    int code = 0;
    for (int i = 0; i < count; i++) {
        char *path = code ? NULL : bl_format("%s/%s", place, entries[i]->d_name);
        if (!code) code = path ? look_at_file(hints, path) : BLANCH_ENOMEM;
        free(path), free(entries[i]);
    }
    free(entries);
    return code;
}

/* --- devices of GPUs -------------------------------------------------------------------------- */

static int look_at_node(char **hints, const char *path) {
    struct stat status;
    if (!access(path, R_OK | W_OK) || errno != EACCES || stat(path, &status)) return 0;
    const struct group *group = getgrgid(status.st_gid);
    return add(hints, bl_format("%s, a GPU, may not be opened by this user: join the group %s (usermod -aG) and log in "
                                "again",
                                path, group ? group->gr_name : "that it belongs to"));
}

static int is_render_node(const struct dirent *entry) {
    return !strncmp(entry->d_name, "renderD", 7);
}

static int look_at_nodes(char **hints) {
    struct dirent **entries = NULL;
    const int count = scandir("/dev/dri", &entries, is_render_node, alphasort);
    int code = 0;
    for (int i = 0; i < count; i++) {
        char *path = code ? NULL : bl_format("/dev/dri/%s", entries[i]->d_name);
        if (!code) code = path ? look_at_node(hints, path) : BLANCH_ENOMEM;
        free(path), free(entries[i]);
    }
    free(entries);
    return code ? code : look_at_node(hints, "/dev/kfd");
}

char *bl_hints(void) {
    char *hints = bl_format("%s", "");
    if (!hints || look_at_drivers(&hints) || look_at_nodes(&hints)) return free(hints), NULL;
    return hints;
}
