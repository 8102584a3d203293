#include "base/path.h"
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
const char bl_separators[] = "/\\";
static const char in_no_name[] = "/\\:", home[] = "LOCALAPPDATA", cache[] = "", data[] = "";
#else
const char bl_separators[] = "/";
static const char in_no_name[] = "/", home[] = "HOME", cache[] = "/.cache", data[] = "/.local/share";
#endif

const char *bl_path_name(const char *path) {
    const char *name = path;
    for (const char *at = path; (at = strpbrk(at, bl_separators)); name = at) at++;
    return name;
}

bool bl_path_is_name(const char *name) {
    return *name && !strpbrk(name, in_no_name) && strcmp(name, ".") && strcmp(name, "..");
}

static char *folder(const char *variable, const char *in_home) {
    const char *own = getenv(variable), *of_user = getenv(home);
    if (own && *own) return bl_strdup(own);
    if (of_user && *of_user) return bl_format("%s%s", of_user, in_home);
    bl_fail(BLANCH_EINPUT, "neither %s nor %s is set", variable, home);
    return NULL;
}

char *bl_cache_home(void) {
    return folder("XDG_CACHE_HOME", cache);
}

char *bl_data_home(void) {
    return folder("XDG_DATA_HOME", data);
}
