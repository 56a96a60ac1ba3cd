/* The witness keeps a little of each session that somebody may want to know of: its sender, and the
 * lines that nobody could be told before the sender was known. Bounded: KEPT_OCTETS for followers,
 * PENDING_OCTETS for a file; what is beyond is left out, and that is said. */
#include "app/witness.h"

#include <inttypes.h>
#include <stdlib.h>

#include "app/audit.h"
#include "app/transcript.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"

enum {
    KEPT_OCTETS = 16 << 10,
    PENDING_OCTETS = 64 << 10,
    FLUSH_OCTETS = 8 << 10,
    FILE_OCTETS = 1 << 20,
    NAME_OCTETS = 4096
};

typedef struct witnessed_listener {
    const char *name;
    const config_listener *config;
    outlet *audit; /* NULL: none */
    outlet *trace; /* of all sessions; NULL: none */
} witnessed_listener;

struct witness {
    witness_options options;
    witnessed_listener *listeners;
    size_t count;
    map sessions;
};

/* A line that may have to be told later. */
typedef struct kept_line {
    list_node node;
    smx_proxy_line line; /* text within the same memory */
    char text[];
} kept_line;

/* A session that somebody may want to know of. */
typedef struct witnessed {
    witnessed_listener *listener;
    bool has_from;
    buffer from;
    list kept;
    size_t kept_octets;
    bool is_captured; /* its transcript goes into the file */
    uint64_t began;
    buffer pending; /* of the transcript, not in the file yet */
    size_t filed;
    bool is_full;
} witnessed;

/* ---- beginning and end ---- */

int witness_new(const witness_options *options, witness **out)
{
    witness *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return SMX_E_NOMEM;
    w->options = *options;
    w->listeners = calloc(options->listeners + 1, sizeof(*w->listeners));
    if (w->listeners == NULL) {
        free(w);
        return SMX_E_NOMEM;
    }
    *out = w;
    return 0;
}

int witness_add(witness *w, const char *name, const config_listener *l, problem *p)
{
    witnessed_listener *added = &w->listeners[w->count];
    *added = (witnessed_listener){.name = name, .config = l};
    int error = l->audit == NULL ? 0 : outlets_open(w->options.outlets, l->audit, &added->audit, p);
    if (error == 0 && l->trace)
        error = outlets_open(w->options.outlets, "stdout", &added->trace, p);
    if (error == 0)
        w->count++;
    return error;
}

static void forget_kept(witnessed *s)
{
    for (list_node *next, *node = s->kept.first; node != NULL; node = next) {
        next = node->next;
        free(list_member(node, kept_line, node));
    }
    s->kept = (list){0};
    s->kept_octets = 0;
}

static void witnessed_free(witnessed *s)
{
    forget_kept(s);
    buffer_free(&s->from);
    buffer_free(&s->pending);
    free(s);
}

void witness_free(witness *w)
{
    size_t at = 0;
    if (w == NULL)
        return;
    for (const map_entry *e; (e = map_next(&w->sessions, &at)) != NULL;)
        witnessed_free(e->value);
    map_free(&w->sessions);
    free(w->listeners);
    free(w);
}

/* By the place of its name: several may listen on the same text, as 127.0.0.1:0. */
static witnessed_listener *listener_of(const witness *w, const smx_session_view *session)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->listeners[i].name == session->listener.data)
            return &w->listeners[i];
    }
    return NULL;
}

/* ---- records ---- */

void witness_record(void *arg, const smx_proxy_record *record)
{
    const witness *w = arg;
    const witnessed_listener *l = listener_of(w, record->session);
    buffer line = {0};
    audit_log(record, w->options.log);
    if (l == NULL || l->audit == NULL)
        return;
    if (audit_line(record, w->options.log, &line) == 0)
        outlet_write(l->audit, buffer_slice(&line));
    else
        log_event(w->options.log, SMX_LOG_ERROR, "record_lost", "problem", "out of memory", NULL);
    buffer_free(&line);
}

/* ---- files of transcripts ---- */

static bool lists_client(const config_capture *c, const smx_address *client)
{
    for (size_t i = 0; i < c->client_count; i++) {
        if (smx_network_contains(&c->clients[i], client))
            return true;
    }
    return c->client_count + c->sender_count == 0;
}

static bool lists_sender(const config_capture *c, smx_slice from)
{
    for (size_t i = 0; i < c->sender_count; i++) {
        if (slice_matches_glob(from.len == 0 ? SMX_SLICE("<>") : from, c->senders[i]))
            return true;
    }
    return false;
}

/* DIR/20261121T101718.123Z-SESSION.txt: in order of time, and no two processes have the same. */
static void write_name(const witnessed *s, const smx_session_view *session, char *text,
                       size_t capacity)
{
    char clock[CLOCK_TEXT];
    char plain[CLOCK_TEXT] = "";
    size_t len = 0;
    smx_slice time = clock_rfc3339(s->began, clock);
    for (size_t i = 0; i < time.len; i++) {
        if (time.data[i] != '-' && time.data[i] != ':')
            plain[len++] = time.data[i];
    }
    (void)snprintf(text, capacity, "%s/%.*s-%" PRIu64 ".txt", s->listener->config->capture.dir,
                   (int)len, plain, session->id);
}

