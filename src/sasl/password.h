/* Stored passwords: clear text, crypt(3) hashes, SCRAM keys; comparison, creation, and the memory of
 * what was right. */
#ifndef SASL_PASSWORD_H
#define SASL_PASSWORD_H

#include "base/buffer.h"
#include "base/problem.h"

typedef enum password_kind {
    PASSWORD_CLEAR,
    PASSWORD_CRYPT, /* $id$...; takes milliseconds to compare: on the pool */
    PASSWORD_SCRAM, /* SCRAM-SHA-256$... */
    PASSWORD_NONE,  /* empty: nothing is right */
} password_kind;

password_kind password_kind_of(smx_slice stored);
/* Checks the form of a stored secret; the problem says what is wrong ("unknown hash ..."). */
SMX_MUST_USE int password_check_form(smx_slice stored, problem *p);

/* Constant time in what is secret. Blocks for a crypt hash. Any thread. */
bool password_is_right(smx_slice stored, smx_slice given);
/* Takes the time that a wrong password of such a store takes, for unknown users. */
void password_waste_time(smx_slice like_stored);

/* A new yescrypt hash, or SCRAM-SHA-256$4096:salt$StoredKey:ServerKey. Appended to `out`. */
SMX_MUST_USE int password_hash(smx_slice clear, buffer *out);
SMX_MUST_USE int password_scram(smx_slice clear, buffer *out);

/* Remembers crypt successes as HMACs under a key of this process, so that a client which connects
 * for every message pays once. Bounded. Any thread. */
typedef struct password_memory password_memory;
SMX_MUST_USE int password_memory_new(password_memory **memory);
void password_memory_free(password_memory *memory);
bool password_memory_knows(password_memory *memory, smx_slice stored, smx_slice given);
void password_memory_add(password_memory *memory, smx_slice stored, smx_slice given);

#endif
