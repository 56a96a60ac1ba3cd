/* The Received field (RFC 5321 section 4.4). Pure: writes into the caller's memory. */
#include <stdio.h>

#include "base/clock.h"
#include "proto/writer.h"
#include "smx/message.h"

/* Octets that cannot stand in a clause, beside controls, blanks and broken UTF-8. */
static const char *const RECEIVED_ATOM = "()<>\\\",;";
static const char *const RECEIVED_PATH = "<>";
static const char *const RECEIVED_COMMENT = "()\\";

/* What peers said, made harmless: it cannot end its clause, a comment or the field. A blank stands
 * only in comments and paths. */
static void received_text(writer *w, smx_slice text, const char *misplaced)
{
    bool utf8 = smx_utf8_is_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool bad = c < ' ' || c == 0x7f || (c >= 0x80 && !utf8) || strchr(misplaced, c) != NULL ||
                   (c == ' ' && misplaced == RECEIVED_ATOM);
        writer_char(w, bad ? '?' : text.data[i]);
    }
}

/* "from name ([192.0.2.1])": the name is the client's own word, the address is what we saw. */
static void received_from(writer *w, const smx_received *received)
{
    char text[SMX_ADDRESS_TEXT];
    const smx_address *client = received->client;
    bool has_address = client != NULL && client->family != 0;
    if (received->helo.len == 0 && !has_address)
        return;
    writer_text(w, " from ");
    received_text(w, received->helo.len > 0 ? received->helo : SMX_SLICE("unknown"), RECEIVED_ATOM);
    if (has_address) {
        bool unix_socket = client->family == 1;
        writer_text(w, unix_socket ? " (" : client->family == 6 ? " ([IPv6:" : " ([");
        writer_slice(w, smx_address_write(client, text));
        writer_text(w, unix_socket ? ")" : "])");
    }
    writer_text(w, "\r\n\t");
}

/* A clause with its blanks, or nothing. */
static void received_clause(writer *w, const char *before, smx_slice text, const char *misplaced,
                            const char *after)
{
    if (text.len == 0)
        return;
    writer_text(w, before);
    received_text(w, text, misplaced);
    writer_text(w, after);
}

int smx_received_write(const smx_received *received, char *out, size_t capacity, size_t *len)
{
    char date[CLOCK_TEXT];
    writer w = writer_to(out, capacity < SMX_RECEIVED_MAX ? capacity : SMX_RECEIVED_MAX);
    writer_text(&w, "Received:");
    received_from(&w, received);
    received_clause(&w, w.len == strlen("Received:") ? " by " : "by ", received->by, RECEIVED_ATOM,
                    "");
    received_clause(&w, " with ", received->protocol, RECEIVED_ATOM, "");
    received_clause(&w, "\r\n\t(", received->tls, RECEIVED_COMMENT, ")");
    received_clause(&w, "\r\n\tid ", received->id, RECEIVED_ATOM, "");
    received_clause(&w, "\r\n\tfor <", received->recipient, RECEIVED_PATH, ">");
    writer_text(&w, ";\r\n\t");
    writer_slice(&w, clock_rfc5322(received->wall_ms, date));
    writer_text(&w, "\r\n");
    return writer_end(&w, len);
}

/* RFC 3848; RFC 6531 section 4.3. Only HELO without more is plain SMTP: TLS, AUTH and SMTPUTF8 come
 * with EHLO. */
smx_slice smx_received_protocol(bool esmtp, bool lmtp, bool utf8, bool tls, bool auth)
{
    /* [lmtp][utf8][tls][auth] */
    static const char *const names[2][2][2][2] = {
        {{{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
         {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}}},
        {{{"LMTP", "LMTPA"}, {"LMTPS", "LMTPSA"}},
         {{"UTF8LMTP", "UTF8LMTPA"}, {"UTF8LMTPS", "UTF8LMTPSA"}}},
    };
    if (!esmtp && !lmtp && !utf8 && !tls && !auth)
        return SMX_SLICE("SMTP");
    return slice_of_text(names[lmtp][utf8][tls][auth]);
}
