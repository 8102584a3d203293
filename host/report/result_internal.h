/* What the files of results share: the keys of their numbers, which one table each writes and reads. */
#ifndef BL_RESULT_INTERNAL_H
#define BL_RESULT_INTERNAL_H

#include "report/result.h"

enum { BL_EXACT = 0, BL_FLAG = -1, BL_OR_AUTO = -2 }; // digits: all; true or false; all, and below 0 "auto"
struct bl_result_field {
    const char *key, *short_key; // short_key: in the files of a bench and of a ledger; NULL: the same
    size_t offset;               // of a double
    int digits;
};
/* Each ends with a NULL key. */
extern const struct bl_result_field bl_nd_fields[], bl_update_fields[], bl_epoch_fields[], bl_point_fields[],
    bl_decision_fields[], bl_decision_layer_fields[], bl_budget_fields[], bl_rank_fields[], bl_run_fields[],
    bl_pair_fields[], bl_document_fields[];

static inline double *bl_field_of(const struct bl_result_field *field, void *of) {
    return (double *)((char *)of + field->offset);
}
static inline double bl_field_value(const struct bl_result_field *field, const void *of) {
    return *(const double *)((const char *)of + field->offset);
}
static inline bool bl_field_is_auto(const struct bl_result_field *field, double value) {
    return field->digits == BL_OR_AUTO && value < 0;
}
void bl_fields_clear(const struct bl_result_field *fields, void *of);                   // all NAN
void bl_fields_add(cJSON *json, const struct bl_result_field *fields, const void *of);  // those that are finite
void bl_fields_read(const cJSON *json, const struct bl_result_field *fields, void *of); // those that are there
void bl_text_read(const cJSON *json, const char *key, char *text, size_t size);         // "": it is not there

#endif
