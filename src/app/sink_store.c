/* What a sink writes down: a JSON line for each message, and the message itself in a maildir. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/sink_internal.h"
#include "base/clock.h"

enum { STORE_STEP = 65536, STORE_PATH = 1024 };

int sink_store_prepare(const char *maildir, problem *p)
{
    static const char *const folders[] = {"", "/tmp", "/new", "/cur"};
    char path[STORE_PATH];
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s%s", maildir, folders[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return problem_set(p, SMX_E_IO, "the folder %s cannot be made: %s", path,
                               strerror(errno));
    }
    return 0;
}

static int store_hash(const smx_message *message, EVP_MD_CTX *context, char *scratch)
{
    smx_slice octets;
    for (uint64_t at = 0; at < smx_message_size(message); at += octets.len) {
        int error = smx_message_read(message, at, scratch, STORE_STEP, &octets);
        if (error != 0)
            return error;
        if (EVP_DigestUpdate(context, octets.data, octets.len) != 1)
            return SMX_E_NOMEM;
    }
    return 0;
}

int sink_store_digest(const smx_message *message, char hex[65])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int error = SMX_E_NOMEM;
    char *scratch = malloc(STORE_STEP);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (scratch != NULL && context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1)
        error = store_hash(message, context, scratch);
    if (error == 0 && EVP_DigestFinal_ex(context, digest, &len) != 1)
        error = SMX_E_NOMEM;
    for (size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[(size_t)2 * len] = '\0';
    EVP_MD_CTX_free(context);
    free(scratch);
    return error;
}

/* Text of JSON is UTF-8: octets that are not become '?'. */
static json_t *store_text(smx_slice s)
{
    json_t *text = json_stringn(s.data == NULL ? "" : s.data, s.len);
    if (text != NULL)
        return text;
    buffer out = {0};
    for (size_t i = 0; s.data != NULL && i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (buffer_append_char(&out, c < 0x80 ? (char)c : '?') != 0)
            break;
    }
    smx_slice plain = buffer_slice(&out);
    text = json_stringn(plain.data, plain.len);
    buffer_free(&out);
    return text;
}

static json_t *store_recipients(const smx_envelope *envelope)
{
    json_t *mailboxes = json_array();
    for (size_t i = 0; i < envelope->recipient_count; i++)
        (void)json_array_append_new(mailboxes, store_text(envelope->recipients[i].path.mailbox));
    return mailboxes;
}

static void store_field(json_t *line, const char *key, const sink_record *r, smx_slice name)
{
    smx_slice header;
    smx_field field;
    if (smx_message_header(r->message, &header) == 0 && smx_field_find(header, name, 0, &field))
        (void)json_object_set_new(line, key, store_text(slice_trim(field.value)));
}

static void store_json(sink *s, const sink_record *r)
{
    char now[CLOCK_TEXT];
    json_t *line = json_object();
    if (line == NULL)
        return;
    (void)json_object_set_new(line, "time", store_text(clock_rfc3339(clock_wall_ms(), now)));
    (void)json_object_set_new(line, "session", json_integer((json_int_t)r->session));
    (void)json_object_set_new(line, "client", store_text(r->client));
    (void)json_object_set_new(line, "helo", store_text(r->helo));
    (void)json_object_set_new(line, "tls", json_boolean(r->tls));
    (void)json_object_set_new(line, "user", store_text(r->user));
    (void)json_object_set_new(line, "from", store_text(r->envelope->mail.path.mailbox));
    (void)json_object_set_new(line, "to", store_recipients(r->envelope));
    (void)json_object_set_new(line, "size", json_integer((json_int_t)smx_message_size(r->message)));
    (void)json_object_set_new(line, "sha256", json_string(r->sha256));
    (void)json_object_set_new(line, "code", json_integer(r->code));
    store_field(line, "message_id", r, SMX_SLICE("Message-ID"));
    store_field(line, "subject", r, SMX_SLICE("Subject"));
    char *text = json_dumps(line, JSON_COMPACT);
    if (text != NULL) {
        (void)fprintf(s->options.json, "%s\n", text);
        (void)fflush(s->options.json);
    }
    free(text);
    json_decref(line);
}

static int store_write(int fd, const smx_message *message, char *scratch)
{
    smx_slice octets;
    for (uint64_t at = 0; at < smx_message_size(message); at += octets.len) {
        int error = smx_message_read(message, at, scratch, STORE_STEP, &octets);
        if (error != 0)
            return error;
        for (size_t done = 0; done < octets.len;) {
            ssize_t written = write(fd, octets.data + done, octets.len - done);
            if (written < 0 && errno != EINTR)
                return SMX_E_IO;
            done += written < 0 ? 0 : (size_t)written;
        }
    }
    return 0;
}

/* The maildir's way: written under tmp, moved to new when it is whole. */
static void store_maildir(sink *s, const sink_record *r)
{
    char temporary[STORE_PATH];
    char final[STORE_PATH];
    unsigned long long stamp = clock_wall_ms();
    unsigned long long number = ++s->files;
    (void)snprintf(temporary, sizeof(temporary), "%s/tmp/%llu.%d_%llu.smtpmux", s->options.maildir,
                   stamp, (int)getpid(), number);
    (void)snprintf(final, sizeof(final), "%s/new/%llu.%d_%llu.smtpmux", s->options.maildir, stamp,
                   (int)getpid(), number);
    char *scratch = malloc(STORE_STEP);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool written = scratch != NULL && fd >= 0 && store_write(fd, r->message, scratch) == 0;
    if (fd >= 0 && close(fd) != 0)
        written = false;
    if (!written || rename(temporary, final) != 0)
        (void)fprintf(stderr, "smtpmux sink: %s could not be written: %s\n", final,
                      strerror(errno));
    free(scratch);
}

void sink_store(sink *s, const sink_record *record)
{
    if (s->options.json != NULL)
        store_json(s, record);
    if (s->options.maildir != NULL)
        store_maildir(s, record);
    if (s->options.on_message != NULL)
        s->options.on_message(s->options.arg, record);
}
