#include_next <unistd.h>
#include "windows/posix.h"
