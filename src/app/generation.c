/* A generation owns its mux and a share of its configuration. */
#include "app/generation.h"

#include <stdlib.h>

#include "base/clock.h"

/* Half-made ones too. */
static void generation_destroy(generation *g)
{
    mux_free(g->mux);
    (*g->alive)--;
    config_free(g->config);
    free(g->ports);
    free(g);
}

static int generation_make_mux(generation *g, mux_state *state)
{
    int error = mux_new(&g->mux_options, state, &g->mux);
    return error == 0 ? mux_read_authorities(g->mux) : error;
}

int generation_new(config *c, uint64_t number, mux_state *state, _Atomic size_t *alive,
                   generation **out, problem *p)
{
    generation *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    g->number = number;
    g->loaded = clock_wall_ms();
    g->config = config_share(c);
    g->shares = 1;
    g->alive = alive;
    (*alive)++;
    g->mux_options = config_mux_options(c);
    g->ports = calloc(c->listener_count + 1, sizeof(*g->ports));
    int error = g->ports == NULL ? SMX_E_NOMEM : generation_make_mux(g, state);
    if (error != 0) {
        generation_destroy(g);
        return problem_set(p, error, "%s", smx_error_text(error));
    }
    *out = g;
    return 0;
}

generation *generation_share(generation *g)
{
    g->shares++;
    return g;
}

void generation_free(generation *g)
{
    if (g != NULL && --g->shares == 0)
        generation_destroy(g);
}
