#include_next <signal.h>
#include "windows/posix.h"
