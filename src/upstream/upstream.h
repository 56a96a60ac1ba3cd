/* One provider: how it is reached, and what all workers know of it together.
 *
 * The options are a part of the configuration's snapshot. The record lives beside the snapshots, as
 * long as somebody has a share of it, so that a reload forgets nothing. The workers share it under one
 * mutex, taken once to begin an attempt and once to end it: permits for connections, the suspension
 * after refused credentials, the breaker, the quota, latency; counts stand beside it.
 */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include "base/histogram.h"
#include "base/list.h"
#include "base/problem.h"
#include "smx/client.h"
#include "upstream/breaker.h"
#include "upstream/oauth2.h"
#include "upstream/quota.h"
#include "upstream/rules.h"
#include "upstream/suitable.h"

enum { UPSTREAM_PIN = 32 }; /* octets of a SHA-256 */

typedef struct upstream_options {
    const char *name;
    const char *url;  /* as configured, with its default port */
    const char *host; /* name, address, or the path of a Unix socket */
    uint16_t port;    /* 0: a Unix socket */
    bool lmtp;
    smx_tls_policy tls;
    smx_client_verify verify;
    const char *ca_file;   /* NULL: the system's */
    const char *cert_file; /* client certificate, or NULL */
    const char *key_file;
    const uint8_t (*pins)[UPSTREAM_PIN]; /* the server's key must be one of these */
    size_t pin_count;                    /* 0: any */
    const char *user;                    /* NULL: no AUTH */
    const char *password;
    oauth2_options oauth2; /* in place of the password; `token_url` NULL: none */
    const char *mechanism; /* auth: the only one to use, or NULL */
    bool allow_insecure_auth;
    const char *rewrite_from; /* or NULL */
    bool reply_to_add;
    const char *source;                   /* local address, or NULL */
    uint8_t family;                       /* 0, 4, 6 */
    uint32_t max_connections;             /* over all workers; 0: 20 */
    uint32_t max_messages_per_connection; /* 0: 100 */
    uint32_t idle_ms;                     /* an idle connection is closed after; 0: 90000 */
    bool open_ahead;                      /* one connection ahead of demand */
    uint32_t max_age_ms; /* any connection is closed after, between messages; 0: 300000 */
    uint32_t
        connect_timeout_ms; /* these bound an attempt beside the delivery's own limits; 0: the */
    uint32_t command_timeout_ms; /* machine's defaults */
    uint32_t data_timeout_ms;
    uint32_t final_timeout_ms;
    const char *profile;        /* its name or path, or NULL */
    const upstream_rule *rules; /* what its replies mean, beside DESIGN 4.3; from its profile */
    size_t rule_count;
    smx_extensions caps;   /* what it is known to offer, before its first EHLO is seen */
    uint64_t cap_max_size; /* SIZE among these; 0: not known */
    breaker_options breaker;
    uint32_t probe_ms; /* how often it is tried out when it has nothing to do; 0: never */
    uint32_t pace_ms;  /* how long a quota of up to a minute may delay a message; 0: 5000 */
    quota_limits limits;
} upstream_options;

/* Reads a URL of DESIGN section 2 (smtp:// smtp+tls:// smtp+notls:// smtps:// lmtp:// smtp+unix:
 * lmtp+unix:) into `host` (a new string, the caller's), `port`, `lmtp`, `tls`, `verify`; a URL may not
 * bear user or password. The problem says what was expected. */
SMX_MUST_USE int upstream_url_parse(smx_slice url, upstream_options *options, char **host,
                                    problem *p);

typedef struct upstream upstream;

/* A record with one share; its name and settings are copied. `s` keeps what is used of its quota; NULL:
 * nothing is durable. SMX_E_NOMEM. */
SMX_MUST_USE int upstream_new(const upstream_options *options, store *s, upstream **u);
/* One share more; any thread. */
upstream *upstream_share(upstream *u);
/* One share less; NULL is nothing. Any thread. */
void upstream_free(upstream *u);
const char *upstream_name(const upstream *u);
/* The settings of a newer snapshot. Other credentials end a suspension. */
void upstream_configure(upstream *u, const upstream_options *options);

/* A share of the tokens of these credentials, the same for all who ask with the same ones: tokens, and
 * refresh tokens that were replaced, outlive a reload, and those of the credentials in force (that is,
 * of upstream_configure) one that is given up. The log must outlive the record. */
SMX_MUST_USE int upstream_share_oauth2(upstream *u, const upstream_options *options,
                                       smx_log_fn *log, void *log_arg, oauth2 **o);

/* ---- suspension (DESIGN 4.3): refused credentials. Any thread; times of the monotonic clock ---- */

/* For `ms`; 0: 15 minutes, doubling to 6 hours with each suspension that follows without a success
 * between. Returns until when; *is_new tells whether it was not suspended already. */
uint64_t upstream_suspend(upstream *u, uint64_t now, uint64_t ms, bool *is_new);
/* The provider says "too many": its quota counts as full for `ms`. */
void upstream_pause(upstream *u, uint64_t ms);
/* Ends a suspension and a pause, and closes the breaker. True: there was something to end. */
bool upstream_resume(upstream *u);

