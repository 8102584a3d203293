/* What the files of `blanch study` share: the published tables, the cells of a folder, the rows that they make. */
#ifndef BL_STUDY_H
#define BL_STUDY_H

#include "cli.h"
#include "io/directory.h"
#include "io/document.h"
#include "train/train.h"

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
    int64_t steps_done;
    bool pixels;                  // its network labels them: mean IoU, and the share of pixels while training
    double test_top1, train_top1; // of the last epoch, or these; NAN: none yet
    double train_s, test_s;       // of all epochs so far
    char data[256], model[256];   // of its config.json; empty: none yet
    struct bl_device_facts device;
    struct bl_host host;
    char note[256]; // why it diverged
};
extern const char *const bl_cell_states[];
void bl_cell_name(const struct bl_cell *cell, char name[128]);
int bl_cell_read(struct bl_cell *cell, const char *dir);
/* What a run directory says of it, which may have any name: all but the names. epochs and steps are its length. */
int bl_cell_read_folder(struct bl_cell *cell, const char *folder);
int bl_cell_record_divergence(const char *folder, const char *message);
/* All cells of a folder, sorted as the table shows them; malloc'd. One whose files cannot be read is named on standard
 * error, counted in *left_out, and is none of them. */
int bl_cells_find(const char *dir, struct bl_cell **cells, int *count, int *left_out);

/* Where a cell is run: its folder out/name, `number` of `count` that are. */
struct bl_cell_place {
    const char *out, *name, *left; // left: what is said of the time, or ""
    int number, count;
    bool no_tune;
};
/* Trains it by o, whose folder and listener are set here, and reads it again. *status becomes that of the process where
 * the cell diverged or is left out. */
int bl_cell_run(struct bl_cell *cell, const struct bl_cell_place *place, const struct bl_train_options *o, int *status);
/* What a process left that was killed when it had a result: no other process opens that run any more. */
int bl_cell_clear(const char *out, const char *name);
/* After a blank; NAN is "-". format takes the one number. */
void bl_print_number(double value, int width, const char *format);
void bl_study_say_time(char *text, size_t size, double seconds); // "; about 5 min left in all"; NAN, negative: ""
int bl_study_lock(struct bl_lock *lock, const char *out);        // two at once would train the same cells

int bl_study_print(const struct bl_cell *cells, int count);
cJSON *bl_study_json(const char *dir, cJSON *settings, const struct bl_cell *cells, int count); // takes settings over

#endif
