/* This process, as the system has it. */
#ifndef BL_PROCESS_H
#define BL_PROCESS_H

#include <stdint.h>

/* Of what is closed of the standard streams, so that no file takes its number. */
void bl_process_open_streams(void);
/* Where the reader of standard output has left, the process ends, if that is how the system ends others. */
void bl_process_end_unread(void);
/* SIGHUP (unless it is ignored, as nohup does), SIGINT and SIGTERM end the process at once, with status 130. On
 * Windows: Ctrl-C, Ctrl-Break, the window's end. */
int bl_process_catch_signals(void);
/* From now on the first of them requests a stop, says so, and leaves the end to the command. */
void bl_end_in_order(void);
/* The same of a rank: mpirun sends some signals in a row before it kills, so that nothing is said, and no second one
 * ends the process at once. */
void bl_end_patiently(void);
int bl_terminal_columns(void); // of standard error; 0: it is no terminal
/* Seconds since the process was started, the time before main() included where the system tells it. */
double bl_process_age(void);
uint64_t bl_process_peak_bytes(void); // largest resident memory so far

#endif
