/* The wire of SMTP: parsers and codecs over plain values. No I/O, no clock, no allocation.
 *
 * Parsed values are slices of the input and live as long as it does. Every function may be called
 * on any thread. Whatever is parsed here came from a stranger.
 */
#ifndef SMX_PROTO_H
#define SMX_PROTO_H

#include "smx/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Replies (RFC 5321 section 4.2, RFC 3463) ---- */

/* An enhanced status code, as 4.3.1. Class 0 stands for "none". */
typedef struct smx_enhanced {
    uint16_t class_digit; /* 2, 4 or 5, and 0 for none */
    uint16_t subject;     /* 0 to 999 */
    uint16_t detail;      /* 0 to 999 */
} smx_enhanced;

/* What SMTP says. The text may have several lines, parted by '\n'; it bears neither the code nor
 * the enhanced code. A reply's text is borrowed: every function that takes a reply copies it. */
typedef struct smx_reply {
    uint16_t code; /* 200 to 599; 0 is "no reply" */
    smx_enhanced enhanced;
    smx_slice text;
} smx_reply;

/* A constant reply: SMX_REPLY(451, 4, 3, 0, "try again"). */
#define SMX_REPLY(code_, class_, subject_, detail_, literal)                                       \
    ((smx_reply){(code_), {(class_), (subject_), (detail_)}, SMX_SLICE(literal)})

/* Reads an enhanced code from the start of `text`. 0 and the number of octets it takes (without
 * the blank behind it), or SMX_E_SYNTAX. */
SMX_API SMX_MUST_USE int smx_enhanced_parse(smx_slice text, smx_enhanced *enhanced, size_t *len);

/* Octets that smx_reply_write needs at most for this reply. */
SMX_API size_t smx_reply_size(const smx_reply *reply);

/* Writes a reply as it goes over the wire, every line ended by CRLF and at most 512 octets (longer
 * ones are cut into several). `enhanced_codes` says whether the enhanced code is written on each
 * line. Octets other than printable ASCII, UTF-8 and tab in the text become '?', so that no text
 * can forge a line. Returns the octets written, or SMX_E_RANGE if `capacity` is too small. */
SMX_API SMX_MUST_USE int smx_reply_write(const smx_reply *reply, bool enhanced_codes, char *out,
                                         size_t capacity, size_t *written);

/* Limits of a peer's reply; past them it is a protocol error. */
enum {
    SMX_REPLY_LINE_MAX = 4096, /* octets of one line */
    SMX_REPLY_LINES_MAX = 256,
    SMX_REPLY_MAX = 65536, /* octets of the whole reply */
};

/* A reply as it came: `raw` is all its lines with their CRLFs. */
typedef struct smx_reply_lines {
    uint16_t code;
    smx_enhanced enhanced; /* of the first line, none if absent or of another class */
    uint16_t count;        /* lines */
    smx_slice raw;
} smx_reply_lines;

/* Progress of reading one reply; zero to begin, and again after each reply. */
typedef struct smx_reply_parser {
    size_t scanned;
    size_t line; /* where the line that is being read begins */
    uint16_t code;
    uint16_t count;
} smx_reply_parser;

/* Reads one reply at the start of `in`. Returns 0 with `reply` and the octets `consumed`;
 * SMX_E_AGAIN when `in` ends within the reply (nothing is consumed: call again with the same
 * octets and more behind them; none is looked at twice); SMX_E_PROTOCOL for anything that is not a
 * reply of RFC 5321: other codes within it, a bare CR or LF, NUL, a limit passed. A line of three
 * digits alone is taken. */
SMX_API SMX_MUST_USE int smx_reply_parse(smx_reply_parser *parser, smx_slice in,
                                         smx_reply_lines *reply, size_t *consumed);

/* The text of the next line, without code, separator and CRLF. Start with *at = 0; false at the
 * end. */
