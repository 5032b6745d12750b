/* A file or block device of the host behind kernel/blockdev.h, to be read only. */
#pragma once

#include <stdbool.h>

/* The one device that there is from now on. False: it cannot be read; errno says why. */
bool file_open(const char *path);
