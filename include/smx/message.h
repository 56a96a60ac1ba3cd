/* A message and its envelope: the octets as they came, the fields of the header section, and who
 * it is from and for.
 *
 * A message keeps its octets exactly. Edits are made by composing a new header section in front of
 * the old body; the message itself is never changed once it is whole.
 */
#ifndef SMX_MESSAGE_H
#define SMX_MESSAGE_H

#include "smx/proto.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The envelope (RFC 5321 section 2.3.1) ---- */

/* Owned by the transaction: its slices live as long as that. */
typedef struct smx_envelope {
    smx_mail mail;
    const smx_rcpt *recipients;
    size_t recipient_count;
} smx_envelope;

/* ---- The octets ---- */

typedef struct smx_message smx_message;

/* Memory that all messages of a process share; 0 is no limit. Any thread. */
typedef struct smx_budget smx_budget;
SMX_API SMX_MUST_USE int smx_budget_new(uint64_t limit, smx_budget **budget);
SMX_API void smx_budget_free(smx_budget *budget);
/* Counts from the next octets on; what is in use stays. Any thread. */
SMX_API void smx_budget_set_limit(smx_budget *budget, uint64_t limit);
/* Octets in use now. */
SMX_API uint64_t smx_budget_used(const smx_budget *budget);

enum {
    SMX_MESSAGE_MEMORY = 262144, /* octets kept in memory; those behind go to an unlinked file */
    SMX_HEADER_MAX = 262144,     /* octets of a header section; a longer one is refused */
};

typedef struct smx_message_options {
    uint32_t version;     /* SMX_MESSAGE_VERSION */
    smx_budget *budget;   /* NULL: none. Outlives the message */
    const char *temp_dir; /* for the file; NULL: TMPDIR, or /tmp */
} smx_message_options;
enum { SMX_MESSAGE_VERSION = 1 };

SMX_API SMX_MUST_USE int smx_message_new(const smx_message_options *options, smx_message **message);
/* Drops one reference; the last one frees memory and file. NULL is nothing. Any thread. */
SMX_API void smx_message_free(smx_message *message);
/* Takes one more reference. Any thread. */
SMX_API smx_message *smx_message_share(smx_message *message);

/* Adds octets at the end. SMX_E_NOMEM, SMX_E_LIMIT (the budget, or the disk: 452 4.3.1), SMX_E_IO (the
 * file). */
SMX_API SMX_MUST_USE int smx_message_append(smx_message *message, smx_slice octets);

SMX_API uint64_t smx_message_size(const smx_message *message);

/* Octets from `offset` on: a slice of the memory, which lives as the message, or of `scratch`, into
 * which the file is read. An empty slice at the end. SMX_E_IO; SMX_E_INVALID if there is a file
 * to be read and `capacity` is 0. Once the message is whole, any thread. */
SMX_API SMX_MUST_USE int smx_message_read(const smx_message *message, uint64_t offset,
                                          char *scratch, size_t capacity, smx_slice *octets);

/* The header section: up to and without the empty line that ends it (or all, if there is none).
 * SMX_E_AGAIN while it is not whole, SMX_E_LIMIT when it is longer than SMX_HEADER_MAX.
 * `smx_message_end` says that no more octets come. */
SMX_API void smx_message_end(smx_message *message);
/* What the one who filled the whole message knows of it: bits of smx_body_trait. Such a message is sent
 * without being looked at again: who promises too much lets bare newlines out. */
SMX_API void smx_message_promise(smx_message *message, unsigned traits);
SMX_API unsigned smx_message_traits(const smx_message *message);
SMX_API SMX_MUST_USE int smx_message_header(const smx_message *message, smx_slice *header);
/* Where the rest begins: at the empty line (its CRLF is part of the rest). */
SMX_API uint64_t smx_message_body_offset(const smx_message *message);

/* ---- Fields of a header section (RFC 5322 section 2.2) ---- */

typedef struct smx_field {
    smx_slice raw;   /* the whole field with its last CRLF */
    smx_slice name;  /* without the colon; empty for a line that is no field */
    smx_slice value; /* behind the colon, folded as it came, without the last CRLF */
} smx_field;

/* The next field. Start with *at = 0; false at the end. Every octet of the section is in some
 * field's `raw`: what is not a field comes with an empty name. */
SMX_API bool smx_field_next(smx_slice header, size_t *at, smx_field *field);
/* The `nth` field of this name (0: the first), without regard to case. */
SMX_API bool smx_field_find(smx_slice header, smx_slice name, size_t nth, smx_field *field);
SMX_API size_t smx_field_count(smx_slice header, smx_slice name);

