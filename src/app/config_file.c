/* Reads the configuration for a verb. The text, which may hold secrets, is wiped when it is closed. */
#include "app/config_file.h"

#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

static const char *const PLACES[] = {"config.yaml", "/etc/smtpmux/config.yaml"};

static const char *find_place(void)
{
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
        if (access(PLACES[i], F_OK) == 0)
            return PLACES[i];
    }
    return NULL;
}

typedef int load_fn(problems *told, config **c);

static int read_by(load_fn *load, const char *path, config_file *file, problem *p)
{
    *file = (config_file){.path = path};
    int error = config_read_file(path, &file->text, p);
    if (error != 0)
        return error;
    file->problems.file = path;
    file->problems.text = buffer_slice(&file->text);
    error = load(&file->problems, &file->config);
    if (error != 0 && error != SMX_E_SYNTAX)
        (void)problem_set(p, error, "%s: %s", path, smx_error_text(error));
    return error;
}

static int load_by(load_fn *load, const char *path, config_file *file)
{
    problem p;
    *file = (config_file){.path = path != NULL ? path : find_place()};
    if (file->path == NULL) {
        (void)fprintf(stderr,
                      "smtpmux: there is neither %s nor %s; name the configuration with -c FILE\n",
                      PLACES[0], PLACES[1]);
        return EX_NOINPUT;
    }
    int error = read_by(load, file->path, file, &p);
    if (error == 0 || error == SMX_E_SYNTAX)
        return error == 0 ? EX_OK : EX_CONFIG;
    (void)fprintf(stderr, "smtpmux: %s\n", p.text);
    return error == SMX_E_NOMEM ? EX_OSERR : EX_NOINPUT;
}

int config_file_load(const char *path, config_file *file)
{
    return load_by(config_load, path, file);
}

int config_file_load_door(const char *path, config_file *file)
{
    return load_by(config_load_door, path, file);
}

int config_file_read(const char *path, config_file *file, problem *p)
{
    return read_by(config_load, path, file, p);
}

void config_file_log(const config_file *file, log_sink *log, const char *event)
{
    for (size_t i = 0; i < file->problems.count; i++) {
        const problems_entry *entry = &file->problems.entries[i];
        buffer text = {0};
        if (problems_write_head(&file->problems, entry, &text) == 0) {
            smx_log_field field = {"problem",
                                   slice_to(buffer_slice(&text), buffer_length(&text) - 1)};
            log_write(log, entry->is_warning ? SMX_LOG_WARN : SMX_LOG_ERROR, event, 0, &field, 1);
        }
        buffer_free(&text);
    }
}

void config_file_tell(const config_file *file)
{
    buffer out = {0};
    if (problems_write(&file->problems, &out) == 0) {
        smx_slice text = buffer_slice(&out);
        (void)fwrite(text.data, 1, text.len, stderr);
    }
    buffer_free(&out);
}

void config_file_close(config_file *file)
{
    problems_free(&file->problems);
    if (file->text.data != NULL)
        explicit_bzero(file->text.data, file->text.end);
    buffer_free(&file->text);
}
