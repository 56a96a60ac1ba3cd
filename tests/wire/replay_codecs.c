/* The codecs that take their input in pieces: run once at a given size of pieces, each in memory of
 * its own. */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>

static void replay_must(int error)
{
    if (error != 0)
        abort();
}

static void replay_give_faults(wire_case *c, uint8_t faults)
{
    char text[32] = "";
    (void)snprintf(text, sizeof(text), "%s%s%s", faults & SMX_FAULT_BARE_CR ? "cr " : "",
                   faults & SMX_FAULT_BARE_LF ? "lf " : "", faults & SMX_FAULT_NUL ? "nul " : "");
    case_give(c, "faults", faults == 0 ? SMX_SLICE("none") : slice_trim(slice_of_text(text)));
}

static size_t replay_piece(smx_slice in, size_t at, size_t chunk)
{
    return in.len - at < chunk ? in.len - at : chunk;
}

void replay_dot_decode(wire_case *c, smx_slice in, size_t chunk)
{
    smx_dot_decoder decoder = {0};
    buffer out = {0};
    size_t consumed = 0;
    for (size_t at = 0; at < in.len && !decoder.done; at += replay_piece(in, at, chunk)) {
        size_t len = replay_piece(in, at, chunk);
        char *copy = case_copy(slice_of(in.data + at, len));
        smx_slice rest = slice_of(copy, len);
        while (rest.len > 0 && !decoder.done) {
            smx_slice piece;
            size_t taken = smx_dot_decode(&decoder, rest, &piece);
            replay_must(buffer_append(&out, piece));
            rest = slice_from(rest, taken);
            consumed += taken;
        }
        free(copy);
    }
    case_give(c, "out", buffer_slice(&out));
    case_give_number(c, "out-length", buffer_length(&out));
    case_give_number(c, "consumed", consumed);
    case_give_bool(c, "done", decoder.done);
    replay_give_faults(c, decoder.faults);
    buffer_free(&out);
}

void replay_dot_encode(wire_case *c, smx_slice in, size_t chunk)
{
    smx_dot_encoder encoder = {0};
    buffer out = {0};
    for (size_t at = 0; at < in.len && encoder.faults == 0; at += replay_piece(in, at, chunk)) {
        size_t len = replay_piece(in, at, chunk);
        char *copy = case_copy(slice_of(in.data + at, len));
        smx_slice rest = slice_of(copy, len);
        while (rest.len > 0 && encoder.faults == 0) {
            smx_slice piece;
            size_t taken = smx_dot_encode(&encoder, rest, &piece);
            if (encoder.faults != 0 && (taken != 0 || piece.len != 0))
                case_problem(c, "a fault, and yet octets are handed out");
            if (encoder.faults == 0 && taken == 0 && piece.len == 0)
                abort();
            replay_must(buffer_append(&out, piece));
            rest = slice_from(rest, taken);
        }
        free(copy);
    }
    case_give(c, "end", smx_dot_end(&encoder));
    case_give(c, "out", buffer_slice(&out));
    replay_give_faults(c, encoder.faults);
    buffer_free(&out);
}

void replay_newline_check(wire_case *c, smx_slice in, size_t chunk)
{
    smx_newline_check check = {0};
    for (size_t at = 0; at < in.len; at += replay_piece(in, at, chunk)) {
        size_t len = replay_piece(in, at, chunk);
        char *copy = case_copy(slice_of(in.data + at, len));
        smx_newline_check_feed(&check, slice_of(copy, len));
        free(copy);
    }
    smx_newline_check_end(&check);
    replay_give_faults(c, check.faults);
}

static void replay_give_reply(wire_case *c, const smx_reply_lines *reply)
{
    buffer text = {0};
    smx_slice line;
    char enhanced[32];
    size_t at = 0;
    while (smx_reply_next_line(reply, &at, &line)) {
        replay_must(buffer_append(&text, line));
        replay_must(buffer_append_char(&text, '\n'));
    }
    (void)snprintf(enhanced, sizeof(enhanced), "%u.%u.%u", reply->enhanced.class_digit,
                   reply->enhanced.subject, reply->enhanced.detail);
    case_give_number(c, "code", reply->code);
    case_give_number(c, "count", reply->count);
    case_give_text(c, "enhanced", enhanced);
    case_give(c, "text", buffer_slice(&text));
    case_give_number(c, "raw-length", reply->raw.len);
    buffer_free(&text);
}

void replay_reply(wire_case *c, smx_slice in, size_t chunk)
{
    smx_reply_parser parser = {0};
    smx_reply_lines reply = {0};
    size_t consumed = 0;
    int error = SMX_E_AGAIN;
    for (size_t len = 0; len < in.len && error == SMX_E_AGAIN;) {
        len += replay_piece(in, len, chunk);
        char *copy = case_copy(slice_to(in, len));
        error = smx_reply_parse(&parser, slice_of(copy, len), &reply, &consumed);
        if (error == 0)
            replay_give_reply(c, &reply);
        free(copy);
    }
    case_give_error(c, "result", error);
    if (error == SMX_E_PROTOCOL)
        case_give_number(c, "wrong-at", parser.scanned);
    case_give_number(c, "consumed", consumed);
}

static void replay_give_address(wire_case *c, const char *key, const smx_address *address)
{
    char text[SMX_ADDRESS_TEXT];
    char line[SMX_ADDRESS_TEXT + 8];
    (void)smx_address_write(address, text);
    (void)snprintf(line, sizeof(line), "%s %u", text, address->port);
    case_give_text(c, key, line);
}

static void replay_give_proxy(wire_case *c, const smx_proxy_header *header)
{
    char out[52];
    size_t written = 0;
    case_give_number(c, "version", header->version);
    case_give_bool(c, "local", header->local);
    replay_give_address(c, "source", &header->source);
    replay_give_address(c, "destination", &header->destination);
    case_give_bool(c, "tls", header->tls);
    case_give(c, "authority", header->authority);
    case_give_error(c, "write", smx_proxy_header_write(header, out, sizeof(out), &written));
    case_give(c, "written", slice_of(out, written));
}

void replay_proxy(wire_case *c, smx_slice in, size_t chunk)
{
    smx_proxy_header header = {0};
    size_t consumed = 0;
    int error = SMX_E_AGAIN;
    for (size_t len = 0; len < in.len && error == SMX_E_AGAIN;) {
        len += replay_piece(in, len, chunk);
        char *copy = case_copy(slice_to(in, len));
        error = smx_proxy_header_parse(slice_of(copy, len), &header, &consumed);
        if (error == 0)
            replay_give_proxy(c, &header);
        free(copy);
    }
    case_give_error(c, "result", error);
    case_give_number(c, "consumed", consumed);
}
