/* Scripts for the client's machine: what the server says, what the owner does, what must come of it,
 * on a virtual clock and without sockets. The same interpreter runs tests/session/client and, at
 * every chunk size, tests/wire/client. A file holds cases:
 *
 *   == name                  a case; lines of `#` are comments
 *   options: WORD...         tls=off|if-offered|required|implicit lmtp authenticate own=NAME
 *                            helo=NAME banner=MS command=MS data=MS block=MS final=MS
 *   S: line                  the server says the line and CRLF; S*N: N times; S> without CRLF
 *   C: line                  exactly this must have been sent; C> without CRLF
 *   event: TYPE ...          exactly this event must have come
 *   do: ACTION ... [-> ERR]  the owner acts: begin proceed reset quit auth respond tls fail body
 *                            end trim hold send, see client_script.c
 *   after 300s               the clock goes on (s or ms)
 *   deadline 300s            from now; or `never`
 *   phase NAME, ready yes|no
 *
 * Escapes in texts: \r \n \t \0 \\ \s (blank) \xHH, and \*N,c for N times the octet c. What was sent
 * or happened and is not named by the next lines is an error too. */
#ifndef TESTS_CLIENT_SCRIPT_H
#define TESTS_CLIENT_SCRIPT_H

#include "base/buffer.h"
#include "smx/session.h"

typedef struct script_case {
    smx_slice name;
    smx_slice text; /* the lines behind the name's */
    size_t line;    /* number of the first of them */
} script_case;

/* Cuts the next case off `rest`; false at the end. `line` counts along, from 1. */
bool script_next_case(smx_slice *rest, size_t *line, script_case *c);

/* Runs a case with the server's octets in chunks of `chunk`. True if all came as written; otherwise
 * `problem` says what did not. *longest becomes the longest run of octets that the server says. */
bool script_run(const script_case *c, size_t chunk, size_t *longest, buffer *problem);

#endif