static void flush(const witness *w, witnessed *s, const smx_session_view *session)
{
    char path[NAME_OCTETS];
    if (buffer_length(&s->pending) == 0)
        return;
    write_name(s, session, path, sizeof(path));
    outlets_append(w->options.outlets, path, buffer_slice(&s->pending));
    s->filed += buffer_length(&s->pending);
    buffer_clear(&s->pending);
}

static int begin_file(witnessed *s, const smx_session_view *session)
{
    char clock[CLOCK_TEXT];
    char client[SMX_ADDRESS_TEXT];
    smx_slice time = clock_rfc3339(s->began, clock);
    smx_slice address = smx_address_write(&session->client, client);
    return buffer_printf(&s->pending, "=== Session %" PRIu64 " of %.*s on %.*s, %.*s\n",
                         session->id, (int)address.len, address.data, (int)session->listener.len,
                         session->listener.data, (int)time.len, time.data);
}

/* Until it is known whether the session is wanted, its transcript waits. */
static void capture(const witness *w, witnessed *s, const smx_proxy_line *line)
{
    size_t most = s->is_captured ? FILE_OCTETS - s->filed : PENDING_OCTETS;
    if (s->listener->config->capture.dir == NULL || s->is_full)
        return;
    int error = 0;
    if (s->filed == 0 && buffer_length(&s->pending) == 0)
        error = begin_file(s, line->session);
    if (error == 0)
        error = transcript_text(line, false, &s->pending);
    if (error != 0 || buffer_length(&s->pending) > most) {
        s->is_full = true;
        int without_memory = buffer_append_text(&s->pending, "=== What follows is not kept\n");
        (void)without_memory; /* then that is not kept either */
    }
    if (s->is_captured && (s->is_full || buffer_length(&s->pending) > FLUSH_OCTETS))
        flush(w, s, line->session);
}

/* ---- sessions ---- */

/* NULL: there is no memory for it. */
static witnessed *session_of(witness *w, witnessed_listener *l, const smx_session_view *session)
{
    witnessed *s = map_get_number(&w->sessions, session->id);
    if (s != NULL)
        return s;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->listener = l;
    s->began = clock_wall_ms();
    s->is_captured =
        l->config->capture.dir != NULL && lists_client(&l->config->capture, &session->client);
    if (map_put_number(&w->sessions, session->id, s) == 0)
        return s;
    free(s);
    return NULL;
}

static smx_slice sender_of(const witnessed *s)
{
    return s->has_from ? buffer_slice(&s->from) : (smx_slice){NULL, 0};
}

/* Those whom the new sender brings to follow this session hear what went before. */
static void set_sender(const witness *w, witnessed *s, const smx_session_view *session,
                       smx_slice from)
{
    if (from.data == NULL || (s->has_from && slice_equal(from, buffer_slice(&s->from))))
        return;
    for (list_node *n = s->kept.first; n != NULL; n = n->next) {
        kept_line *k = list_member(n, kept_line, node);
        k->line.session = session;
        followers_tell_late(w->options.followers, &k->line, sender_of(s), from);
    }
    forget_kept(s);
    buffer_clear(&s->from);
    s->has_from = buffer_append(&s->from, from) == 0;
    const config_capture *c = &s->listener->config->capture;
    s->is_captured = s->is_captured || (c->dir != NULL && lists_sender(c, from));
}

bool witness_wants(void *arg, const smx_session_view *session, smx_slice from)
{
    witness *w = arg;
    witnessed_listener *l = listener_of(w, session);
    if (l == NULL)
        return false;
    if (l->config->capture.dir == NULL && !followers_any(w->options.followers) &&
        w->sessions.count == 0)
        return l->trace != NULL;
    witnessed *s = session_of(w, l, session);
    if (s != NULL)
        set_sender(w, s, session, from);
    return s != NULL || l->trace != NULL;
}

/* ---- lines ---- */

static void keep(witnessed *s, const smx_proxy_line *line)
{
    kept_line *k = NULL;
    if (s->kept_octets + line->text.len <= KEPT_OCTETS)
        k = calloc(1, sizeof(*k) + line->text.len + 1);
    if (k == NULL)
        return;
    k->line = *line;
    if (line->text.len > 0)
        memcpy(k->text, line->text.data, line->text.len);
    k->line.text.data = k->text;
    s->kept_octets += line->text.len + sizeof(*k);
    list_append(&s->kept, &k->node);
}

static void print(const witnessed_listener *l, const smx_proxy_line *line)
{
    buffer text = {0};
    if (l->trace != NULL && transcript_text(line, true, &text) == 0)
        outlet_write(l->trace, buffer_slice(&text));
    buffer_free(&text);
}

static void end(witness *w, const smx_session_view *session)
{
    witnessed *s = map_remove_number(&w->sessions, session->id);
    if (s == NULL)
        return;
    if (s->is_captured)
        flush(w, s, session);
    witnessed_free(s);
}

void witness_trace(void *arg, const smx_proxy_line *line)
{
    witness *w = arg;
    witnessed_listener *l = listener_of(w, line->session);
    if (line->way == SMX_PROXY_END) {
        end(w, line->session);
        return;
    }
    if (l == NULL)
        return;
    print(l, line);
    witnessed *s = map_get_number(&w->sessions, line->session->id);
    if (s == NULL)
        return;
    capture(w, s, line);
    if (followers_any(w->options.followers))
        followers_tell(w->options.followers, line, sender_of(s));
    if (followers_want_senders(w->options.followers))
        keep(s, line);
}
