/* cJSON's memory, and what it does not tell. */
#include "io/files.h"
#include <stdlib.h>

/* Before there is any JSON and any thread. */
__attribute__((constructor)) static void hook(void) {
    cJSON_Hooks hooks = {.malloc_fn = bl_malloc, .free_fn = free};
    cJSON_InitHooks(&hooks);
}

char *bl_json_print(const cJSON *json, bool formatted) {
    char *text = !json ? NULL : formatted ? cJSON_Print(json) : cJSON_PrintUnformatted(json);
    if (!bl_memory_lacked()) return text;
    free(text);
    return NULL;
}