/* ---- admission: may a message be tried here now? Any thread ---- */

typedef enum upstream_usable {
    UPSTREAM_USABLE,
    UPSTREAM_SUSPENDED,    /* until `until` */
    UPSTREAM_BREAKER_OPEN, /* until `until`, or until the probe under way is over (0) */
    UPSTREAM_LEASING,      /* the store is being asked for quota: the waiter is told */
    UPSTREAM_PACED,        /* a limit of up to a minute is full until `until` */
    UPSTREAM_QUOTA_FULL,   /* a longer one is, until `until`, or the provider made us pause */
    UPSTREAM_TOO_MANY,     /* more recipients than a limit ever allows */
} upstream_usable;

/* What was decided for one attempt; must be settled when it is USABLE. */
typedef struct upstream_admission {
    upstream_usable usable;
    uint64_t until;    /* of the monotonic clock */
    bool is_probe;     /* the breaker's one probe */
    bool is_for_probe; /* as it was asked */
    quota_reservation reservation;
    char why[QUOTA_TEXT]; /* of the quota's refusals: the limit, or a reason in words */
} upstream_admission;

typedef struct upstream_ask {
    uint64_t now;
    uint64_t recipients;
    bool past_breaker; /* all breakers are open, and this is the best: the breaker is not asked */
    bool is_for_probe; /* the quota is not asked */
    quota_waiter *waiter; /* for LEASING; NULL: nobody waits */
} upstream_ask;

void upstream_admit(upstream *u, const upstream_ask *ask, upstream_admission *admission);

/* What an admitted attempt tells of the server. */
typedef enum upstream_health {
    UPSTREAM_SILENT_ON_HEALTH, /* it was given up, or never began */
    UPSTREAM_GREETED,          /* it came behind EHLO */
    UPSTREAM_UNREACHED,        /* it failed in connect to EHLO */
} upstream_health;

typedef struct upstream_settlement {
    uint64_t now;
    upstream_health health;
    bool taken;       /* the message was delivered: ends the doubling of suspensions */
    bool counts;      /* against the quota: it was taken, or nobody knows */
    uint64_t took_ms; /* of a delivery that was taken, for the latency */
} upstream_settlement;

/* What an operator is to be told. */
typedef enum upstream_news {
    UPSTREAM_NO_NEWS,
    UPSTREAM_OPENED, /* the breaker opened, until `until` */
    UPSTREAM_CLOSED, /* it is closed again */
} upstream_news;

upstream_news upstream_settle(upstream *u, upstream_admission *admission,
                              const upstream_settlement *settlement, uint64_t *until);

/* ---- the active probe (DESIGN 4.8): claimed by one of all workers, admitted as an attempt is, and
 * settled. Any thread; times of the monotonic clock ---- */

enum { UPSTREAM_PROBE_MS = 30000 }; /* a probe is over by then */

/* When it is to be tried out: `probe_ms` after the last attempt or probe. UINT64_MAX: never. */
uint64_t upstream_probe_due(const upstream *u);
/* True for exactly one of those who ask when it is due. */
SMX_MUST_USE bool upstream_probe_claim(upstream *u, uint64_t now);

/* How it stands, for selectors, explain, the API and metrics. Asks for nothing. */
typedef struct upstream_status {
    upstream_usable usable; /* as admission would say of a message with one recipient */
    uint64_t until;
    char why[QUOTA_TEXT]; /* of the quota's refusals, as in an admission */
    bool is_suspended;
    uint64_t suspended_until;
    breaker_state breaker;
    uint64_t breaker_until;
    uint32_t failures; /* in a row, in connect to EHLO */
    double latency_ms; /* moving average of deliveries; 0: none yet */
    uint32_t connections;
    uint32_t max_connections;
    uint32_t waiting; /* attempts that wait for a connection */
} upstream_status;
void upstream_get_status(upstream *u, uint64_t now, upstream_status *status);
/* Its quota, for reports and for taking back the waiting of an ask. */
quota *upstream_quota(upstream *u);
/* The last EHLO told this. Keeps extensions and SIZE for the next start too. */
void upstream_learn(upstream *u, const smx_capabilities *told);
/* What it is known to offer: by its last EHLO, or if none was seen, by `configured`. Takes no lock.
 * *is_whole (or NULL): what is not among it is not offered. */
upstream_offer upstream_known(const upstream *u, const upstream_options *configured,
                              bool *is_whole);
/* A hint that takes no lock: neither suspended nor with an open breaker. */
bool upstream_is_plain(const upstream *u);
/* The moving average in microseconds; 0: none yet. Takes no lock. */
uint32_t upstream_latency_us(const upstream *u);

/* ---- what attempts report. Any thread ---- */

#define UPSTREAM_COUNTER_MAP(X)                                                                    \
    X(attempts, "attempts to deliver a message")                                                   \
    X(accepted, "messages taken")                                                                  \
    X(refused, "messages or recipients refused")                                                   \
    X(failed, "attempts that failed before the final dot")                                         \
    X(unknown, "attempts whose outcome is unknown")                                                \
    X(connections, "connections opened")                                                           \
    X(opened_ahead, "connections opened before a message came for them")                           \
    X(resumed, "connections whose TLS session was resumed")                                        \
    X(reused, "attempts on a connection that was open already")                                    \
    X(suspensions, "suspensions that began")
