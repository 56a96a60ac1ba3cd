/* What `match` of a route says, and whether a message fits. All values; the memory is the
 * configuration's.
 *
 * Evaluation knows three results: while the message is on its way, its header section and its size
 * are not known, and what depends on them may still turn out either way.
 */
#ifndef MUX_MATCH_H
#define MUX_MATCH_H

#include "mux/daytime.h"
#include "smx/message.h"

/* ---- what the file says ---- */

/* What a condition looks at. */
typedef enum mux_fact {
    MUX_FACT_USER = 1,
    MUX_FACT_CLIENT = 2,
    MUX_FACT_SENDER = 4,
    MUX_FACT_RECIPIENT = 8,
    MUX_FACT_TIME = 16,
    MUX_FACT_HEADER = 32,
    MUX_FACT_SIZE = 64,
} mux_fact;
enum {
    MUX_FACTS_ENVELOPE =
        MUX_FACT_USER | MUX_FACT_CLIENT | MUX_FACT_SENDER | MUX_FACT_RECIPIENT | MUX_FACT_TIME,
    MUX_FACTS_MESSAGE = MUX_FACT_HEADER | MUX_FACT_SIZE,
    MUX_FACTS_ALL = MUX_FACTS_ENVELOPE | MUX_FACTS_MESSAGE,
};

typedef enum mux_pattern_kind {
    MUX_PATTERN_GLOB,
    MUX_PATTERN_NETWORK,
    MUX_PATTERN_SIZE,
    MUX_PATTERN_TIME,
} mux_pattern_kind;

/* word, its text in the file, what it looks at, the kind of its values, what a person calls it */
#define MUX_WORD_MAP(X)                                                                            \
    X(USER, "user", MUX_FACT_USER, MUX_PATTERN_GLOB, "user")                                       \
    X(CLIENT, "client", MUX_FACT_CLIENT, MUX_PATTERN_NETWORK, "client")                            \
    X(FROM, "from", MUX_FACT_SENDER, MUX_PATTERN_GLOB, "sender")                                   \
    X(FROM_DOMAIN, "from_domain", MUX_FACT_SENDER, MUX_PATTERN_GLOB, "sender's domain")            \
    X(RCPT, "rcpt", MUX_FACT_RECIPIENT, MUX_PATTERN_GLOB, "recipient")                             \
    X(RCPT_DOMAIN, "rcpt_domain", MUX_FACT_RECIPIENT, MUX_PATTERN_GLOB, "recipient's domain")      \
    X(HEADER, "header", MUX_FACT_HEADER, MUX_PATTERN_GLOB, "field")                                \
    X(SIZE, "size", MUX_FACT_SIZE, MUX_PATTERN_SIZE, "size")                                       \
    X(TIME, "time", MUX_FACT_TIME, MUX_PATTERN_TIME, "time")

typedef enum mux_word {
#define MUX_WORD_ENTRY(word, text, fact, kind, person) MUX_WORD_##word,
    MUX_WORD_MAP(MUX_WORD_ENTRY)
#undef MUX_WORD_ENTRY
        MUX_WORD_NOT, /* `not: {...}` */
    MUX_WORD_COUNT
} mux_word;

typedef struct mux_word_facts {
    const char *text; /* in the file */
    mux_fact fact;    /* not of NOT */
    mux_pattern_kind kind;
    const char *person;
} mux_word_facts;
const mux_word_facts *mux_word_get(mux_word word);

/* Sizes between these, both included. */
typedef struct mux_size_range {
    uint64_t minimum, maximum;
} mux_size_range;

typedef struct mux_pattern {
    smx_slice text; /* as it stands in the file; the glob itself */
    union {
        smx_network network;
        mux_size_range size;
        mux_daytime time;
    } is;
} mux_pattern;

/* One word. It holds when one of its patterns does; NOT, when `nested` does not. */
typedef struct mux_condition {
    mux_word word;
    smx_slice field; /* HEADER: the field's name */
    const mux_pattern *patterns;
    size_t pattern_count;
    const struct mux_match *nested;
} mux_condition;

/* All of them must hold: an empty match fits every message. */
typedef struct mux_match {
    const mux_condition *conditions;
    size_t count;
} mux_match;

/* ---- what is known of a message ---- */

typedef struct mux_facts {
    unsigned known; /* bits of mux_fact: the others are not looked at */
    smx_slice user;
    smx_address client;
    smx_slice sender; /* the mailbox; empty for `<>` */
    smx_slice recipient;
    uint64_t wall_ms; /* of MAIL: one moment for the whole transaction */
    smx_slice header; /* the header section */
    char *scratch;    /* header.len octets, to unfold fields in; NULL: folds stay as they came */
    uint64_t size;
} mux_facts;

/* The domain of a mailbox; empty where it has none. */
smx_slice mux_mailbox_domain(smx_slice mailbox);

/* ---- whether it fits ---- */

typedef enum mux_fit { MUX_NO, MUX_YES, MUX_MAYBE } mux_fit;

mux_fit mux_match_eval(const mux_match *match, const mux_facts *facts);
mux_fit mux_condition_eval(const mux_condition *condition, const mux_facts *facts);

/* For a match that is MAYBE with both: true if whatever is still unknown will bring both to the same
 * result. The facts must know the same. */
bool mux_match_is_alike(const mux_match *match, const mux_facts *a, const mux_facts *b);

/* The facts that some condition looks at: bits of mux_fact. */
unsigned mux_match_facts(const mux_match *match);

/* True if every message that fits `one` also fits `other`; false when that is not plain to see. */
bool mux_match_implies(const mux_match *one, const mux_match *other);

#endif
