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

int config_file_load(const char *path, config_file *file)
{
    problem p;
    *file = (config_file){.path = path != NULL ? path : find_place()};
    if (file->path == NULL) {
        (void)fprintf(stderr,
                      "smtpmux: there is neither %s nor %s; name the configuration with -c FILE\n",
                      PLACES[0], PLACES[1]);
        return EX_NOINPUT;
    }
    int error = config_read_file(file->path, &file->text, &p);
    if (error != 0) {
        (void)fprintf(stderr, "smtpmux: %s\n", p.text);
        return error == SMX_E_NOMEM ? EX_OSERR : EX_NOINPUT;
    }
    file->problems.file = file->path;
    file->problems.text = buffer_slice(&file->text);
    error = config_load(&file->problems, &file->config);
    return error == 0 ? EX_OK : error == SMX_E_NOMEM ? EX_OSERR : EX_CONFIG;
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
