/* Lines of a session's transcript: as text in the manner of swaks, and as JSON.
 *
 *      -> to the upstream           ~> the same, where it came in TLS
 *     <-  to the client            <~  the same
 *     === what happened
 *
 * A `*` in the free column marks what the proxy said itself: `<-* `, `*-> `. */
#ifndef APP_TRANSCRIPT_H
#define APP_TRANSCRIPT_H

#include <jansson.h>

#include "base/buffer.h"
#include "smx/proxy.h"

enum { TRANSCRIPT_TEXT_MAX = 2048 }; /* of a line; longer ones are cut */

/* Octets as they may be shown on a terminal: controls, and what is no UTF-8, as \xNN. */
SMX_MUST_USE int transcript_plain(smx_slice text, buffer *out);

/* " -> EHLO client\n"; with the session's number in front if that is wanted. */
SMX_MUST_USE int transcript_text(const smx_proxy_line *line, bool with_session, buffer *out);

/* {"time": ..., "session": ..., "client": ..., "listener": ..., "way": "->", "tls": ..., "own": ...,
 * "text": ...} and a newline. */
SMX_MUST_USE int transcript_json(const smx_proxy_line *line, buffer *out);
/* The other way round, into text. SMX_E_SYNTAX: it is no such line. */
SMX_MUST_USE int transcript_text_of_json(const json_t *line, buffer *out);

/* A JSON string of any octets; NULL: no memory. */
json_t *transcript_json_octets(smx_slice text);

#endif
