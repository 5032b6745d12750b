/*
 * The file of a report: opened before the work that the report is about, so that a path that cannot
 * be written is told at once. What the file held stays until there is something to take its place.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* "-" is standard output. NULL: errno says why not. */
__attribute__((warn_unused_result)) FILE *output_open(const char *path);

/* Empties it, if it is a file that can be. What is printed next is all that it holds. */
void output_begin(FILE *file);

/* Closes it, but for standard output. False: it was not all written; errno says why. */
__attribute__((warn_unused_result)) bool output_end(FILE *file);
