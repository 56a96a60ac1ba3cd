/* Dialogues recorded from another server (vectors/smtp-dialogues), as far as their codes go: `C:`
 * is what the client sends, `S:` a pattern of the next reply line. Where that server says no, ours
 * must say no too, if with another code. Skipped where the vectors are not there. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "server_cases.h"
#include "server_owner.h"

typedef struct dialogue {
    server_owner owner;
    buffer flight;
    size_t read; /* octets of the output */
} dialogue;

static void set_up(dialogue *d, smx_slice text)
{
    server_owner *o = &d->owner;
    server_owner_init(o);
    bool known = server_owner_set(o, SMX_SLICE("auth_clear LOGIN PLAIN")) &&
                 server_owner_add_hook(o, SMX_SLICE("auth -> 334 Username:")) &&
                 server_owner_add_hook(o, SMX_SLICE("auth_response -> 334 Password:"));
    if (!known)
        server_owner_fail(o, "the set-up is not understood");
    server_owner_start(o);
    if (slice_search(text, SMX_SLICE("ehlo")) < text.len)
        return;
    /* One dialogue authenticates without EHLO, which RFC 4954 section 4 does not allow. */
    d->read = buffer_length(&o->output);
    server_owner_feed(o, SMX_SLICE("EHLO client.example\r\n"));
    buffer_truncate(&o->output, d->read);
    d->read = 0;
}

/* The code of the next reply, which is passed over with all its lines. */
static unsigned next_code(dialogue *d)
{
    smx_slice rest = slice_from(buffer_slice(&d->owner.output), d->read), line;
    uint64_t code = 0;
    while (slice_cut(&rest, '\n', &line)) {
        d->read += line.len + 1;
        if (line.len < 4 || slice_to_number(slice_to(line, 3), 999, &code) != 0)
            return 0;
        if (line.data[3] != '-')
            return (unsigned)code;
    }
    return 0;
}

static void expect(dialogue *d, smx_slice pattern)
{
    uint64_t code = 0;
    if (slice_to_number(slice_to(pattern, 3), 999, &code) != 0)
        server_owner_fail(&d->owner, "not a reply");
    if (pattern.len > 3 && pattern.data[3] != ' ') /* a line of an EHLO reply, not its last */
        return;
    unsigned got = next_code(d);
    if (got != code && !(got >= 400 && code >= 400))
        server_owner_fail(&d->owner, "%u instead of %.*s", got, (int)pattern.len, pattern.data);
}

static void run_line(dialogue *d, smx_slice line)
{
    if (slice_starts_with(line, SMX_SLICE("C:"))) {
        smx_slice text = slice_from(line, line.len > 2 ? 3 : 2);
        server_owner_unescape(text, &d->flight);
        if (slice_search(text, SMX_SLICE("\\r\\n")) == text.len)
            server_owner_must(buffer_append_text(&d->flight, "\r\n"));
        return;
    }
    if (!slice_starts_with(line, SMX_SLICE("S:")))
        return;
    if (buffer_length(&d->flight) > 0)
        server_owner_feed(&d->owner, buffer_slice(&d->flight));
    buffer_clear(&d->flight);
    expect(d, slice_trim(slice_from(line, 2)));
}

static bool run_file(const char *path, size_t number)
{
    dialogue d = {0};
    buffer content = {0};
    bool there = server_cases_read(path, &content);
    smx_slice text = buffer_slice(&content), line;
    set_up(&d, text);
    if (!there)
        server_owner_fail(&d.owner, "%s cannot be read", path);
    while (slice_cut(&text, '\n', &line))
        run_line(&d, line);
    smx_slice name = slice_of_text(path);
    name = slice_from(name, slice_find_last(name, '/') + 1);
    bool good = d.owner.problem[0] == '\0';
    printf("%sok %zu - session_server_dialogues__%.*s\n", good ? "" : "not ", number,
           (int)name.len - 4, name.data);
    if (!good)
        printf("# %s\n", d.owner.problem);
    buffer_free(&d.flight);
    buffer_free(&content);
    server_owner_free(&d.owner);
    return good;
}

int main(void)
{
    const char *vectors = getenv("SMX_VECTORS");
    const char *root = getenv("SMX_SOURCE_ROOT");
    char pattern[1024];
    (void)snprintf(pattern, sizeof pattern, "%s%s/smtp-dialogues/james/*.txt",
                   vectors != NULL ? ""
                   : root != NULL  ? root
                                   : ".",
                   vectors != NULL ? vectors : "/../shared/vectors");
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) {
        printf("1..1\nok 1 - session_server_dialogues # SKIP %s is not there\n", pattern);
        return 0;
    }
    bool good = true;
    for (size_t i = 0; i < found.gl_pathc; i++)
        good = run_file(found.gl_pathv[i], i + 1) && good;
    printf("1..%zu\n", found.gl_pathc);
    globfree(&found);
    return good ? 0 : 1;
}
