#include "tests/load/output.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *output_open(const char *path)
{
    return strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
}

void output_begin(FILE *file)
{
    struct stat status;
    const int fd = fileno(file);
    /* Standard output may be a file too, with something of the caller's before this. */
    if (file != stdout && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        ftruncate(fd, 0) != 0)
        perror("the report goes behind what its file holds");
}

bool output_end(FILE *file)
{
    return fflush(file) == 0 && !ferror(file) && (file == stdout || fclose(file) == 0);
}
