/* What all workers share: users, their selections, the records of the upstreams, the counts. */
#include <stdlib.h>

#include "mux/mux_internal.h"

static int mux_fill_upstreams(mux *m)
{
    m->upstreams = calloc(m->options->upstream_count, sizeof(upstream *));
    if (m->upstreams == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < m->options->upstream_count; i++) {
        int error = upstream_new(&m->options->upstreams[i], &m->upstreams[i]);
        if (error != 0)
            return error;
    }
    return 0;
}

static int mux_fill_users(mux *m)
{
    m->users = calloc(m->options->user_count, sizeof(mux_user));
    if (m->users == NULL)
        return SMX_E_NOMEM;
    for (size_t i = 0; i < m->options->user_count; i++) {
        mux_user_options *options = &m->options->users[i];
        mux_user *user = &m->users[i];
        user->options = options;
        options->user.data = user;
        if (options->selector->prepare != NULL &&
            options->selector->prepare(options, &user->selection) != 0)
            return SMX_E_NOMEM;
        int error = map_put(&m->by_name, options->user.name, &options->user);
        if (error != 0)
            return error;
    }
    return 0;
}

int mux_new(const mux_options *options, mux **out)
{
    mux *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return SMX_E_NOMEM;
    m->options = options;
    int error = mux_fill_upstreams(m);
    if (error == 0)
        error = mux_fill_users(m);
    if (error != 0) {
        mux_free(m);
        return error;
    }
    *out = m;
    return 0;
}

void mux_free(mux *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; m->upstreams != NULL && i < m->options->upstream_count; i++)
        upstream_free(m->upstreams[i]);
    for (size_t i = 0; m->users != NULL && i < m->options->user_count; i++)
        free(m->users[i].selection.sequence);
    free(m->upstreams);
    free(m->users);
    map_free(&m->by_name);
    free(m);
}

const smx_user *mux_find_user(void *arg, smx_slice name)
{
    const mux *m = arg;
    return map_get(&m->by_name, name);
}

upstream *mux_upstream(mux *m, size_t index)
{
    return m->upstreams[index];
}

const char *mux_outcome_text(mux_outcome outcome)
{
    static const char *const texts[] = {
#define OUTCOME_TEXT(name, text) [MUX_OUTCOME_##name] = (text),
        MUX_OUTCOME_MAP(OUTCOME_TEXT)
#undef OUTCOME_TEXT
    };
    return texts[outcome];
}

uint64_t mux_outcome_total(const mux *m, mux_outcome outcome)
{
    return atomic_load_explicit(&m->outcomes[outcome], memory_order_relaxed);
}
