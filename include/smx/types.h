/* Shapes shared by every header of libsmx: slices, errors, tickets, addresses, log lines.
 *
 * Three kinds of outcome are kept apart everywhere in this library. A bug of the caller stops the
 * program (assert). A local failure is a negative smx_error. What SMTP says to a client is a value
 * of type smx_reply (smx/proto.h) and is never an error code.
 */
#ifndef SMX_TYPES_H
#define SMX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Everything marked so is visible in the shared object; the rest of the library is hidden. */
#define SMX_API __attribute__((visibility("default")))
/* The result says whether it worked: looking away is a bug, and a warning. */
#define SMX_MUST_USE __attribute__((warn_unused_result))

/* Octets that somebody else owns; not terminated by NUL, and may contain NUL. The one who hands a
 * slice out says how long it lives. The empty slice is {NULL, 0} or any pointer with length 0. */
typedef struct smx_slice {
    const char *data;
    size_t len;
} smx_slice;

/* A slice of a string literal. */
#define SMX_SLICE(literal) ((smx_slice){(literal), sizeof(literal) - 1})

/* Names one thing that will be answered later: an event of a session, a hook, a handler, a
 * selector. Never 0, never used twice in a process. */
typedef uint64_t smx_ticket;

/* Local failures. Every function that can fail returns 0 or one of these. */
#define SMX_ERROR_MAP(X)                                                                           \
    X(-1, NOMEM, "out of memory")                                                                  \
    X(-2, INVALID, "invalid argument")                                                             \
    X(-3, SYNTAX, "malformed input")                                                               \
    X(-4, RANGE, "a number or a length is out of range")                                           \
    X(-5, AGAIN, "not now: more input, or a later call, is needed")                                \
    X(-6, GONE, "the ticket was answered before, or what it named is gone")                        \
    X(-7, LATE, "too late: the change can no longer be made")                                      \
    X(-8, STATE, "not possible in this state")                                                     \
    X(-9, LIMIT, "a configured limit was reached")                                                 \
    X(-10, IO, "input or output failed")                                                           \
    X(-11, TIMEOUT, "the time was over")                                                           \
    X(-12, CLOSED, "the peer closed the connection")                                               \
    X(-13, RESET, "the connection was reset")                                                      \
    X(-14, REFUSED, "the connection was refused")                                                  \
    X(-15, RESOLVE, "the name could not be resolved")                                              \
    X(-16, TLS, "TLS failed")                                                                      \
    X(-17, CERTIFICATE, "the certificate was not accepted")                                        \
    X(-18, AUTH, "authentication failed")                                                          \
    X(-19, PROTOCOL, "the peer broke the protocol")                                                \
    X(-20, NOTFOUND, "no such thing")                                                              \
    X(-21, EXISTS, "it exists already")                                                            \
    X(-22, BUSY, "in use")                                                                         \
    X(-23, UNSUPPORTED, "not supported")                                                           \
    X(-24, PERMISSION, "permission denied")

typedef enum smx_error {
#define SMX_ERROR_ENTRY(number, name, text) SMX_E_##name = number,
    SMX_ERROR_MAP(SMX_ERROR_ENTRY)
#undef SMX_ERROR_ENTRY
} smx_error;

/* The meaning of an error in plain English; never NULL. Any thread. */
SMX_API const char *smx_error_text(int error);

/* Seriousness of a log line. */
typedef enum smx_log_level {
    SMX_LOG_DEBUG,
    SMX_LOG_INFO,
    SMX_LOG_WARN,
    SMX_LOG_ERROR,
} smx_log_level;

/* One key and value of a log line. The receiver escapes; values are as they came from the peer. */
typedef struct smx_log_field {
    const char *key;
    smx_slice value;
} smx_log_field;

/* The caller's log: `event` is a constant word, `session` the number of the session or 0.
 * The fields live until the call returns. Called on the loop's thread. */
typedef void smx_log_fn(void *arg, smx_log_level level, const char *event, uint64_t session,
                        const smx_log_field *fields, size_t count);

#ifdef __cplusplus
}
#endif

#endif
