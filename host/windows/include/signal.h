#include_next <signal.h>
#include <pthread_signal.h>
#include "windows/posix.h"
