/* The nodes of a description: names, operations, connections. */
#include "base/text.h"
#include "graph/described_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 128, MOST_SIZE = 1 << 20 };

const cJSON *bl_described_item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

int bl_described_sizes(const cJSON *list, const char *where, const char *key, int size[3]) {
    const cJSON *entry = cJSON_IsArray(list) ? list->child : NULL;
    int count = 0;
    size[0] = size[1] = size[2] = 1;
    for (; entry && count < 3; entry = entry->next, count++)
        if (!bl_json_int(entry, &size[count]) || size[count] < 1 || size[count] > MOST_SIZE) break;
    if (count && !entry) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not one to three sizes from 1 to %d", where, key, MOST_SIZE);
}

void bl_described_where(const struct row *row, char where[BL_WHERE]) {
    snprintf(where, BL_WHERE, "node '%s'", row->id);
}

static int read_text(const struct row *row, const char *key, const char **text) {
    const cJSON *value = bl_described_item(row->json, key);
    *text = value ? cJSON_GetStringValue(value) : "";
    if (!*text) return bl_fail(BLANCH_EINPUT, "node %s: \"%s\" is not a text", row->place, key);
    if (strlen(*text) > BL_LONGEST_NAME)
        return bl_fail(BLANCH_EINPUT, "node %s: \"%s\" is longer than %d characters", row->place, key, BL_LONGEST_NAME);
    if (bl_text_show(NULL, 0, *text) == strlen(*text)) return 0; // it would act on whoever shows it
    return bl_fail(BLANCH_EINPUT, "node %s: \"%s\", '%s', has characters that are not to be shown", row->place, key,
                   *text);
}

