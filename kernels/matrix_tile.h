/* A tile of a product by a device's matrix units: how the waves of a group share it, and what is done of a piece of
 * both factors. For kernels that include it first.
 *
 *  UNIT, WAVE, ACT_TYPE  as in matrix.h; required
 *  WAVES_DOWN, WAVES_ACROSS  waves of a group; required
 *  DOWN, ACROSS  rows and columns of a wave, multiples of matrix.h's FM and FN; required
 *  KC  terms of a sum that are in local memory at a time: 16 or 32; required
 */
#if !defined(UNIT) || !defined(WAVE) || !defined(WAVES_DOWN) || !defined(WAVES_ACROSS) || !defined(DOWN) ||            \
    !defined(ACROSS) || !defined(KC) || !defined(ACT_TYPE)
#error "a tile by matrix units needs UNIT, WAVE, WAVES_DOWN, WAVES_ACROSS, DOWN, ACROSS, KC and ACT_TYPE"
#endif
#define VEC 1
#include "vec.h"

#include "fma.h"

#include "loop.h"

#define PITCH (KC / 2 + 4) // uints from line to line: those that a wave reads at once lie in different banks
#include "matrix.h"

#define ITEMS (WAVE * WAVES_DOWN * WAVES_ACROSS)
#define DEEP (DOWN * WAVES_DOWN)
#define OUTS (ACROSS * WAVES_ACROSS)
#define PARTS_DOWN (DOWN / FM)
#define PARTS_ACROSS (ACROSS / FN)
#if UNIT == 4
#define GROUP __attribute__((reqd_work_group_size(WAVE * WAVES_ACROSS, WAVES_DOWN, 1), intel_reqd_sub_group_size(WAVE)))
#else
#define GROUP __attribute__((reqd_work_group_size(WAVE * WAVES_ACROSS, WAVES_DOWN, 1)))
#endif

/* Which lines a wave has, from which on and how far apart. Where items multiply alone, those side by side have lines
 * side by side. */
#if WAVE == 1
#define STEP_DOWN WAVES_DOWN
#define STEP_ACROSS WAVES_ACROSS
#define FIRST_ROW(f) (wave_row + (f)*FM * WAVES_DOWN)
#define FIRST_COLUMN(f) (wave_col + (f)*FN * WAVES_ACROSS)
#else
#define STEP_DOWN 1
#define STEP_ACROSS 1
#define FIRST_ROW(f) (wave_row * DOWN + (f)*FM)
#define FIRST_COLUMN(f) (wave_col * ACROSS + (f)*FN)
#endif

/* a, b: pieces of the factors. */
#define MULTIPLY_PIECE(a, b)                                                                                           \
    LOOP for (int k = 0; k < KC / FK; k++) {                                                                           \
        left_part left[PARTS_DOWN];                                                                                    \
        LOOP for (int i = 0; i < PARTS_DOWN; i++) left[i] =                                                            \
            load_left((a) + FIRST_ROW(i) * PITCH + k * (FK / 2), STEP_DOWN, lane);                                     \
        LOOP for (int j = 0; j < PARTS_ACROSS; j++) {                                                                  \
            const right_part right = load_right((b) + FIRST_COLUMN(j) * PITCH + k * (FK / 2), STEP_ACROSS, lane);      \
            LOOP for (int i = 0; i < PARTS_DOWN; i++) {                                                                \
                MULTIPLY_PARTS(left[i], right, sums[i * PARTS_ACROSS + j])                                             \
            }                                                                                                          \
        }                                                                                                              \
    }
#define CLEAR_SUMS LOOP for (int i = 0; i < PARTS_DOWN * PARTS_ACROSS; i++) sums[i] = (sums_part)(0.0f);

#define WHERE                                                                                                          \
    const int id = get_local_id(1) * (WAVE * WAVES_ACROSS) + get_local_id(0), lane = get_local_id(0) % WAVE;           \
    const int wave_row = get_local_id(1), wave_col = get_local_id(0) / WAVE;
