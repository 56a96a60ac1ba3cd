/* Lines of transcripts: values to octets, without state. */
#include "app/transcript.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "proto/utf8.h"

/* Columns by way, TLS, and who said it. */
static const char *const MARKS[][2][2] = {
    [SMX_PROXY_TO_UPSTREAM] = {{" -> ", "*-> "}, {" ~> ", "*~> "}},
    [SMX_PROXY_TO_CLIENT] = {{"<-  ", "<-* "}, {"<~  ", "<~* "}},
    [SMX_PROXY_NOTE] = {{"=== ", "=== "}, {"=== ", "=== "}},
};
static const char *const WAYS[] = {
    [SMX_PROXY_TO_UPSTREAM] = "->", [SMX_PROXY_TO_CLIENT] = "<-", [SMX_PROXY_NOTE] = "=="};
enum { WAY_COUNT = sizeof(WAYS) / sizeof(WAYS[0]) };

/* ---- text ---- */

/* Octets of the character at the start that may be shown, or 0. */
static size_t shown(smx_slice rest)
{
    size_t octets = utf8_character(rest);
    unsigned char first = (unsigned char)rest.data[0];
    if (first < 0x20 || first == 0x7F)
        return 0;
    /* The C1 controls drive terminals as the C0 ones do. */
    return octets == 2 && first == 0xC2 && (unsigned char)rest.data[1] < 0xA0 ? 0 : octets;
}

int transcript_plain(smx_slice text, buffer *out)
{
    int error = 0;
    for (size_t at = 0; at < text.len && error == 0;) {
        smx_slice rest = slice_from(text, at);
        size_t octets = shown(rest);
        error = octets > 0 ? buffer_append(out, slice_to(rest, octets))
                           : buffer_printf(out, "\\x%02x", (unsigned char)rest.data[0]);
        at += octets == 0 ? 1 : octets;
    }
    return error;
}

int transcript_text(const smx_proxy_line *line, bool with_session, buffer *out)
{
    smx_slice text = line->text;
    bool is_cut = text.len > TRANSCRIPT_TEXT_MAX;
    if (is_cut)
        text.len = TRANSCRIPT_TEXT_MAX;
    int error = with_session ? buffer_printf(out, "%" PRIu64 " ", line->session->id) : 0;
    if (error == 0)
        error = buffer_append_text(out, MARKS[line->way][line->in_tls][line->own]);
    if (error == 0)
        error = transcript_plain(text, out);
    if (error == 0 && is_cut)
        error = buffer_printf(out, " [and %zu octets]", line->text.len - text.len);
    return error == 0 ? buffer_append_char(out, '\n') : error;
}

/* ---- JSON ---- */

json_t *transcript_json_octets(smx_slice text)
{
    json_t *value = json_stringn(text.data == NULL ? "" : text.data, text.len);
    if (value != NULL)
        return value;
    buffer plain = {0};
    if (transcript_plain(text, &plain) == 0)
        value = json_stringn(buffer_slice(&plain).data, buffer_length(&plain));
    buffer_free(&plain);
    return value;
}

static int append_json(const char *octets, size_t count, void *arg)
{
    return buffer_append(arg, slice_of(octets, count));
}

int transcript_json(const smx_proxy_line *line, buffer *out)
{
    char clock[CLOCK_TEXT];
    char client[SMX_ADDRESS_TEXT];
    const smx_session_view *session = line->session;
    smx_slice time = clock_rfc3339(line->time, clock);
    json_t *all = json_pack(
        "{s:o, s:I, s:o, s:o, s:s, s:b, s:b, s:o}", "time", transcript_json_octets(time), "session",
        (json_int_t)session->id, "client",
        transcript_json_octets(smx_address_write(&session->client, client)), "listener",
        transcript_json_octets(session->listener), "way", WAYS[line->way], "tls", (int)line->in_tls,
        "own", (int)line->own, "text", transcript_json_octets(line->text));
    if (all == NULL)
        return SMX_E_NOMEM;
    int error = json_dump_callback(all, append_json, out, JSON_COMPACT) == 0 ? 0 : SMX_E_NOMEM;
    json_decref(all);
    return error == 0 ? buffer_append_char(out, '\n') : error;
}

int transcript_text_of_json(const json_t *value, buffer *out)
{
    const char *way = json_string_value(json_object_get(value, "way"));
    const json_t *text = json_object_get(value, "text");
    const smx_session_view session = {
        .id = (uint64_t)json_integer_value(json_object_get(value, "session"))};
    for (size_t i = 0; i < WAY_COUNT && way != NULL && json_is_string(text); i++) {
        if (strcmp(way, WAYS[i]) != 0)
            continue;
        const smx_proxy_line line = {
            .session = &session,
            .way = (smx_proxy_way)i,
            .in_tls = json_is_true(json_object_get(value, "tls")),
            .own = json_is_true(json_object_get(value, "own")),
            .text = slice_of(json_string_value(text), json_string_length(text)),
        };
        return transcript_text(&line, true, out);
    }
    return SMX_E_SYNTAX;
}
