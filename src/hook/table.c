/* The hook table: for each phase the hooks that want it, and the calls that wait for an answer.
 *
 * The table belongs to its host. Answers and BLOCKING works that are under way hold references: the
 * table outlives its host with them, but never asks a host that is gone for anything. */
#include "hook/table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/checked.h"

static int table_fill_phase(smx_hooks *table, size_t phase)
{
    hook_list *list = &table->phases[phase];
    size_t wanted = 0;
    for (size_t i = 0; i < table->count; i++)
        wanted += table->hooks[i]->phases[phase] != NULL;
    if (wanted == 0)
        return 0;
    list->index = calloc(wanted, sizeof(*list->index));
    if (list->index == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < table->count; i++)
        if (table->hooks[i]->phases[phase] != NULL)
            list->index[list->count++] = i;
    return 0;
}

static void table_destroy(smx_hooks *table)
{
    for (size_t i = 0; i < SMX_HOOK_PHASE_COUNT; i++)
        free(table->phases[i].index);
    map_free(&table->waiting);
    (void)pthread_mutex_destroy(&table->mutex);
    free(table->hooks);
    free(table);
}

int hooks_new(const smx_hook *const *hooks, size_t count, const hook_host *host, smx_hooks **out)
{
    for (size_t i = 0; i < count; i++)
        if (hooks[i]->version != SMX_HOOK_VERSION)
            return SMX_E_INVALID;
    smx_hooks *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return SMX_E_NOMEM;
    table->host = *host;
    table->references = 1;
    (void)pthread_mutex_init(&table->mutex, NULL);
    table->hooks = calloc(count + 1, sizeof(*table->hooks));
    int error = table->hooks == NULL ? SMX_E_NOMEM : 0;
    if (error == 0 && count > 0)
        memcpy(table->hooks, hooks, count * sizeof(*table->hooks));
    if (error == 0)
        table->count = count;
    for (size_t i = 0; i < count; i++)
        table->flags |= hooks[i]->flags;
    for (size_t phase = 0; error == 0 && phase < SMX_HOOK_PHASE_COUNT; phase++)
        error = table_fill_phase(table, phase);
    if (error != 0) {
        table_destroy(table);
        return error;
    }
    *out = table;
    return 0;
}

void hooks_reference(smx_hooks *table)
{
    table->references++;
}

void hooks_release(smx_hooks *table)
{
    if (--table->references == 0)
        table_destroy(table);
}

void hooks_free(smx_hooks *table)
{
    if (table == NULL)
        return;
    (void)pthread_mutex_lock(&table->mutex);
    assert(table->waiting.count == 0);
    table->closed = true;
    (void)pthread_mutex_unlock(&table->mutex);
    hooks_release(table);
}

bool hooks_want(const smx_hooks *table, smx_hook_phase phase)
{
    return table->phases[phase].count > 0;
}

bool hooks_have_flag(const smx_hooks *table, unsigned flag)
{
    return (table->flags & flag) != 0;
}

/* ---- calls that wait ---- */

/* With the mutex held. */
static int table_post(smx_hooks *table, void (*fn)(void *arg), void *arg)
{
    return table->closed ? SMX_E_GONE : table->host.post(table->host.arg, fn, arg);
}

int hooks_post(smx_hooks *table, void (*fn)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&table->mutex);
    int error = table_post(table, fn, arg);
    (void)pthread_mutex_unlock(&table->mutex);
    return error;
}

int hooks_name_call(hook_session *session)
{
    smx_hooks *table = session->table;
    smx_ticket ticket = table->host.next_ticket(table->host.arg);
    (void)pthread_mutex_lock(&table->mutex);
    int error = map_put_number(&table->waiting, ticket, session);
    (void)pthread_mutex_unlock(&table->mutex);
    if (error == 0)
        session->call.ticket = ticket;
    return error;
}

hook_session *hooks_take(smx_hooks *table, smx_ticket ticket)
{
    (void)pthread_mutex_lock(&table->mutex);
    hook_session *session = map_remove_number(&table->waiting, ticket);
    (void)pthread_mutex_unlock(&table->mutex);
    return session;
}

bool hooks_is_answered(hook_session *session)
{
    (void)pthread_mutex_lock(&session->table->mutex);
    bool answered = session->call.answered;
    (void)pthread_mutex_unlock(&session->table->mutex);
    return answered;
}

/* A verdict on its way to the host's thread. */
typedef struct hook_answer {
    smx_hooks *table;
    smx_ticket ticket;
    smx_verdict verdict; /* its text stands behind the struct */
    char text[];
} hook_answer;

static hook_answer *answer_new(smx_hooks *table, smx_ticket ticket, const smx_verdict *verdict)
{
    size_t size;
    if (!checked_add(sizeof(hook_answer), verdict->reply.text.len, &size))
        return NULL;
    hook_answer *answer = malloc(size);
    if (answer == NULL)
        return NULL;
    *answer = (hook_answer){.table = table, .ticket = ticket, .verdict = *verdict};
    if (verdict->reply.text.len > 0)
        memcpy(answer->text, verdict->reply.text.data, verdict->reply.text.len);
    answer->verdict.reply.text.data = answer->text;
    hooks_reference(table);
    return answer;
}

static void answer_free(hook_answer *answer)
{
    hooks_release(answer->table);
    free(answer);
}

static void answer_arrived(void *arg)
{
    hook_answer *answer = arg;
    hook_session *session = hooks_take(answer->table, answer->ticket);
    if (session != NULL)
        runner_answered(session, &answer->verdict);
    answer_free(answer);
}

int smx_hooks_answer(smx_hooks *hooks, smx_ticket ticket, const smx_verdict *verdict)
{
    hook_answer *answer = answer_new(hooks, ticket, verdict);
    if (answer == NULL)
        return SMX_E_NOMEM;
    (void)pthread_mutex_lock(&hooks->mutex);
    hook_session *session = map_get_number(&hooks->waiting, ticket);
    int error = SMX_E_GONE;
    if (session != NULL && !session->call.answered) {
        error = table_post(hooks, answer_arrived, answer);
        session->call.answered = error == 0;
    }
    (void)pthread_mutex_unlock(&hooks->mutex);
    if (error != 0)
        answer_free(answer);
    return error;
}
