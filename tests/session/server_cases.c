/* Reading and running the case files. Owns the text of one file at a time. */
#include "server_cases.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_LENGTH = 1024, PROBLEM_LENGTH = 1024 };

bool server_cases_read(const char *path, buffer *content)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    char piece[4096];
    size_t len;
    while ((len = fread(piece, 1, sizeof piece, file)) > 0)
        if (buffer_append(content, slice_of(piece, len)) != 0)
            abort();
    (void)fclose(file);
    return true;
}

bool server_cases_next_line(smx_slice *text, size_t *line, smx_slice *found)
{
    while (slice_cut(text, '\n', found)) {
        ++*line;
        if (slice_trim(*found).len > 0 && found->data[0] != '#')
            return true;
    }
    return false;
}

bool server_cases_word(smx_slice line, const char *word, smx_slice *rest)
{
    smx_slice start = slice_of_text(word);
    if (!slice_starts_with(line, start))
        return false;
    if (line.len > start.len && line.data[start.len] != ' ')
        return false;
    *rest = slice_trim(slice_from(line, start.len));
    return true;
}

bool server_cases_times(smx_slice line, uint64_t *times, smx_slice *text)
{
    size_t colon = slice_find(line, ':');
    *times = 1;
    if (colon == line.len || colon == 0)
        return false;
    if (colon > 1 && (line.data[1] != '*' ||
                      slice_to_number(slice_of(line.data + 2, colon - 2), 10000000, times) != 0))
        return false;
    *text = slice_from(line, colon + 1);
    if (text->len > 0 && text->data[0] == ' ')
        *text = slice_from(*text, 1);
    return true;
}

/* The name of a file without its folder and ".txt". */
static smx_slice stem(const char *path)
{
    smx_slice name = slice_of_text(path);
    name = slice_from(name, slice_find_last(name, '/') + 1);
    return slice_to(name, slice_find_last(name, '.'));
}

typedef struct server_cases_count {
    size_t done;
    size_t failed;
} server_cases_count;

static void run_one(const server_case *c, const char *prefix, server_case_fn *run,
                    server_cases_count *count)
{
    char problem[PROBLEM_LENGTH] = "";
    run(c, problem, sizeof problem);
    count->done++;
    count->failed += problem[0] != '\0';
    printf("%sok %zu - %s%.*s__%.*s\n", problem[0] != '\0' ? "not " : "", count->done, prefix,
           (int)c->file.len, c->file.data, (int)c->name.len, c->name.data);
    if (problem[0] != '\0')
        printf("# %s\n", problem);
}

static void run_file(const char *path, const char *prefix, server_case_fn *run,
                     server_cases_count *count)
{
    static const smx_slice mark = SMX_SLICE("== ");
    buffer content = {0};
    if (!server_cases_read(path, &content))
        abort();
    smx_slice text = buffer_slice(&content);
    server_case c = {.file = stem(path)};
    smx_slice line;
    size_t number = 0;
    const char *start = NULL;
    while (slice_cut(&text, '\n', &line)) {
        number++;
        if (!slice_starts_with(line, mark))
            continue;
        if (start != NULL) {
            c.text = slice_of(start, (size_t)(line.data - start));
            run_one(&c, prefix, run, count);
        }
        c.name = slice_trim(slice_from(line, mark.len));
        c.line = number;
        start = line.data + line.len + 1;
    }
    smx_slice all = buffer_slice(&content);
    if (start != NULL && start <= all.data + all.len) {
        c.text = slice_of(start, (size_t)(all.data + all.len - start));
        run_one(&c, prefix, run, count);
    }
    buffer_free(&content);
}

int server_cases_run(const char *folder, const char *prefix, server_case_fn *run)
{
    const char *root = getenv("SMX_SOURCE_ROOT");
    char pattern[PATH_LENGTH];
    (void)snprintf(pattern, sizeof pattern, "%s/%s/*.txt", root == NULL ? "." : root, folder);
    server_cases_count count = {0};
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) {
        printf("Bail out! no file is %s\n", pattern);
        return 1;
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        run_file(found.gl_pathv[i], prefix, run, &count);
    globfree(&found);
    printf("1..%zu\n", count.done);
    return count.failed == 0 ? 0 : 1;
}
