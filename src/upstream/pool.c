/* The connections of one worker to one upstream. The pool owns its connections; attempts own
 * themselves until they are done. A permit is held for each connection that exists. */
#include <stdlib.h>

#include "upstream/pool_internal.h"

enum {
    IDLE_DEFAULT_MS = 90000, /* a message a minute finds a connection */
    AGE_DEFAULT_MS = 300000,
    MESSAGES_DEFAULT = 100,
    SWEEP_MS = 1000,
};

static uint32_t pool_setting(uint32_t configured, uint32_t usual)
{
    return configured == 0 ? usual : configured;
}

uint32_t pool_idle_ms(const upstream_pool *pool)
{
    return pool_setting(pool->options.idle_ms, IDLE_DEFAULT_MS);
}

/* The one setter of a connection's state; to POOL_STATES: it is gone. The record counts along. */
void pool_move(pool_connection *c, pool_state to)
{
    upstream_pool *pool = c->pool;
    size_t from = c->node.owner == NULL ? POOL_STATES : (size_t)(c->node.owner - pool->connections);
    upstream_connection_moved(pool->upstream, (upstream_connection_state)from,
                              (upstream_connection_state)to);
    list_remove(&c->node);
    if (to != POOL_STATES)
        list_append(&pool->connections[to], &c->node);
}

static void pool_end_told(loop_turn_end *self)
{
    upstream_pool *pool = list_member(self, upstream_pool, ended);
    void (*closed)(void *) = pool->closed;
    pool->closed = NULL;
    if (closed != NULL)
        closed(pool->closed_arg);
}

void pool_check_end(upstream_pool *pool)
{
    if (!pool->ending || pool->closed == NULL || pool->attempts.count > 0 ||
        upstream_holder_is_asked(pool->upstream, &pool->holder))
        return;
    for (size_t i = 0; i < POOL_STATES; i++)
        if (pool->connections[i].count > 0)
            return;
    loop_at_turn_end(pool->loop, &pool->ended);
}

void pool_drop(pool_connection *c)
{
    if (c->node.owner == &c->pool->connections[POOL_CLOSING])
        return;
    if (c->node.owner == &c->pool->connections[POOL_IDLE])
        upstream_connection_taken(c->pool->upstream, &c->pool->holder);
    pool_move(c, POOL_CLOSING);
    smx_client_close(c->client);
    if (c->pool->cut && c->attempt == NULL)
        smx_client_close(c->client); /* does not wait for the reply to QUIT */
}

/* ---- callbacks of a connection's client ---- */

/* It has served its share of messages or of time. */
static bool pool_is_worn(const pool_connection *c)
{
    const upstream_options *o = &c->pool->options;
    return c->pool->ending ||
           c->messages >= pool_setting(o->max_messages_per_connection, MESSAGES_DEFAULT) ||
           loop_now(c->pool->loop) - c->opened >= pool_setting(o->max_age_ms, AGE_DEFAULT_MS);
}

static void pool_rest(pool_connection *c)
{
    upstream_pool *pool = c->pool;
    c->idle_since = loop_now(pool->loop);
    pool_move(c, POOL_IDLE);
    if (pool->sweep.node.owner == NULL)
        timer_set(loop_timers(pool->loop), &pool->sweep, c->idle_since + SWEEP_MS);
}

/* Gives it to the first who waits. False: that one has no use for it. */
static bool pool_serve_waiter(pool_connection *c, const upstream_waiter *waiter)
{
    upstream_attempt *attempt = waiter->arg;
    attempt->waiting = false;
    attempt->reused = true;
    switch (attempt_connection_ready(attempt, c)) {
    case ATTEMPT_USES:
        upstream_count(c->pool->upstream, UPSTREAM_COUNT_reused);
        return true;
    case ATTEMPT_FINDS_IT_DEAD:
        pool_drop(c);
        attempt_start(attempt);
        return true;
    case ATTEMPT_LEAVES:
        break;
    }
    return false;
}

void pool_connection_free(pool_connection *c)
{
    upstream_pool *pool = c->pool;
    bool settled = false;
    while (!settled) {
        upstream_waiter *waiter = NULL;
        upstream_next next = UPSTREAM_NEXT_CLOSE;
        settled = true;
        if (!pool_is_worn(c))
            next = upstream_connection_free(pool->upstream, &pool->holder,
                                            loop_now(pool->loop) - c->opened, &waiter);
        if (next == UPSTREAM_NEXT_WAITER)
            settled = pool_serve_waiter(c, waiter);
        else if (next == UPSTREAM_NEXT_IDLE)
            pool_rest(c);
        else
            pool_drop(c);
    }
}

/* What a fresh connection tells. */
static void pool_learn(const pool_connection *c)
{
    smx_client_info info;
    smx_client_get_info(c->client, &info);
    upstream_learn(c->pool->upstream, smx_client_capabilities(c->client));
    if (info.resumed)
        upstream_count(c->pool->upstream, UPSTREAM_COUNT_resumed);
}

