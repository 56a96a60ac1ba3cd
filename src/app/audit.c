/* The audit's lines: values to octets, without state. People's addresses go through log_person. */
#include "app/audit.h"

#include "app/transcript.h"
#include "base/clock.h"
#include "proto/enhanced.h"
#include "proto/writer.h"

/* ---- JSON ---- */

static json_t *person(const log_sink *log, smx_slice name)
{
    char hash[LOG_PERSON];
    return transcript_json_octets(log_person(log, name, hash));
}

static json_t *address(const log_sink *log, const smx_address *a)
{
    char text[SMX_ADDRESS_TEXT];
    return person(log, smx_address_write(a, text));
}

static json_t *recipients(const smx_proxy_record *r, const log_sink *log)
{
    json_t *all = json_array();
    for (size_t i = 0; i < r->recipient_count && all != NULL; i++) {
        json_t *one = json_pack("{s:o, s:i}", "address", person(log, r->recipients[i].address),
                                "code", (int)r->recipients[i].code);
        if (one == NULL || json_array_append_new(all, one) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all;
}

/* All lines' texts, parted by blanks. */
static json_t *reply_text(const smx_reply_lines *reply)
{
    buffer text = {0};
    smx_slice line;
    int error = 0;
    for (size_t at = 0; error == 0 && reply->raw.len > 0 && smx_reply_next_line(reply, &at, &line);)
        error = buffer_printf(&text, "%s%.*s", buffer_length(&text) == 0 ? "" : " ", (int)line.len,
                              line.data);
    json_t *value = error == 0 ? transcript_json_octets(buffer_slice(&text)) : NULL;
    buffer_free(&text);
    return value;
}

/* Empty if there is none. */
static smx_slice enhanced_text(const smx_enhanced *e, char text[static ENHANCED_TEXT])
{
    return e->class_digit == 0 ? (smx_slice){NULL, 0} : enhanced_write(e, text);
}

static json_t *reply_of(const smx_reply_lines *reply)
{
    char enhanced[ENHANCED_TEXT];
    if (reply->code == 0)
        return json_null();
    return json_pack("{s:i, s:o, s:o}", "code", (int)reply->code, "enhanced",
                     transcript_json_octets(enhanced_text(&reply->enhanced, enhanced)), "text",
                     reply_text(reply));
}

static json_t *client_tls(const smx_session_view *s)
{
    if (!s->tls)
        return json_null();
    return json_pack("{s:o, s:o}", "protocol", transcript_json_octets(s->tls_protocol), "cipher",
                     transcript_json_octets(s->tls_cipher));
}

static json_t *upstream_tls(const smx_proxy_record *r)
{
    if (!r->upstream_tls)
        return json_null();
    return json_pack(
        "{s:o, s:o, s:b}", "protocol", transcript_json_octets(r->upstream_tls_protocol), "cipher",
        transcript_json_octets(r->upstream_tls_cipher), "verified", (int)r->upstream_verified);
}

enum { UPSTREAM_TEXT = SMX_ADDRESS_TEXT + 8 };

/* "192.0.2.1:25" or "[2001:db8::1]:25" */
static smx_slice upstream_text(const smx_proxy_record *r, char text[static UPSTREAM_TEXT])
{
    char address_text[SMX_ADDRESS_TEXT];
    smx_slice a = smx_address_write(&r->upstream, address_text);
    writer w = writer_to(text, UPSTREAM_TEXT);
    if (r->upstream.family != 4 && r->upstream.family != 6)
        return (smx_slice){NULL, 0};
    writer_text(&w, r->upstream.family == 6 ? "[" : "");
    writer_slice(&w, a);
    writer_text(&w, r->upstream.family == 6 ? "]:" : ":");
    writer_number(&w, r->upstream.port);
    return slice_of(text, w.len);
}

/* Takes `value` over; NULL, or no object: out of memory. */
static int put(json_t *all, const char *key, json_t *value)
{
    return json_object_set_new(all, key, value) == 0 ? 0 : SMX_E_NOMEM;
}

static int fill(json_t *all, const smx_proxy_record *r, const log_sink *log)
{
    char clock[CLOCK_TEXT];
    char upstream[UPSTREAM_TEXT];
    const smx_session_view *s = r->session;
    int failed = put(all, "time", transcript_json_octets(clock_rfc3339(r->started, clock)));
    failed |= put(all, "session", json_integer((json_int_t)s->id));
    failed |= put(all, "id", transcript_json_octets(r->id));
    failed |= put(all, "listener", transcript_json_octets(s->listener));
    failed |= put(all, "client", address(log, &s->client));
    failed |= put(all, "helo", transcript_json_octets(s->helo));
    failed |= put(all, "user", person(log, r->user));
    failed |= put(all, "from", r->has_from ? person(log, r->from) : json_null());
    failed |= put(all, "to", recipients(r, log));
    failed |= put(all, "size", json_integer((json_int_t)r->size));
    failed |= put(all, "message_id", transcript_json_octets(r->message_id));
    failed |= put(all, "verdict", transcript_json_octets(r->verdict));
    failed |= put(all, "hook", transcript_json_octets(r->verdict_hook));
    failed |= put(all, "phase", transcript_json_octets(r->verdict_phase));
    failed |= put(all, "reply", reply_of(&r->reply));
    failed |= put(all, "own", json_boolean(r->reply_is_own));
    failed |= put(all, "outcome", transcript_json_octets(r->outcome));
    failed |= put(all, "duration_ms", json_integer((json_int_t)r->duration));
    failed |= put(all, "client_tls", client_tls(s));
    failed |= put(all, "upstream", transcript_json_octets(upstream_text(r, upstream)));
    failed |= put(all, "upstream_tls", upstream_tls(r));
    return failed != 0 ? SMX_E_NOMEM : 0;
}

static int append_json(const char *octets, size_t count, void *arg)
{
    return buffer_append(arg, slice_of(octets, count));
}

int audit_line(const smx_proxy_record *record, const log_sink *log, buffer *out)
{
    json_t *all = json_object();
    int error = all == NULL ? SMX_E_NOMEM : fill(all, record, log);
    if (error == 0 && json_dump_callback(all, append_json, out, JSON_COMPACT) != 0)
        error = SMX_E_NOMEM;
    json_decref(all);
    return error == 0 ? buffer_append_char(out, '\n') : error;
}

/* ---- the log ---- */

void audit_log(const smx_proxy_record *r, log_sink *log)
{
    char client[SMX_ADDRESS_TEXT];
    char upstream[UPSTREAM_TEXT];
    char nrcpt[DIGITS_MAX], size[DIGITS_MAX], code[DIGITS_MAX], delay[DIGITS_MAX];
    char enhanced[ENHANCED_TEXT];
    if (!r->has_from)
        return;
    const smx_log_field fields[] = {
        {"id", r->id},
        {"user", r->user},
        {"client", smx_address_write(&r->session->client, client)},
        {"from", r->from},
        {"nrcpt", digits_of(r->recipient_count, nrcpt)},
        {"size", digits_of(r->size, size)},
        {"upstream", upstream_text(r, upstream)},
        {"code", digits_of(r->reply.code, code)},
        {"enhanced", enhanced_text(&r->reply.enhanced, enhanced)},
        {"phase", r->verdict_phase},
        {"tls", r->session->tls_protocol},
        {"delay_ms", digits_of(r->duration, delay)},
        {"outcome", r->outcome},
        {"message_id", r->message_id},
    };
    log_write(log, SMX_LOG_INFO, "message", r->session->id, fields,
              sizeof(fields) / sizeof(fields[0]));
}