typedef enum upstream_counter {
#define UPSTREAM_COUNTER_ENTRY(name, text) UPSTREAM_COUNT_##name,
    UPSTREAM_COUNTER_MAP(UPSTREAM_COUNTER_ENTRY)
#undef UPSTREAM_COUNTER_ENTRY
        UPSTREAM_COUNTER_COUNT
} upstream_counter;
void upstream_count(upstream *u, upstream_counter counter);
/* How long attempts took that ended so. */
void upstream_took(upstream *u, smx_outcome outcome, uint64_t ms);
void upstream_times(const upstream *u, smx_outcome outcome, histogram_view *view);

/* An attempt whose message was not taken: refused, failed or unknown. By the phase that decided. */
void upstream_not_taken(upstream *u, smx_client_phase phase);
uint64_t upstream_not_taken_total(const upstream *u, smx_client_phase phase);

/* Connections over all workers, by the list of their pool that they are on. */
typedef enum upstream_connection_state {
    UPSTREAM_OPENING,
    UPSTREAM_IDLE,
    UPSTREAM_BUSY,
    UPSTREAM_CLOSING,
    UPSTREAM_CONNECTION_STATES, /* none of them: it is new, or gone */
} upstream_connection_state;
void upstream_connection_moved(upstream *u, upstream_connection_state from,
                               upstream_connection_state to);
uint32_t upstream_connections(const upstream *u, upstream_connection_state state);
uint64_t upstream_total(const upstream *u, upstream_counter counter);

/* ---- permits: connections over all workers (DESIGN 1.7) ---- */

/* Embedded in each pool, of which a loop has several while a reload's old one is in use: what it holds,
 * who waits in it, and whom to ask for an idle connection when permits run out. */
typedef struct upstream_holder {
    list_node node;
    smx_loop *loop;
    smx_loop_fn *release; /* posted to `loop` with `arg`: close an idle connection */
    void *arg;
    size_t permits; /* under the record's mutex, as all that follows */
    size_t idle;
    size_t asked;  /* `release` calls under way */
    list waiters;  /* first come first served */
    uint64_t turn; /* the ticket of the last who waited anywhere when it got its last permit */
} upstream_holder;

/* Embedded in whoever waits for a permit. */
typedef struct upstream_waiter {
    list_node node;
    upstream_holder *holder; /* of its pool */
    smx_loop_fn *granted; /* posted to the holder's loop with `arg`: the permit is the waiter's */
    void *arg;
    bool fresh;      /* a connection that was open before will not do */
    uint64_t ticket; /* the record's: in the order of coming */
} upstream_waiter;
void upstream_holder_add(upstream *u, upstream_holder *holder);
void upstream_holder_remove(upstream *u, upstream_holder *holder);
/* In answer to `release`: whether there was a connection to close. If not, another pool is asked. */
void upstream_holder_answer(upstream *u, upstream_holder *holder, bool closed);
/* Whether a `release` call is still to come. */
bool upstream_holder_is_asked(upstream *u, const upstream_holder *holder);

/* True: the permit is its pool's. False: the waiter queues in its pool, and if that holds less than its
 * share, a pool with an idle connection is asked to close it. */
SMX_MUST_USE bool upstream_permit_take(upstream *u, upstream_waiter *waiter);
/* The same without queueing, for a connection that counts as idle with its holder from the beginning:
 * `release` is to close it for whoever waits, and it is to be told as upstream_connection_taken. */
SMX_MUST_USE bool upstream_permit_try(upstream *u, upstream_holder *holder);
/* A pool gives a permit back: it goes to the one that holds the fewest of those whose attempts wait. */
void upstream_permit_give(upstream *u, upstream_holder *holder);
/* Ends the waiting. True: it had been granted meanwhile, and the `granted` call is under way, which
 * must be lived to see and must give the permit back. */
SMX_MUST_USE bool upstream_permit_cancel(upstream *u, upstream_waiter *waiter);

/* What a connection that became free should do. */
typedef enum upstream_next {
    UPSTREAM_NEXT_IDLE,   /* nobody waits in its pool: it is counted as idle with its holder */
    UPSTREAM_NEXT_WAITER, /* the pool's first waiter is *waiter, off the queue now, and gets the
                             connection itself */
    UPSTREAM_NEXT_CLOSE,  /* another pool is owed the permit, or somebody needs a fresh connection:
                             close it, so that the permit goes there */
} upstream_next;
/* `open_ms`: for how long it has been open. */
upstream_next upstream_connection_free(upstream *u, upstream_holder *holder, uint64_t open_ms,
                                       upstream_waiter **waiter);
/* How many permits those who wait in other pools could use, beside those that are on their way. */
size_t upstream_wanted_elsewhere(upstream *u, const upstream_holder *holder);
/* An idle connection was taken for an attempt, or closed. */
void upstream_connection_taken(upstream *u, upstream_holder *holder);

#endif