/* Copies a value without its folding (RFC 5322 section 2.2.3) and outer blanks. At most the value's
 * length. SMX_E_RANGE. */
SMX_API SMX_MUST_USE int smx_field_unfold(smx_slice value, char *out, size_t capacity, size_t *len);

/* One mailbox of an address list (From, Sender, To ...). */
typedef struct smx_field_mailbox {
    smx_slice raw;     /* from its first to its last octet, comments included */
    smx_slice display; /* the display name as it came (quoted, folded, encoded), or empty */
    smx_slice address; /* the addr-spec as it came; it may hold comments and folding */
    bool angle;        /* the address stood within < > */
} smx_field_mailbox;

/* The next mailbox of a value; groups are gone through. Start with *at = 0. 1: found, 0: the end,
 * SMX_E_SYNTAX: neither (it cannot be gone on with). Linear. */
SMX_API SMX_MUST_USE int smx_field_next_mailbox(smx_slice value, size_t *at,
                                                smx_field_mailbox *mailbox);
/* The address of such a mailbox without comments, folding and blanks, as local-part@domain. At most
 * its length. SMX_E_SYNTAX, SMX_E_RANGE. */
SMX_API SMX_MUST_USE int smx_field_plain_address(const smx_field_mailbox *mailbox, char *out,
                                                 size_t capacity, size_t *len);

/* ---- Received (RFC 5321 section 4.4) ---- */

/* What a Received field tells. Empty slices are left out. */
typedef struct smx_received {
    smx_slice helo;            /* the client's name for itself */
    const smx_address *client; /* its address; NULL: left out (received: no-client) */
    smx_slice by;              /* our host name */
    smx_slice protocol;        /* ESMTPSA ... (RFC 3848) */
    smx_slice id;
    smx_slice recipient; /* only for a single recipient */
    smx_slice tls;       /* "TLSv1.3 TLS_AES_256_GCM_SHA384", a comment */
    uint64_t wall_ms;    /* milliseconds since 1970 */
    smx_slice date;      /* the same as RFC 5322 writes it, if the caller has that; or empty */
} smx_received;

/* "SMTP", "ESMTP", "ESMTPSA", "UTF8SMTPSA", "LMTPA" ... (RFC 3848, RFC 6531 section 4.3). */
SMX_API smx_slice smx_received_protocol(bool esmtp, bool lmtp, bool utf8, bool tls, bool auth);

/* Writes the field, folded, with its last CRLF, at most SMX_RECEIVED_MAX octets. Octets that have
 * no place there become '?'. SMX_E_RANGE. */
enum { SMX_RECEIVED_MAX = 2048 };
SMX_API SMX_MUST_USE int smx_received_write(const smx_received *received, char *out,
                                            size_t capacity, size_t *len);

/* ---- Edits of a header section ---- */

/* A header section in the making: fields are added, changed and deleted, and the result is read as
 * a whole. It keeps a copy of what it was made from. */
typedef struct smx_header_edit smx_header_edit;

SMX_API SMX_MUST_USE int smx_header_edit_new(smx_slice header, smx_header_edit **edit);
SMX_API void smx_header_edit_free(smx_header_edit *edit);
/* Values may be folded ("\r\n " within); any other CR, LF or NUL, or a bad name: SMX_E_INVALID
 * (ATTACKS 20). On top, or at the end. */
SMX_API SMX_MUST_USE int smx_header_edit_prepend(smx_header_edit *edit, smx_slice name,
                                                 smx_slice value);
SMX_API SMX_MUST_USE int smx_header_edit_append(smx_header_edit *edit, smx_slice name,
                                                smx_slice value);
/* Replaces the value of the `nth` field of that name in its place; SMX_E_NOTFOUND. */
SMX_API SMX_MUST_USE int smx_header_edit_change(smx_header_edit *edit, smx_slice name, size_t nth,
                                                smx_slice value);
/* Deletes the `nth` field of that name, or all of them (SIZE_MAX); SMX_E_NOTFOUND. */
SMX_API SMX_MUST_USE int smx_header_edit_delete(smx_header_edit *edit, smx_slice name, size_t nth);
/* The section as it is now; lives until the next change. */
SMX_API SMX_MUST_USE int smx_header_edit_result(smx_header_edit *edit, smx_slice *header);

#ifdef __cplusplus
}
#endif

#endif
