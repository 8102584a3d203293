/* cJSON's memory, and what it does not tell. */
#include "io/files.h"
#include <stdlib.h>

static _Thread_local bool lacking;

static void *take(size_t size) {
    void *data = bl_malloc(size);
    lacking |= !data;
    return data;
}

/* Before there is any JSON and any thread. */
__attribute__((constructor)) static void hook(void) {
    cJSON_Hooks hooks = {.malloc_fn = take, .free_fn = free};
    cJSON_InitHooks(&hooks);
}

int bl_json_memory(void) {
    const bool was = lacking;
    lacking = false;
    return was ? bl_fail(BLANCH_ENOMEM, "out of host memory for JSON") : 0;
}

char *bl_json_print(const cJSON *json, bool formatted) {
    char *text = !json ? NULL : formatted ? cJSON_Print(json) : cJSON_PrintUnformatted(json);
    if (!bl_json_memory()) return text;
    free(text);
    return NULL;
}