static int unknown_operation(const struct row *row, const char *name) {
    enum { MOST = 200 };
    const char *names[MOST + 1] = {NULL};
    for (int i = 0, n = 0; bl_op_list[i] && n < MOST; i++)
        if (bl_op_list[i] != bl_op_find("softmax_cross_entropy")) names[n++] = bl_op_list[i]->name;
    const char *near = bl_nearest(name, names);
    return bl_fail(BLANCH_EINPUT, "node '%s': there is no operation '%s'%s%s%s", row->id, name,
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int read_operation(struct row *row, int at) {
    const char *name;
    int code = read_text(row, "op", &name);
    if (code) return code;
    if (!*name) return bl_fail(BLANCH_EINPUT, "node '%s': \"op\", its operation, is missing", row->id);
    if (!strcmp(name, "input") && at == 0 && row->unused)
        return bl_fail(BLANCH_EINPUT, "node '%s': the image cannot be \"unused\"", row->id);
    if (!strcmp(name, "input") && at == 0) return 0;
    if (!strcmp(name, "input"))
        return bl_fail(BLANCH_EINPUT, "node '%s': an input can be the first node alone", row->id);
    row->op = bl_op_find(name);
    if (!row->op) return unknown_operation(row, name);
    if (row->op != bl_op_find("softmax_cross_entropy")) return 0;
    return bl_fail(BLANCH_EINPUT, "node '%s': %s is a loss; a description ends with the logits", row->id, name);
}

static int read_name(const struct described *d, struct row *row, int at) {
    static const char *const keys[] = {"id",  "op",     "inputs", "name",          "attrs", "nd",
                                       "out", "unused", "keep",   "multiply_adds", NULL};
    char where[BL_WHERE];
    if (!cJSON_IsObject(row->json)) return bl_fail(BLANCH_EINPUT, "node %s: it is no JSON object", row->place);
    int code = read_text(row, "id", &row->id);
    if (!code) code = read_text(row, "name", &row->name);
    if (code) return code;
    if (!*row->id) row->id = *row->name ? row->name : row->place;
    if (!*row->name) row->name = row->id;
    bl_described_where(row, where);
    if ((code = bl_json_keys(row->json, keys, where, "key"))) return code;
    const cJSON *unused = bl_described_item(row->json, "unused");
    if (unused && !cJSON_IsBool(unused)) return bl_fail(BLANCH_EINPUT, "%s: \"unused\" is not true or false", where);
    row->unused = cJSON_IsTrue(unused);
    for (int i = 0; i < at; i++)
        if (!strcmp(d->row[i].id, row->id))
            return bl_fail(BLANCH_EINPUT, "node %s: its id, '%s', is that of %s", row->place, row->id,
                           d->row[i].json ? "one before it" : "the image");
    return read_operation(row, at);
}

/* "ID" or "ID:OUTPUT", of a node before `end`. The nearest come first: most inputs are. */
static int find_row(const struct described *d, const char *id, int end, int *output) {
    const char *colon = strrchr(id, ':');
    *output = 0;
    for (int i = end; i-- > 0;)
        if (!strcmp(d->row[i].id, id)) return i;
    long long number;
    if (!colon || !bl_text_whole(colon + 1, &number) || number < 1 || number >= BL_MAX_OUTPUTS) return -1;
    *output = (int)number;
    for (int i = end; i-- > 0;)
        if (!strncmp(d->row[i].id, id, (size_t)(colon - id)) && !d->row[i].id[colon - id]) return i;
    return -1;
}

/* What is never run gives nothing, but to what is never run either. */
static int check_used(const struct described *d, const struct row *row) {
    for (int i = 0; i < row->inputs && !row->unused; i++) {
        const struct row *from = row->in[i].row < 0 ? row : &d->row[row->in[i].row];
        if (from->unused)
            return bl_fail(BLANCH_EINPUT, "node '%s': its input '%s' is \"unused\", which is never run", row->id,
                           from->id);
    }
    return 0;
}

/* What is left out is the node before. */
static int link_before(const struct described *d, struct row *row, int at) {
    int before = at - 1;
    while (before > 0 && d->row[before].unused) before--;
    if (!row->op) return 0;
    if (!(row->in = bl_calloc(1, sizeof *row->in))) return BLANCH_ENOMEM;
    row->in[row->inputs++] = (struct link){before, 0};
    return 0;
}

static bool is_labels(const struct described *d, const struct row *row, const cJSON *id) {
    return d->description->generates && row->op == bl_op_find("embedding") && cJSON_IsString(id) &&
           !strcmp(id->valuestring, "labels");
}

static int read_inputs(const struct described *d, struct row *row, int at) {
    const cJSON *inputs = bl_described_item(row->json, "inputs"), *id;
    const int count = cJSON_GetArraySize(inputs), most = row->op == bl_op_find("cat") ? MOST_INPUTS : BL_MAX_INPUTS;
    if (!inputs) return link_before(d, row, at);
    if (!cJSON_IsArray(inputs)) return bl_fail(BLANCH_EINPUT, "node '%s': \"inputs\" is no list", row->id);
    if (count && !row->op) return bl_fail(BLANCH_EINPUT, "node '%s': the input has no inputs", row->id);
    if (count > most) return bl_fail(BLANCH_EINPUT, "node '%s': %d inputs, more than %d", row->id, count, most);
    if (!(row->in = bl_calloc((size_t)count + 1, sizeof *row->in))) return BLANCH_ENOMEM;
    cJSON_ArrayForEach(id, inputs) {
        struct link *link = &row->in[row->inputs++];
        link->row = cJSON_IsString(id) ? find_row(d, id->valuestring, at, &link->output) : -1;
        if (link->row < 0 && is_labels(d, row, id))
            link->row = BL_LABELS;
        else if (link->row < 0)
            return bl_fail(BLANCH_EINPUT, "node '%s': no node before it is called '%s'", row->id,
                           cJSON_IsString(id) ? id->valuestring : "");
    }
    return check_used(d, row);
}

/* Which a description may end in. */
static int check_losses(const struct described *d) {
    for (int i = 1; i < d->rows - 1; i++)
        if (d->row[i].op->role == BL_ROLE_LOSS)
            return bl_fail(BLANCH_EINPUT, "node '%s': %s is a loss, which the last node alone can be", d->row[i].id,
                           d->row[i].op->name);
    return 0;
}

/* A list that does not begin with the input gets one, called "input". */
int bl_described_rows(struct described *d) {
    const cJSON *nodes = bl_described_item(d->description->json, "graph"), *node;
    const int count = cJSON_IsArray(nodes) ? cJSON_GetArraySize(nodes) : 0;
    if (count < 1) return bl_fail(BLANCH_EINPUT, "\"graph\", the list of nodes, is missing or empty");
    if (count > BL_MOST_LAYERS)
        return bl_fail(BLANCH_EINPUT, "\"graph\" has %d nodes, more than %d", count, BL_MOST_LAYERS);
    if (!(d->row = bl_calloc((size_t)count + 1, sizeof *d->row))) return BLANCH_ENOMEM;
    const char *first = cJSON_GetStringValue(bl_described_item(nodes->child, "op"));
    int place = 0, code = 0;
    if (!first || strcmp(first, "input")) d->row[d->rows++] = (struct row){.id = "input", .name = "input"};
    cJSON_ArrayForEach(node, nodes) {
        struct row *row = &d->row[d->rows];
        row->json = node;
        snprintf(row->place, sizeof row->place, "%d", place++);
        code = read_name(d, row, d->rows);
        if (!code) code = read_inputs(d, row, d->rows);
        d->rows++;
        if (code) return code;
    }
    const struct row *last = &d->row[d->rows - 1];
    if (last->unused || d->rows < 2)
        return bl_fail(BLANCH_EINPUT, "node '%s': the last node gives the logits%s", last->id,
                       last->unused ? ": it cannot be \"unused\"" : "");
    return check_losses(d);
}

void bl_described_free(struct described *d) {
    for (int i = 0; i < d->rows; i++) free(d->row[i].in);
    free(d->row);
}