SMX_API bool smx_reply_next_line(const smx_reply_lines *reply, size_t *at, smx_slice *text);

/* ---- Extensions (RFC 5321 section 4.1.1.1) ---- */

#define SMX_EXTENSION_MAP(X)                                                                       \
    X(0, PIPELINING, "PIPELINING")                   /* RFC 2920 */                                \
    X(1, SIZE, "SIZE")                               /* RFC 1870 */                                \
    X(2, 8BITMIME, "8BITMIME")                       /* RFC 6152 */                                \
    X(3, STARTTLS, "STARTTLS")                       /* RFC 3207 */                                \
    X(4, AUTH, "AUTH")                               /* RFC 4954 */                                \
    X(5, ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES") /* RFC 2034 */                                \
    X(6, CHUNKING, "CHUNKING")                       /* RFC 3030 */                                \
    X(7, BINARYMIME, "BINARYMIME")                   /* RFC 3030 */                                \
    X(8, SMTPUTF8, "SMTPUTF8")                       /* RFC 6531 */                                \
    X(9, DSN, "DSN")                                 /* RFC 3461 */                                \
    X(10, REQUIRETLS, "REQUIRETLS")                  /* RFC 8689 */                                \
    X(11, LIMITS, "LIMITS")                          /* RFC 9422 */                                \
    X(12, XCLIENT, "XCLIENT")                        /* Postfix XCLIENT_README */                  \
    X(13, DELIVERBY, "DELIVERBY")                    /* RFC 2852 */                                \
    X(14, MT_PRIORITY, "MT-PRIORITY")                /* RFC 6710 */                                \
    X(15, ETRN, "ETRN")                              /* RFC 1985 */                                \
    X(16, HELP, "HELP")                              /* RFC 5321 */                                \
    X(17, VRFY, "VRFY")

/* A set of extensions: bits. */
typedef uint32_t smx_extensions;

enum smx_extension {
#define SMX_EXTENSION_ENTRY(bit, name, keyword) SMX_EXT_##name = 1 << (bit),
    SMX_EXTENSION_MAP(SMX_EXTENSION_ENTRY)
#undef SMX_EXTENSION_ENTRY
};

/* What a server said in its EHLO reply. */
typedef struct smx_capabilities {
    smx_extensions extensions;
    uint64_t max_size;         /* SIZE; 0: no fixed limit (RFC 1870 section 4) */
    uint32_t max_recipients;   /* LIMITS RCPTMAX; 0: not said */
    uint32_t max_transactions; /* LIMITS MAILMAX; 0: not said */
    smx_slice auth_mechanisms; /* the words behind AUTH, parted by blanks */
    smx_slice domain;          /* the first word of the first line */
} smx_capabilities;

/* Reads an EHLO reply (also the obsolete "AUTH=" form). Unknown keywords are passed over; of
 * doubled ones the first counts, but AUTH's mechanisms must be in one line to be used. */
SMX_API void smx_capabilities_parse(const smx_reply_lines *reply, smx_capabilities *capabilities);

/* ---- Addresses (RFC 5321 section 4.1.2 and 4.1.3, RFC 6531) ---- */

typedef enum smx_domain_kind {
    SMX_DOMAIN_NONE, /* `<>`, or `<Postmaster>` */
    SMX_DOMAIN_NAME,
    SMX_DOMAIN_IPV4,    /* [192.0.2.1] */
    SMX_DOMAIN_IPV6,    /* [IPv6:2001:db8::1] */
    SMX_DOMAIN_LITERAL, /* [tag:content] */
} smx_domain_kind;

/* A reverse-path or forward-path. */
typedef struct smx_path {
    smx_slice mailbox; /* local-part@domain without source route; empty for `<>` */
    smx_slice local;   /* as it came, quotes included: its case is its owner's business */
    smx_slice domain;  /* with the brackets of a literal */
    smx_domain_kind domain_kind;
    bool utf8; /* some octet is not ASCII */
} smx_path;

enum smx_path_flag {
    SMX_PATH_UTF8 = 1,       /* UTF-8 in local-part and domain is allowed (SMTPUTF8) */
    SMX_PATH_NULL = 2,       /* `<>` is allowed */
    SMX_PATH_POSTMASTER = 4, /* `<Postmaster>` without a domain is allowed */
};

/* Limits of RFC 5321 section 4.5.3.1, in octets. */
enum { SMX_LOCAL_PART_MAX = 64, SMX_DOMAIN_MAX = 255, SMX_PATH_MAX = 256 };

/* Reads a path at the start of `in`, which begins with `<`. A source route is checked and left
 * out. Returns 0 and the octets `consumed` up to and with `>`; SMX_E_SYNTAX; SMX_E_RANGE over a
 * length limit; SMX_E_UNSUPPORTED for non-ASCII without SMX_PATH_UTF8 (and SMX_E_SYNTAX for
 * malformed UTF-8). */
SMX_API SMX_MUST_USE int smx_path_parse(smx_slice in, unsigned flags, smx_path *path,
                                        size_t *consumed);

/* The same for a bare mailbox (local-part@domain, no angle brackets), which takes all of `in`. */
SMX_API SMX_MUST_USE int smx_mailbox_parse(smx_slice in, unsigned flags, smx_path *path);

/* True for a domain or an address literal, as EHLO's argument must be (RFC 5321 section 4.1.4). */
SMX_API bool smx_domain_is_valid(smx_slice domain, bool utf8, smx_domain_kind *kind);

/* True for well-formed UTF-8 (RFC 3629): no overlong form, no surrogate. ASCII counts. */
SMX_API bool smx_utf8_is_valid(smx_slice text);

/* ---- Commands (RFC 5321 section 4.1.1) ---- */

/* verb, its text, and the longest line in octets with CRLF (DESIGN 4.13). */
#define SMX_VERB_MAP(X)                                                                            \
    X(HELO, "HELO", 512)                                                                           \
    X(EHLO, "EHLO", 512)                                                                           \
    X(LHLO, "LHLO", 512)                                                                           \
    X(MAIL, "MAIL", 2048)                                                                          \
    X(RCPT, "RCPT", 2048)                                                                          \
    X(DATA, "DATA", 512)                                                                           \
    X(BDAT, "BDAT", 512)                                                                           \
    X(RSET, "RSET", 512)                                                                           \
    X(NOOP, "NOOP", 512)                                                                           \
    X(VRFY, "VRFY", 512)                                                                           \
    X(EXPN, "EXPN", 512)                                                                           \
    X(HELP, "HELP", 512)                                                                           \
    X(QUIT, "QUIT", 512)                                                                           \
    X(STARTTLS, "STARTTLS", 512)                                                                   \
    X(AUTH, "AUTH", 12288)                                                                         \
    X(XCLIENT, "XCLIENT", 4096)                                                                    \
    X(TURN, "TURN", 512)                                                                           \
    X(ETRN, "ETRN", 512)

typedef enum smx_verb {
    SMX_VERB_UNKNOWN,
#define SMX_VERB_ENTRY(name, text, limit) SMX_VERB_##name,
    SMX_VERB_MAP(SMX_VERB_ENTRY)
#undef SMX_VERB_ENTRY
        SMX_VERB_COUNT
} smx_verb;

/* The shortest and the longest of these limits. */
enum { SMX_COMMAND_LINE_MIN = 512, SMX_COMMAND_LINE_MAX = 12288 };

typedef struct smx_command {
    smx_verb verb;
    smx_slice name;     /* the verb as it came */
    smx_slice argument; /* behind the blanks that follow it, without trailing blanks */
} smx_command;

/* Reads a command line without its CRLF. A verb is the octets up to the first blank. Never fails:
 * what is not known is SMX_VERB_UNKNOWN. */
SMX_API void smx_command_parse(smx_slice line, smx_command *command);

/* "MAIL" for SMX_VERB_MAIL; NULL for SMX_VERB_UNKNOWN. */
SMX_API const char *smx_verb_text(smx_verb verb);
/* Longest line of this verb, CRLF included; 512 for an unknown one. */
SMX_API size_t smx_verb_line_max(smx_verb verb);
/* The longest line that may still become valid, told from its first octets. */
SMX_API size_t smx_line_limit(smx_slice start_of_line);

typedef enum smx_body {
    SMX_BODY_NONE, /* not said: 7BIT */
    SMX_BODY_7BIT,
    SMX_BODY_8BITMIME,
    SMX_BODY_BINARYMIME,
} smx_body;

typedef enum smx_dsn_return { SMX_RET_NONE, SMX_RET_FULL, SMX_RET_HDRS } smx_dsn_return;

/* MAIL with its parameters. */
typedef struct smx_mail {
    smx_path path;
    bool has_size;
    bool has_auth;
    bool smtputf8;
    bool requiretls;
    uint64_t size;      /* SIZE, octets (RFC 1870) */
    smx_body body;      /* BODY */
    smx_dsn_return ret; /* RET (RFC 3461 section 4.3) */
    smx_slice envid;    /* ENVID as it came, in xtext; at most 100 octets */
    smx_slice auth;     /* AUTH as it came, in xtext; `<>` stands as itself (RFC 4954 section 5) */
} smx_mail;

enum smx_notify {
    SMX_NOTIFY_NEVER = 1,
    SMX_NOTIFY_SUCCESS = 2,
    SMX_NOTIFY_FAILURE = 4,
    SMX_NOTIFY_DELAY = 8,
};

/* RCPT with its parameters. */
typedef struct smx_rcpt {
    smx_path path;
    unsigned notify; /* NOTIFY, bits of smx_notify; 0: not said */
    smx_slice orcpt; /* ORCPT as it came: type;xtext, at most 500 octets */
} smx_rcpt;

/* Read the argument of MAIL or RCPT. `offered` are the extensions that the server announced: a
 * parameter of another one is unknown (555 5.5.4). NULL when it is right; otherwise the reply that
 * says what is wrong, a constant: 501 5.5.4 (also a doubled parameter), 555 5.5.4, 553 5.6.7 for
 * non-ASCII without SMTPUTF8, 501 5.1.7 or 501 5.1.3 for a bad address. The out parameter is
 * written only on success. */
SMX_API SMX_MUST_USE const smx_reply *smx_mail_parse(smx_slice argument, smx_extensions offered,
                                                     smx_mail *mail);
SMX_API SMX_MUST_USE const smx_reply *smx_rcpt_parse(smx_slice argument, smx_extensions offered,
                                                     bool smtputf8, smx_rcpt *rcpt);

/* Write MAIL and RCPT, with CRLF, as far as `offered` (the peer's extensions) allows parameters:
 * DSN's only if it offers DSN, and so on. Refuses with SMX_E_INVALID any octet that could end the
 * line or the path; SMX_E_RANGE when `capacity` is too small (SMX_MAIL_LINE_MAX always does). */
enum { SMX_MAIL_LINE_MAX = 2048 };
SMX_API SMX_MUST_USE int smx_mail_write(const smx_mail *mail, smx_extensions offered, char *out,
                                        size_t capacity, size_t *written);
SMX_API SMX_MUST_USE int smx_rcpt_write(const smx_rcpt *rcpt, smx_extensions offered, char *out,
                                        size_t capacity, size_t *written);

/* BDAT's argument (RFC 3030 section 2): size and LAST. SMX_E_SYNTAX or SMX_E_RANGE. */
SMX_API SMX_MUST_USE int smx_bdat_parse(smx_slice argument, uint64_t *size, bool *last);

/* ---- Encodings ---- */

/* xtext (RFC 3461 section 4). The output is never longer than 3 times (encode) or once (decode)
 * the input; SMX_E_SYNTAX for malformed input, SMX_E_RANGE for too small a capacity. */
SMX_API SMX_MUST_USE int smx_xtext_decode(smx_slice in, char *out, size_t capacity, size_t *len);
SMX_API SMX_MUST_USE int smx_xtext_encode(smx_slice in, char *out, size_t capacity, size_t *len);

/* base64 (RFC 4648 section 4), strict: padding is required, no blanks, no stray bits. */
SMX_API SMX_MUST_USE int smx_base64_decode(smx_slice in, char *out, size_t capacity, size_t *len);
SMX_API SMX_MUST_USE int smx_base64_encode(smx_slice in, char *out, size_t capacity, size_t *len);
/* Octets that encoding `len` octets gives. */
SMX_API size_t smx_base64_size(size_t len);

/* ---- The body of DATA (RFC 5321 section 4.5.2) ---- */

/* What is wrong with a body; bits (DESIGN 4.13). */
enum smx_body_fault {
    SMX_FAULT_BARE_CR = 1,
    SMX_FAULT_BARE_LF = 2,
    SMX_FAULT_NUL = 4,
};

/* What is known of a body, so that it need not be looked at again; bits. */
enum smx_body_trait {
    SMX_BODY_CLEAN = 1,    /* only CRLF ends its lines; no bare CR, bare LF or NUL */
    SMX_BODY_UNDOTTED = 2, /* it is made of whole lines, and none begins with a dot: DATA carries a
                              clean body of this kind as it is */
};

/* Undoes dot-stuffing and finds the end of data, CRLF.CRLF and nothing else. Zero to begin. */
typedef struct smx_dot_decoder {
    uint8_t state;
    uint8_t faults; /* bits of smx_body_fault seen so far */
    bool done;      /* the end of data was read */
    bool dotted; /* some line of the body, undone of its dots, begins with one: to go on over DATA
                       the body needs dot-stuffing; one without such a line goes as it is */
} smx_dot_decoder;

/* Takes octets from the start of `in`: returns how many, and in `piece` the next run of body
 * octets, a slice of `in` or of a constant (a held-back CR or CRLF), possibly empty. Call again
 * with the rest until the input is used up or `done` is set; what lies behind the end of data is
 * not consumed. Octets of a faulty body are still handed out. The CRLF before the final dot is
 * part of the body. Runs at memory speed where no line begins with a dot. */
SMX_API size_t smx_dot_decode(smx_dot_decoder *decoder, smx_slice in, smx_slice *piece);

/* Does dot-stuffing. Zero to begin. */
typedef struct smx_dot_encoder {
    uint8_t state;  /* 0: at the start of a line */
    uint8_t faults; /* bits of smx_body_fault: the caller must not send on */
} smx_dot_encoder;

/* Takes octets from the start of `in`: returns how many; `piece` is the next run to send, a slice of
 * `in` or the constant "." or "\r\n". Faults are found before their octet is handed out: when
 * `faults` gets set, `piece` is empty and 0 is returned. For that a CR that ends `in` is taken but
 * held back until the octet behind it is seen: the only other time that `piece` may be empty. */
SMX_API size_t smx_dot_encode(smx_dot_encoder *encoder, smx_slice in, smx_slice *piece);

/* What must follow the body: ".\r\n", or "\r\n.\r\n" when it did not end with CRLF. A body that
 * ends with a bare CR sets its fault and gives the empty slice. */
SMX_API smx_slice smx_dot_end(smx_dot_encoder *encoder);

/* Looks for bare CR, bare LF and NUL in a body that is not dot-stuffed (BDAT). Zero to begin; a CR
 * as the last octet of all is a fault too: smx_newline_check_end. */
typedef struct smx_newline_check {
    bool after_cr;
    bool within_line;
    uint8_t faults;
    bool dotted; /* as smx_dot_decoder's */
} smx_newline_check;
SMX_API void smx_newline_check_feed(smx_newline_check *check, smx_slice in);
SMX_API void smx_newline_check_end(smx_newline_check *check);

/* ---- PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt) ---- */

/* An address of the network layer, for IPv4, IPv6 and Unix sockets. */
typedef struct smx_address {
    uint8_t family; /* 0: unknown, 4, 6, or 1 for a Unix socket */
    uint8_t octets[16];
    uint16_t port; /* in host order */
} smx_address;

/* "192.0.2.1", "2001:db8::1" or "unix"; at most SMX_ADDRESS_TEXT octets with the NUL. */
enum { SMX_ADDRESS_TEXT = 46 };
SMX_API smx_slice smx_address_write(const smx_address *address, char text[SMX_ADDRESS_TEXT]);
/* Reads such a text (no brackets, no port). SMX_E_SYNTAX. */
SMX_API SMX_MUST_USE int smx_address_parse(smx_slice text, smx_address *address);

/* A network, as 192.0.2.0/24; without a mask one address. */
typedef struct smx_network {
    smx_address address;
    uint8_t prefix; /* leading bits that count */
} smx_network;
SMX_API SMX_MUST_USE int smx_network_parse(smx_slice text, smx_network *network);
/* IPv4-mapped IPv6 addresses count as IPv4. */
SMX_API bool smx_network_contains(const smx_network *network, const smx_address *address);

typedef struct smx_proxy_header {
    uint8_t version; /* 1 or 2 */
    bool local;      /* LOCAL, or UNKNOWN: the addresses of the connection itself are right */
    smx_address source;
    smx_address destination;
    bool tls;            /* v2: PP2_TYPE_SSL says that the client spoke TLS */
    smx_slice authority; /* v2: SNI */
} smx_proxy_header;

/* Reads a header at the start of `in`. 0 and the octets consumed; SMX_E_AGAIN when more is needed
 * (never past 107 octets of v1, or 536 of v2); SMX_E_PROTOCOL when it is none. */
SMX_API SMX_MUST_USE int smx_proxy_header_parse(smx_slice in, smx_proxy_header *header,
                                                size_t *consumed);
/* Writes version 2, at most 52 octets. */
SMX_API SMX_MUST_USE int smx_proxy_header_write(const smx_proxy_header *header, char *out,
                                                size_t capacity, size_t *written);

/* ---- XCLIENT (Postfix XCLIENT_README) ---- */

#define SMX_XCLIENT_MAP(X)                                                                         \
    X(NAME)                                                                                        \
    X(ADDR)                                                                                        \
    X(PORT)                                                                                        \
    X(PROTO)                                                                                       \
    X(HELO)                                                                                        \
    X(LOGIN)                                                                                       \
    X(DESTADDR)                                                                                    \
    X(DESTPORT)

typedef enum smx_xclient_name {
#define SMX_XCLIENT_ENTRY(name) SMX_XCLIENT_##name,
    SMX_XCLIENT_MAP(SMX_XCLIENT_ENTRY)
#undef SMX_XCLIENT_ENTRY
        SMX_XCLIENT_COUNT
} smx_xclient_name;

/* The attributes of one command. A value that is [UNAVAILABLE] or [TEMPUNAVAIL] is given but empty. */
typedef struct smx_xclient {
    bool given[SMX_XCLIENT_COUNT];
    smx_slice value[SMX_XCLIENT_COUNT]; /* decoded, in `memory` of the parse call */
} smx_xclient;

/* Reads XCLIENT's argument; values are decoded from xtext into `memory` (as long as the argument
 * does always). SMX_E_SYNTAX, SMX_E_RANGE. */
SMX_API SMX_MUST_USE int smx_xclient_parse(smx_slice argument, char *memory, size_t capacity,
                                           smx_xclient *xclient);

#ifdef __cplusplus
}
#endif

#endif
