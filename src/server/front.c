/* The common part of server and proxy: what they are made of, and their end.
 *
 * The owner is destroyed when its last session is gone: a session is freed by its connection in a
 * later turn of the loop. */
#include "server/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/digits.h"

/* ---- what the hook runner needs ---- */

static smx_ticket host_next_ticket(void *arg)
{
    const front *f = arg;
    return loop_next_ticket(f->loop);
}

static int host_post(void *arg, void (*fn)(void *arg), void *fn_arg)
{
    const front *f = arg;
    return smx_loop_post(f->loop, fn, fn_arg);
}

static uint64_t host_now(void *arg)
{
    const front *f = arg;
    return loop_now(f->loop);
}

static pool *host_threads(void *arg)
{
    const front *f = arg;
    return shared_pool(f->shared);
}

static void host_log(void *arg, const char *hook, smx_hook_phase phase, const char *what)
{
    const smx_log_field fields[] = {
        {"hook", slice_of_text(hook)},
        {"phase", slice_of_text(smx_hook_phase_text(phase))},
        {"error", slice_of_text(what)},
    };
    front_log(arg, SMX_LOG_WARN, "hook_failed", NULL, fields, 3);
}

/* ---- beginning ---- */

static void front_name(front *f, const char *hostname)
{
    if (hostname != NULL)
        (void)snprintf(f->hostname, sizeof(f->hostname), "%s", hostname);
    else if (gethostname(f->hostname, sizeof(f->hostname) - 1) != 0)
        (void)snprintf(f->hostname, sizeof(f->hostname), "localhost");
    if (getrandom(&f->id_salt, sizeof(f->id_salt), 0) < 0)
        f->id_salt = (uint32_t)getpid();
}

static int front_open_hooks(front *f, const front_options *options)
{
    const hook_host host = {
        .arg = f,
        .next_ticket = host_next_ticket,
        .post = host_post,
        .now = host_now,
        .threads = host_threads,
        .log = host_log,
        .passes_on = options->passes_on,
    };
    if (options->hook_count == 0)
        return 0;
    return hooks_new(options->hooks, options->hook_count, &host, &f->hooks);
}

static void front_on_deadline(timer_entry *entry);

int front_init(front *f, smx_loop *loop, const front_owner *owner, const front_options *options)
{
    f->owner = owner;
    f->loop = loop;
    f->log = options->log;
    f->log_arg = options->log_arg;
    f->deadline.fn = front_on_deadline;
    f->shared = options->shared;
    f->owns_shared = f->shared == NULL;
    front_name(f, options->hostname);
    int error = f->owns_shared ? smx_shared_new(NULL, &f->shared) : 0;
    return error != 0 ? error : front_open_hooks(f, options);
}

void front_clear(front *f)
{
    timer_clear(&f->deadline);
    front_free_entrances(f);
    hooks_free(f->hooks);
    if (f->owns_shared)
        smx_shared_free(f->shared);
}

/* ---- while it serves ---- */

void front_log(const front *f, smx_log_level level, const char *event, const guest *g,
               const smx_log_field *fields, size_t count)
{
    enum { FIELDS = 8 };
    char text[SMX_ADDRESS_TEXT];
    smx_log_field all[FIELDS];
    size_t n = 0;
    if (f->log == NULL)
        return;
    if (g != NULL)
        all[n++] = (smx_log_field){"client", smx_address_write(&g->view.client, text)};
    for (size_t i = 0; i < count && n < FIELDS; i++)
        all[n++] = fields[i];
    f->log(f->log_arg, level, event, g == NULL ? 0 : g->view.id, all, n);
}

smx_slice front_next_id(front *f, uint64_t started, char text[FRONT_ID_MAX])
{
    char *at = digits_hex(text, started, 11);
    at = digits_hex(at, f->id_salt & 0xffffff, 6);
    at = digits_hex(at, ++f->id_count, 1);
    return slice_of(text, (size_t)(at - text));
}

void front_count_reply(const entrance *e, uint16_t code)
{
    if (code / 100 == 2)
        front_count(e, accepted);
    else if (code / 100 == 4)
        front_count(e, deferred);
    else
        front_count(e, rejected);
}

/* ---- the end ---- */

void front_left(front *f)
{
    if (f->open.count + f->closing.count > 0)
        return;
    if (f->freed) {
        f->owner->destroy(f);
        return;
    }
    bool awaited = f->owner->is_awaited != NULL && f->owner->is_awaited(f);
    if (!f->stopping || f->done == NULL || (awaited && !f->overdue))
        return;
    void (*done)(void *arg) = f->done;
    f->done = NULL;
    timer_clear(&f->deadline);
    done(f->done_arg);
}

static void front_each(list *guests, void (*fn)(guest *g))
{
    list_node *next;
    for (list_node *node = guests->first; node != NULL; node = next) {
        next = node->next;
        fn(list_member(node, guest, node));
    }
}

static void front_cut(front *f)
{
    front_each(&f->closing, f->owner->cut);
    front_each(&f->open, f->owner->cut);
}

static void front_on_deadline(timer_entry *entry)
{
    front *f = list_member(entry, front, deadline);
    f->overdue = true;
    front_cut(f);
    front_left(f);
}

static void front_stop(front *f, void (*done)(void *arg), void *arg)
{
    f->stopping = true;
    f->done = done;
    f->done_arg = arg;
}

void front_retire(front *f, void (*done)(void *arg), void *arg)
{
    front_stop(f, done, arg);
    front_stop_listening(f, listener_retire);
    front_left(f);
}

void front_dismiss(front *f)
{
    f->dismissed = true;
    front_each(&f->open, f->owner->dismiss);
}

void front_shutdown(front *f, uint32_t timeout_ms, void (*done)(void *arg), void *arg)
{
    front_stop(f, done, arg);
    front_stop_listening(f, listener_free);
    timer_set(loop_timers(f->loop), &f->deadline, loop_now(f->loop) + timeout_ms);
    front_each(&f->open, f->owner->shut_down);
    front_left(f);
}

void front_free(front *f)
{
    f->freed = true;
    timer_clear(&f->deadline);
    front_stop_listening(f, listener_free);
    front_cut(f);
    front_left(f);
}
