#include_next <fcntl.h>
#include "windows/posix.h"
