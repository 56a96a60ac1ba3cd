/* The user that a client names in AUTH, read from the lines that pass: nothing of it is proved here, and
 * no secret is kept. */
#ifndef PROXY_AUTH_USER_H
#define PROXY_AUTH_USER_H

#include "base/buffer.h"

/* One dialogue. Zero is none. */
typedef struct auth_user {
    uint8_t form;  /* of what names the user; 0: none that is known */
    bool answered; /* the line that names it has come */
    buffer name;
} auth_user;

/* AUTH's argument: the mechanism, and perhaps an initial response. */
void auth_user_begin(auth_user *a, smx_slice argument);
/* A line of the client's in the dialogue, without its CRLF. */
void auth_user_response(auth_user *a, smx_slice line);
/* What it was; empty: not known. Lives until the next call. */
smx_slice auth_user_name(const auth_user *a);
void auth_user_free(auth_user *a);

#endif
