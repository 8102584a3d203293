/* What the public calls share: what may not be NULL, and structs that begin with their size. */
#ifndef BL_PUBLIC_H
#define BL_PUBLIC_H

#include "base/base.h"

/* all: that everything is there which may not be NULL; 0 or BLANCH_EUSAGE, which names the call. */
int bl_given(bool all, const char *call);
/* The program's struct NAME, known bytes of it to this library. A field that is added to one begins where the struct
 * ended, padding included: who does not know the field leaves anything there. What the program does not know is zero
 * afterwards; what the library does not know has to be. BLANCH_EUSAGE: it is NULL, or its size is none. */
int bl_take(void *to, size_t known, const void *from, const char *name);
int bl_sized(const void *of, const char *name); // it could be filled; of NULL: BLANCH_EUSAGE
/* Fills it: size stays, what the library does not know becomes zero. */
int bl_give(void *to, const void *from, size_t known, const char *name);

#endif
