/* An operation's attributes to and from JSON, by its table of fields. */
#ifndef BL_ATTRS_H
#define BL_ATTRS_H

#include "graph/op.h"
#include <cjson/cJSON.h>

/* Fills attrs (op->attrs_size bytes, zeroed first). Keys that the operation does not know are ignored; a missing one
 * that it needs, or one of the wrong type, is BLANCH_EINPUT, the message naming it. */
int bl_attrs_from_json(const struct bl_op *op, const cJSON *json, void *attrs);
cJSON *bl_attrs_to_json(const struct bl_op *op, const void *attrs); // NULL: no memory

#endif
