/* What the files of `blanch study` share: the published tables, the cells of a folder, the rows that they make. */
#ifndef BL_STUDY_H
#define BL_STUDY_H

#include "cli.h"
#include "io/document.h"

/* One published cell, from tests/reference/study by study_facts.py. Accuracies are test top-1 in per cent; NAN: not
 * stated. */
struct bl_study_fact {
    const char *dataset, *network, *norm;
    int epochs;
    double original, reproduced, seconds;
};
extern const struct bl_study_fact bl_study_facts[]; // ends with a NULL dataset

const struct bl_study_fact *bl_study_fact(const char *dataset, const char *network, const char *norm, int epochs);

/* A cell is a run directory DIR/DATASET-NETWORK-NORM-EPOCHS[-sSTEPS]-aATTEMPT. */
enum bl_cell_state { BL_CELL_NEW, BL_CELL_STARTED, BL_CELL_DONE, BL_CELL_DIVERGED };
struct bl_cell {
    char dataset[16], network[32], norm[8];
    int epochs, attempt; // attempts count from 1 and have the seed attempt - 1
    int64_t steps;       // 0: a whole cell; else the length to which --steps has shortened it
    enum bl_cell_state state;
    bool has_checkpoint;
    int epochs_done;
    double test_top1, train_top1; // of the last epoch; NAN: none yet
    double train_s, test_s;       // of all epochs so far
    char data[256];               // of its config.json; empty: none yet
    struct bl_device_facts device;
    struct bl_host host;
    char note[256]; // why it diverged
};
extern const char *const bl_cell_states[];
void bl_cell_name(const struct bl_cell *cell, char name[128]);
int bl_cell_read(struct bl_cell *cell, const char *dir);
int bl_cell_record_divergence(const struct bl_cell *cell, const char *dir, const char *message);
/* All cells of a folder, sorted as the table shows them; malloc'd. One whose files cannot be read is named on standard
 * error, counted in *left_out, and is none of them. */
int bl_cells_find(const char *dir, struct bl_cell **cells, int *count, int *left_out);

int bl_study_print(const struct bl_cell *cells, int count);
cJSON *bl_study_json(const char *dir, cJSON *settings, const struct bl_cell *cells, int count); // takes settings over

#endif