static void pool_client_ready(void *arg, smx_client *client)
{
    (void)client;
    pool_connection *c = arg;
    upstream_attempt *attempt = c->attempt;
    if (c->node.owner == &c->pool->connections[POOL_OPENING])
        pool_learn(c);
    if (c->node.owner == &c->pool->connections[POOL_CLOSING])
        return;
    if (attempt != NULL && attempt->kind == ATTEMPT_AHEAD) {
        ahead_ready(attempt, c);
        return;
    }
    if (attempt != NULL && attempt->kind == ATTEMPT_PROBE &&
        c->node.owner == &c->pool->connections[POOL_BUSY]) {
        probe_answered(attempt, c);
        return;
    }
    attempt_use use = attempt == NULL ? ATTEMPT_LEAVES : attempt_connection_ready(attempt, c);
    if (use == ATTEMPT_LEAVES) {
        pool_connection_free(c);
    } else if (use == ATTEMPT_FINDS_IT_DEAD) {
        pool_drop(c);
        attempt_fresh_is_dead(attempt);
    }
}

static void pool_client_result(void *arg, smx_client *client, const smx_client_result *result)
{
    (void)client;
    pool_connection *c = arg;
    upstream_attempt *attempt = c->attempt;
    c->attempt = NULL;
    c->messages++;
    if (attempt != NULL)
        attempt_result(attempt, result);
}

static void pool_client_closed(void *arg, smx_client *client, const smx_client_result *result)
{
    (void)client;
    pool_connection *c = arg;
    upstream_pool *pool = c->pool;
    upstream_attempt *attempt = c->attempt;
    if (c->node.owner == &pool->connections[POOL_IDLE])
        upstream_connection_taken(pool->upstream, &pool->holder);
    if (c->is_unused)
        pool->ahead_is_wanted = false;
    pool_move(c, POOL_STATES);
    oauth2_token_free(c->token);
    free(c);
    upstream_permit_give(pool->upstream, &pool->holder);
    if (attempt != NULL)
        attempt_connection_failed(attempt, result);
    pool_check_end(pool);
}

static void pool_client_recipient(void *arg, smx_client *client, size_t index,
                                  const smx_reply *reply)
{
    (void)client;
    const pool_connection *c = arg;
    if (c->attempt != NULL)
        attempt_recipient(c->attempt, index, reply);
}

static const smx_client_handler pool_client_handler = {
    .ready = pool_client_ready,
    .result = pool_client_result,
    .closed = pool_client_closed,
    .recipient = pool_client_recipient,
};

/* ---- taking and opening ---- */

pool_connection *pool_take_idle(upstream_pool *pool)
{
    list_node *newest = pool->connections[POOL_IDLE].last;
    if (newest == NULL)
        return NULL;
    upstream_connection_taken(pool->upstream, &pool->holder);
    pool_connection *c = list_member(newest, pool_connection, node);
    pool_move(c, POOL_BUSY);
    return c;
}

int pool_open(upstream_pool *pool, upstream_attempt *attempt, char *token)
{
    uint64_t now = loop_now(pool->loop);
    pool_connection *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return SMX_E_NOMEM;
    smx_client_options options = pool->client;
    options.token = token;
    uint64_t patience = attempt->request.deadline > now ? attempt->request.deadline - now : 1;
    uint32_t limit = attempt->request.connect_ms;
    if (limit != 0 && (options.connect_timeout_ms == 0 || limit < options.connect_timeout_ms))
        options.connect_timeout_ms = limit;
    if (options.connect_timeout_ms == 0 || patience < options.connect_timeout_ms)
        options.connect_timeout_ms = (uint32_t)patience;
    int error = smx_client_new(pool->loop, &options, &pool_client_handler, c, &c->client);
    if (error != 0) {
        free(c);
        return error;
    }
    c->pool = pool;
    c->attempt = attempt;
    c->opened = now;
    c->token = token;
    attempt->connection = c;
    pool_move(c, POOL_OPENING);
    upstream_count(pool->upstream, UPSTREAM_COUNT_connections);
    return 0;
}

/* Closes connections that were idle for too long, the oldest first. Where messages of other workers
 * wait, that is soon: a connection that a second's messages had no use for is one too many here. */
static void pool_sweep(timer_entry *self)
{
    upstream_pool *pool = list_member(self, upstream_pool, sweep);
    uint64_t now = loop_now(pool->loop);
    size_t wanted = upstream_wanted_elsewhere(pool->upstream, &pool->holder);
    list_node *next;
    for (list_node *n = pool->connections[POOL_IDLE].first; n != NULL; n = next) {
        pool_connection *c = list_member(n, pool_connection, node);
        uint64_t idle_ms = now - c->idle_since;
        bool is_spared = wanted > 0 && idle_ms >= SWEEP_MS;
        next = n->next;
        if (!is_spared && idle_ms < pool_idle_ms(pool) && !pool_is_worn(c))
            continue;
        pool_drop(c);
        wanted -= wanted > 0;
    }
    if (pool->connections[POOL_IDLE].count > 0)
        timer_set(loop_timers(pool->loop), &pool->sweep, now + SWEEP_MS);
}

