/* A file without a name. Its only owner is the one who holds the descriptor; nothing is left in the
 * directory even if the process dies. */
#include "mail/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Where the file system knows no O_TMPFILE: a name that is taken away at once. */
static int spill_open_named(const char *directory)
{
    char path[4096];
    int len = snprintf(path, sizeof(path), "%s/smx-XXXXXX", directory);
    if (len < 0 || (size_t)len >= sizeof(path))
        return -1;
    int file = mkostemp(path, O_CLOEXEC);
    if (file >= 0)
        (void)unlink(path);
    return file;
}

int spill_open(const char *directory, int *file)
{
    if (directory == NULL)
        directory = getenv("TMPDIR");
    if (directory == NULL || directory[0] == '\0')
        directory = "/tmp";
    int opened = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (opened < 0)
        opened = spill_open_named(directory);
    if (opened < 0)
        return SMX_E_IO;
    *file = opened;
    return 0;
}

int spill_write(int file, uint64_t offset, smx_slice octets)
{
    while (octets.len > 0) {
        ssize_t written = pwrite(file, octets.data, octets.len, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && (errno == ENOSPC || errno == EDQUOT))
            return SMX_E_LIMIT;
        if (written <= 0)
            return SMX_E_IO;
        offset += (uint64_t)written;
        octets = slice_from(octets, (size_t)written);
    }
    return 0;
}

int spill_read(int file, uint64_t offset, char *out, size_t len)
{
    while (len > 0) {
        ssize_t got = pread(file, out, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return SMX_E_IO;
        offset += (uint64_t)got;
        out += got;
        len -= (size_t)got;
    }
    return 0;
}
