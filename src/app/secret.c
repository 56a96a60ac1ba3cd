/* Secrets of the configuration: in the file itself, or in a file of their own. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/reader.h"

enum { SECRET_MAX = 65536 };

/* What `check --print` shows instead of a secret. */
#define MASK "********"

static int read_all(int fd, char *text, size_t capacity, size_t *len)
{
    *len = 0;
    while (*len < capacity) {
        ssize_t got = read(fd, text + *len, capacity - *len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return SMX_E_IO;
        if (got == 0)
            return 0;
        *len += (size_t)got;
    }
    return SMX_E_LIMIT;
}

static smx_slice without_newline(const char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    return slice_of(text, len);
}

static bool take_secret(config_reader *reader, const yaml_entry *entry, const char *path, int fd,
                        smx_slice *secret)
{
    char text[SECRET_MAX];
    size_t len;
    struct stat about;
    int error = read_all(fd, text, sizeof(text), &len);
    smx_slice found = without_newline(text, error == 0 ? len : 0);
    if (error == SMX_E_LIMIT)
        problems_error(reader->problems, entry->value->offset,
                       "the file `%s` is too large to hold a secret", path);
    else if (error != 0)
        problems_error(reader->problems, entry->value->offset, "the file `%s` cannot be read: %s",
                       path, strerror(errno));
    else if (found.len == 0)
        problems_error(reader->problems, entry->value->offset, "the file `%s` is empty", path);
    else if (memchr(found.data, '\0', found.len) != NULL)
        problems_error(reader->problems, entry->value->offset, "the file `%s` holds NUL characters",
                       path);
    else
        *secret = reader_copy_slice(reader, found);
    if (fstat(fd, &about) == 0 && (about.st_mode & S_IROTH) != 0)
        problems_warn(reader->problems, entry->value->offset,
                      "everybody on this machine may read the secret file `%s`; chmod o-r it",
                      path);
    explicit_bzero(text, sizeof(text));
    return secret->len > 0;
}

static bool from_file(config_reader *reader, const yaml_entry *entry, smx_slice *secret)
{
    smx_slice name;
    *secret = (smx_slice){NULL, 0};
    if (!reader_scalar(reader, entry, "the name of a file", &name))
        return false;
    const char *path = reader_path(reader, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        problems_error(reader->problems, entry->value->offset, "the file `%s` cannot be read: %s",
                       path, strerror(errno));
        return false;
    }
    bool is_there = take_secret(reader, entry, path, fd, secret);
    (void)close(fd);
    return is_there;
}

static bool from_value(config_reader *reader, const yaml_entry *entry, smx_slice *secret)
{
    smx_slice text;
    if (entry->value->kind == YAML_NOTHING) {
        problems_error(
            reader->problems, entry->offset,
            "`%s` has no value: put the secret here, as ${NAME} from the environment, or "
            "into a file that `%s_file` names",
            entry->key.data, entry->key.data);
        return false;
    }
    if (!reader_scalar(reader, entry, "a secret", &text))
        return false;
    if (text.len == 0) {
        problems_error(reader->problems, entry->value->offset, "`%s` is empty", entry->key.data);
        return false;
    }
    if (slice_equal(text, SMX_SLICE(MASK)))
        problems_warn(reader->problems, entry->value->offset,
                      "`" MASK "` is what `check --print` shows instead of a secret; put the "
                      "secret here");
    *secret = reader_copy_slice(reader, text);
    return true;
}

bool reader_secret(config_reader *reader, const yaml_node *level, const char *name,
                   smx_slice *secret)
{
    char file_key[64];
    (void)snprintf(file_key, sizeof(file_key), "%s_file", name);
    const yaml_entry *value = yaml_find(level, slice_of_text(name));
    const yaml_entry *file = yaml_find(level, slice_of_text(file_key));
    if (value != NULL && file != NULL) {
        problems_error(reader->problems, file->offset,
                       "`%s` and `%s` are both given; keep one of them", name, file_key);
        return false;
    }
    if (value != NULL)
        return from_value(reader, value, secret);
    return file != NULL && from_file(reader, file, secret);
}
