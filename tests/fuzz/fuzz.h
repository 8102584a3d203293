/* What fuzz targets share. Each is one file with LLVMFuzzerTestOneInput, which a fuzzer calls with an input again and
 * again (README.md). */
#ifndef BL_FUZZ_H
#define BL_FUZZ_H

#include "base/base.h"
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Readers take paths; a system call costs more than most of them. So a file of a target is memory: from now on
 * "memory/NAME" is a regular file with these bytes, which stay the caller's as the name does, and "memory" and what
 * slashes make of names are folders. The last of equal names counts; NULL data: there is none of that name. */
#define IN_MEMORY "memory"
enum { MEMORY_FILES = 32 }; // at most
void memory_file(const char *name, const void *data, size_t size);
void memory_clear(void);      // takes all files away
extern size_t memory_written; // bytes that bl_file_write was given last for a file there; they are dropped

/* Ends the process unless code is 0, or an error that has its message, as one line. */
void expect(int code);
/* The same of what the target is for, at its end: 0: the reader took the input. A replay of which no seed gets that far
 * fails, for such a target tries nothing. */
void expect_read(int code);
extern bool input_read;

/* Whether a list of parts is at its end; the next part up to a zero byte, which is passed. */
struct part {
    const uint8_t *data;
    size_t size;
};
struct part next_part(struct part *rest);
char *part_text(struct part part); // malloc'd, with a NUL after it

#endif
