/* Who may ask for what: the rules of DESIGN 5 on a request's head. Nothing here does I/O. */
#ifndef ADMIN_GATE_H
#define ADMIN_GATE_H

#include "base/slice.h"

enum { GATE_BODY_MAX = 1 << 20 };

typedef struct gate_rules {
    bool is_tcp;
    smx_slice listen_host; /* without brackets */
    smx_slice token;
    const char *const *hosts;
    size_t host_count;
} gate_rules;

/* Absent header fields have NULL data. */
typedef struct gate_request {
    smx_slice host;
    size_t host_count; /* fields called Host */
    smx_slice origin;
    smx_slice fetch_site; /* Sec-Fetch-Site */
    smx_slice authorization;
    smx_slice content_type;
    smx_slice content_length;
    smx_slice transfer_encoding;
    smx_slice local_address; /* of the connection, without port; empty on a Unix socket */
} gate_request;

typedef struct gate_refusal {
    unsigned status; /* 0: let in */
    const char *why;
} gate_refusal;

/* Whether a caller is let in where a token and a known host are asked for. */
gate_refusal gate_check_caller(const gate_rules *rules, const gate_request *request);
/* Whether a change may come so: its type, and the length of its body. */
gate_refusal gate_check_change(const gate_request *request);
/* True for "x" in "x", "x:80", "[x]", "[x]:80", without regard to case. */
bool gate_host_is(smx_slice authority, smx_slice host);

#endif