/* Another pool waits for a permit of its share, and this one may have a connection to spare. */
static void pool_release_idle(void *arg)
{
    upstream_pool *pool = arg;
    list_node *oldest = pool->connections[POOL_IDLE].first;
    bool gives = oldest != NULL;
    if (gives)
        pool_drop(list_member(oldest, pool_connection, node));
    else
        gives = errand_give_way(pool);
    upstream_holder_answer(pool->upstream, &pool->holder, gives);
    pool_check_end(pool);
}

/* ---- life ---- */

static smx_client_options pool_client_options(const upstream_options *o, const char *hostname)
{
    return (smx_client_options){
        .version = SMX_CLIENT_VERSION,
        .host = o->host,
        .port = o->port,
        .source = o->source,
        .family = o->family,
        .lmtp = o->lmtp,
        .tls = o->tls,
        .verify = o->verify,
        .pins = o->pins,
        .pin_count = o->pin_count,
        .helo = hostname,
        .own_hostname = hostname,
        .user = o->user,
        .password = o->password,
        .mechanism = o->mechanism,
        .allow_insecure_auth = o->allow_insecure_auth,
        .connect_timeout_ms = o->connect_timeout_ms,
        .banner_timeout_ms = o->command_timeout_ms,
        .command_timeout_ms = o->command_timeout_ms,
        .data_timeout_ms = o->data_timeout_ms,
        .final_timeout_ms = o->final_timeout_ms,
    };
}

int upstream_pool_new(smx_loop *loop, upstream *u, const upstream_options *options,
                      const char *hostname, smx_client_tls *tls, smx_log_fn *log, void *log_arg,
                      upstream_pool **out)
{
    upstream_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return SMX_E_NOMEM;
    pool->loop = loop;
    pool->upstream = u;
    pool->options = *options;
    pool->client = pool_client_options(options, hostname);
    pool->client.tls_context = tls;
    pool->client.log = log;
    pool->client.log_arg = log_arg;
    pool->sweep.fn = pool_sweep;
    pool->ended.fn = pool_end_told;
    pool->holder = (upstream_holder){.loop = loop, .release = pool_release_idle, .arg = pool};
    int error = 0;
    if (options->oauth2.token_url != NULL)
        error = upstream_share_oauth2(u, options, log, log_arg, &pool->oauth2);
    if (error != 0) {
        free(pool);
        return error;
    }
    upstream_holder_add(u, &pool->holder);
    *out = pool;
    return 0;
}

void upstream_pool_configure(upstream_pool *pool, const upstream_options *options)
{
    upstream_options *own = &pool->options;
#define POOL_SETTING(field) own->field = options->field;
    UPSTREAM_POOL_SETTINGS(POOL_SETTING)
#undef POOL_SETTING
    pool->client.connect_timeout_ms = own->connect_timeout_ms;
    pool->client.banner_timeout_ms = own->command_timeout_ms;
    pool->client.command_timeout_ms = own->command_timeout_ms;
    pool->client.data_timeout_ms = own->data_timeout_ms;
    pool->client.final_timeout_ms = own->final_timeout_ms;
}

void upstream_pool_close(upstream_pool *pool, void (*closed)(void *arg), void *arg)
{
    list_node *next;
    pool->ending = true;
    pool->closed = closed;
    pool->closed_arg = arg;
    ahead_stop(pool);
    for (list_node *n = pool->connections[POOL_IDLE].first; n != NULL; n = next) {
        next = n->next;
        pool_drop(list_member(n, pool_connection, node));
    }
    pool_check_end(pool);
}

void upstream_pool_abort(upstream_pool *pool)
{
    static const pool_state alive[] = {POOL_OPENING, POOL_BUSY};
    pool->cut = true;
    for (list_node *n = pool->connections[POOL_CLOSING].first; n != NULL; n = n->next)
        smx_client_close(list_member(n, pool_connection, node)->client);
    for (size_t i = 0; i < sizeof(alive) / sizeof(alive[0]); i++) {
        list_node *next;
        for (list_node *n = pool->connections[alive[i]].first; n != NULL; n = next) {
            next = n->next;
            pool_drop(list_member(n, pool_connection, node));
        }
    }
    list_node *after;
    for (list_node *n = pool->attempts.first; n != NULL; n = after) {
        after = n->next;
        attempt_end_waiting(list_member(n, upstream_attempt, node));
    }
}

void upstream_pool_free(upstream_pool *pool)
{
    if (pool == NULL)
        return;
    timer_clear(&pool->sweep);
    loop_cancel_turn_end(&pool->ended);
    upstream_holder_remove(pool->upstream, &pool->holder);
    attempt_free_spares(pool);
    oauth2_free(pool->oauth2);
    free(pool);
}
