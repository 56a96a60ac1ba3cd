/* The messages under the test vectors, one after the other. */
#ifndef TESTS_MAIL_VECTORS_H
#define TESTS_MAIL_VECTORS_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

typedef void vector_fn(const char *path, smx_slice text);

static vector_fn *vector_visit;
static size_t vector_count;

static int vector_visit_file(const char *path, const struct stat *status, int type,
                             struct FTW *place)
{
    (void)place;
    const char *dot = strrchr(path, '.');
    if (type != FTW_F || dot == NULL || strcmp(dot, ".eml") != 0)
        return 0;
    size_t size = (size_t)status->st_size;
    char *text = malloc(size + 1);
    FILE *file = fopen(path, "rb");
    if (text != NULL && file != NULL && fread(text, 1, size, file) == size) {
        vector_visit(path, slice_of(text, size));
        vector_count++;
    }
    if (file != NULL)
        (void)fclose(file);
    free(text);
    return 0;
}

/* Visits all of $SMX_VECTORS/eml; how many there were. */
static inline size_t vectors_visit(vector_fn *visit)
{
    char path[4096];
    const char *vectors = getenv("SMX_VECTORS");
    const char *root = getenv("SMX_SOURCE_ROOT");
    if (vectors != NULL)
        (void)snprintf(path, sizeof(path), "%s/eml", vectors);
    else
        (void)snprintf(path, sizeof(path), "%s/../shared/vectors/eml", root == NULL ? "." : root);
    vector_visit = visit;
    vector_count = 0;
    (void)nftw(path, vector_visit_file, 16, FTW_PHYS);
    return vector_count;
}

#endif
