/* Reads a question about a message (see explain.h). */
#include <stdlib.h>
#include <time.h>

#include "mux/explain_internal.h"

enum { RECIPIENTS_MAX = 1000, LINE_MAX_LEN = 4096 };

static smx_slice json_slice(const json_t *value)
{
    return slice_of(json_string_value(value), json_string_length(value));
}

static smx_slice member(const json_t *question, const char *name)
{
    return json_slice(json_object_get(question, name));
}

static int read_user(mux *m, const json_t *question, explain_query *query, problem *p)
{
    smx_slice name = member(question, "user");
    if (name.data == NULL)
        return problem_set(p, SMX_E_INVALID, "`user` is needed: who would send the message");
    const smx_user *user = mux_find_user(m, name);
    if (user == NULL)
        return problem_set(p, SMX_E_NOTFOUND, "no user is called `%.*s`", (int)name.len, name.data);
    query->user = user->data;
    query->facts.user = user->name;
    query->facts.known |= MUX_FACT_USER;
    return 0;
}

static int check_address(smx_slice address, problem *p)
{
    smx_path path;
    if (smx_mailbox_parse(address, SMX_PATH_UTF8 | SMX_PATH_POSTMASTER, &path) == 0)
        return 0;
    return problem_set(p, SMX_E_INVALID, "`%.*s` is no address such as ann@example.com",
                       (int)address.len, address.data);
}

static int read_sender(const json_t *question, explain_query *query, problem *p)
{
    smx_slice sender = member(question, "from");
    if (sender.data == NULL)
        return problem_set(p, SMX_E_INVALID,
                           "`from` is needed: the sender, or <> for the empty one");
    if (slice_equal(sender, SMX_SLICE("<>")))
        sender.len = 0;
    query->sender = sender;
    query->facts.sender = sender;
    query->facts.known |= MUX_FACT_SENDER;
    return sender.len == 0 ? 0 : check_address(sender, p);
}

smx_slice explain_query_recipient(const explain_query *query, size_t nth)
{
    return json_slice(json_array_get(query->recipients, nth));
}

static int read_recipients(const json_t *question, explain_query *query, problem *p)
{
    query->recipients = json_object_get(question, "to");
    size_t count = json_array_size(query->recipients);
    if (count == 0 || count > RECIPIENTS_MAX)
        return problem_set(p, SMX_E_INVALID, "`to` is needed: one or more recipients, at most %d",
                           RECIPIENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        int error = check_address(explain_query_recipient(query, i), p);
        if (error != 0)
            return error;
    }
    query->facts.recipient = explain_query_recipient(query, 0);
    query->facts.known |= MUX_FACT_RECIPIENT;
    return 0;
}

static int add_field(explain_query *query, smx_slice line, problem *p)
{
    size_t colon = slice_find(line, ':');
    if (colon == 0 || colon == line.len || line.len > LINE_MAX_LEN ||
        slice_find(line, '\r') < line.len || slice_find(line, '\n') < line.len)
        return problem_set(p, SMX_E_INVALID, "`%.*s` is no field such as \"Subject: hello\"",
                           (int)(line.len > 80 ? 80 : line.len), line.data);
    int error = buffer_append(&query->header, line);
    return error != 0 ? error : buffer_append_text(&query->header, "\r\n");
}

/* If fields are named at all, they are all that the message has. */
static int read_headers(const json_t *question, explain_query *query, problem *p)
{
    const json_t *lines = json_object_get(question, "headers");
    for (size_t i = 0; i < json_array_size(lines); i++) {
        int error = add_field(query, json_slice(json_array_get(lines, i)), p);
        if (error != 0)
            return error;
    }
    if (json_array_size(lines) == 0)
        return 0;
    query->facts.header = buffer_slice(&query->header);
    query->scratch = malloc(query->facts.header.len);
    query->facts.scratch = query->scratch;
    query->facts.known |= MUX_FACT_HEADER;
    return query->scratch == NULL ? SMX_E_NOMEM : 0;
}

static int read_size(const json_t *question, explain_query *query, problem *p)
{
    const json_t *size = json_object_get(question, "size");
    if (size == NULL)
        return 0;
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return problem_set(p, SMX_E_INVALID, "`size` is a number of octets");
    query->facts.size = (uint64_t)json_integer_value(size);
    query->facts.known |= MUX_FACT_SIZE;
    return 0;
}

static bool is_ascii(smx_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] > 0x7f)
            return false;
    return true;
}

static int read_flag(const json_t *question, const char *name, bool *flag, problem *p)
{
    const json_t *value = json_object_get(question, name);
    if (value != NULL && !json_is_boolean(value))
        return problem_set(p, SMX_E_INVALID, "`%s` is true or false", name);
    *flag = json_is_true(value);
    return 0;
}

/* Behind the addresses and the size. */
static int read_needs(const json_t *question, explain_query *query, problem *p)
{
    upstream_needs *needs = &query->needs;
    needs->size = query->facts.size;
    int error = read_flag(question, "8bit", &needs->eight_bit, p);
    if (error == 0)
        error = read_flag(question, "smtputf8", &needs->smtputf8, p);
    bool utf8 = !is_ascii(query->sender);
    for (size_t i = 0; i < json_array_size(query->recipients); i++)
        utf8 |= !is_ascii(explain_query_recipient(query, i));
    needs->smtputf8 |= utf8;
    return error;
}

static int read_client(const json_t *question, explain_query *query, problem *p)
{
    smx_slice client = member(question, "client");
    if (client.data == NULL)
        return 0;
    if (smx_address_parse(client, &query->facts.client) != 0)
        return problem_set(p, SMX_E_INVALID, "`%.*s` is no client's address such as 192.0.2.1",
                           (int)client.len, client.data);
    query->facts.known |= MUX_FACT_CLIENT;
    return 0;
}

static int read_time(const json_t *question, uint64_t wall_ms, explain_query *query, problem *p)
{
    const json_t *text = json_object_get(question, "time");
    struct tm moment = {.tm_mday = 1};
    query->facts.wall_ms = wall_ms;
    query->facts.known |= MUX_FACT_TIME;
    if (text == NULL)
        return 0;
    const char *end =
        json_is_string(text) ? strptime(json_string_value(text), "%Y-%m-%d %H:%M", &moment) : NULL;
    time_t seconds = timegm(&moment);
    if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0) || seconds < 0)
        return problem_set(p, SMX_E_INVALID,
                           "`time` is a moment such as \"2026-01-31 09:00\", in UTC");
    query->facts.wall_ms = (uint64_t)seconds * 1000;
    return 0;
}

int explain_query_read(mux *m, const json_t *question, uint64_t wall_ms, explain_query *query,
                       problem *p)
{
    *query = (explain_query){.facts = {.known = 0}};
    int error = read_user(m, question, query, p);
    if (error == 0)
        error = read_sender(question, query, p);
    if (error == 0)
        error = read_recipients(question, query, p);
    if (error == 0)
        error = read_headers(question, query, p);
    if (error == 0)
        error = read_size(question, query, p);
    if (error == 0)
        error = read_needs(question, query, p);
    if (error == 0)
        error = read_client(question, query, p);
    if (error == 0)
        error = read_time(question, wall_ms, query, p);
    return error;
}

void explain_query_free(explain_query *query)
{
    buffer_free(&query->header);
    free(query->scratch);
}
