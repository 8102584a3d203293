/* A register tile of TM rows: EACH_ROW(X) says X(0) to X(TM - 1), so that accumulators are named variables (as an array
 * they would leave the registers).
 *
 *  TM  rows: 1 to 6, 8, 10 or 12; required
 */
#ifndef TM
#error "TM is missing"
#endif

#include "fma.h"

#if TM == 1
#define EACH_ROW(X) X(0)
#elif TM == 2
#define EACH_ROW(X) X(0) X(1)
#elif TM == 3
#define EACH_ROW(X) X(0) X(1) X(2)
#elif TM == 4
#define EACH_ROW(X) X(0) X(1) X(2) X(3)
#elif TM == 5
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4)
#elif TM == 6
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#elif TM == 8
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#elif TM == 10
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)
#elif TM == 12
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#error "TM is 1 to 6, 8, 10 or 12"
#endif
