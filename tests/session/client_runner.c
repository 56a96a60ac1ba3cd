/* Runs the client scripts of a folder and prints a TAP line a case.
 * Usage: client_runner [--every-chunk-size] FOLDER */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "client_script.h"

typedef struct runner {
    bool every_chunk_size;
    unsigned count;
    unsigned failed;
} runner;

static void read_whole(const char *path, buffer *text)
{
    FILE *file = fopen(path, "re");
    size_t got = 1;
    if (file == NULL)
        abort();
    while (got > 0) {
        if (buffer_reserve(text, 4096) != 0)
            abort();
        got = fread(text->data + text->end, 1, 4096, file);
        text->end += got;
    }
    (void)fclose(file);
}

/* Every size up to 64 octets, then some, then all at once: a reply of 64 KiB would take all day. */
static size_t runner_next_size(size_t size)
{
    return size < 64 ? size + 1 : size + size / 2;
}

static bool runner_passes(const runner *r, const script_case *c, buffer *problem)
{
    size_t longest = 1;
    if (!script_run(c, SIZE_MAX, &longest, problem))
        return false;
    size_t first = longest > 4096 ? 1000 : 1;
    for (size_t size = first; r->every_chunk_size && size < longest;
         size = runner_next_size(size)) {
        size_t ignored;
        if (!script_run(c, size, &ignored, problem))
            return false;
    }
    return true;
}

static void runner_file(runner *r, const char *folder, const char *name)
{
    buffer path = {0};
    buffer text = {0};
    script_case c;
    size_t line = 0;
    if (buffer_printf(&path, "%s/%s", folder, name) != 0 || buffer_append_char(&path, '\0') != 0)
        abort();
    read_whole(path.data, &text);
    smx_slice rest = buffer_slice(&text);
    while (script_next_case(&rest, &line, &c)) {
        buffer problem = {0};
        bool passes = runner_passes(r, &c, &problem);
        r->count++;
        r->failed += !passes;
        printf("%sok %u - session_client__%.*s__%.*s\n", passes ? "" : "not ", r->count,
               (int)(strlen(name) - 4), name, (int)c.name.len, c.name.data);
        if (!passes)
            printf("# %s: %.*s\n", name, (int)buffer_length(&problem), problem.data);
        buffer_free(&problem);
    }
    buffer_free(&path);
    buffer_free(&text);
}

static int is_script(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
    runner r = {.every_chunk_size = argc == 3 && strcmp(argv[1], "--every-chunk-size") == 0};
    const char *folder = argv[argc - 1];
    struct dirent **names;
    int count = argc < 2 ? -1 : scandir(folder, &names, is_script, alphasort);
    if (count < 0) {
        (void)fprintf(stderr, "Usage: client_runner [--every-chunk-size] FOLDER\n");
        return 2;
    }
    for (int i = 0; i < count; i++) {
        runner_file(&r, folder, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    printf("1..%u\n", r.count);
    return r.failed > 0;
}
