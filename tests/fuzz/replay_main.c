/* Runs a fuzz target over files, and all files of folders: one TAP line each, in order of name.
 * A folder that is missing or empty fails, so that no seed is lost unseen. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "fuzz.h"

static unsigned replay_count;

static void replay_read(const char *path, buffer *content)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        printf("Bail out! %s cannot be read\n", path);
        exit(1);
    }
    for (;;) {
        if (buffer_reserve(content, 65536) != 0)
            abort();
        size_t len = fread(content->data + content->end, 1, 65536, file);
        content->end += len;
        if (len == 0)
            break;
    }
    (void)fclose(file);
}

static void replay_file(const char *path, const char *name)
{
    buffer content = {0};
    replay_read(path, &content);
    smx_slice in = buffer_slice(&content);
    char *copy = fuzz_copy(in.data, in.len);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)copy, in.len);
    printf("ok %u - %s\n", ++replay_count, name);
    (void)fflush(stdout);
    free(copy);
    buffer_free(&content);
}

static int replay_is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, replay_is_seed, alphasort);
    if (count <= 0) {
        printf("Bail out! %s holds no seeds\n", path);
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        buffer full = {0};
        if (buffer_printf(&full, "%s/%s", path, entries[i]->d_name) != 0 ||
            buffer_append_char(&full, '\0') != 0)
            abort();
        replay_file(full.data, entries[i]->d_name);
        buffer_free(&full);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    struct stat status;
    for (int i = 1; i < argc; i++) {
        if (stat(argv[i], &status) == 0 && !S_ISDIR(status.st_mode))
            replay_file(argv[i], argv[i]);
        else
            replay_folder(argv[i]);
    }
    printf("1..%u\n", replay_count);
    return 0;
}
