/* Faults on demand: reading them from the command line, and drawing them by chance. */
#include "app/sink_faults.h"

#include <stdlib.h>

static const struct {
    sink_phase phase;
    const char *word;
} sink_phases[] = {
#define SINK_PHASE_WORD(name, text) {SINK_##name, (text)},
    SINK_PHASE_MAP(SINK_PHASE_WORD)
#undef SINK_PHASE_WORD
};

static const struct {
    const char *word;
    sink_action action;
} sink_actions[] = {
    {"close", SINK_ACTION_CLOSE},
    {"reset", SINK_ACTION_RESET},
    {"stall", SINK_ACTION_STALL},
    {"garbage", SINK_ACTION_GARBAGE},
};

static bool sink_find_phase(smx_slice word, sink_phase *phase)
{
    for (size_t i = 0; i < SINK_PHASE_COUNT; i++) {
        if (!slice_equal(word, slice_of_text(sink_phases[i].word)))
            continue;
        *phase = sink_phases[i].phase;
        return true;
    }
    return false;
}

static bool sink_find_action(smx_slice word, sink_fault *fault)
{
    uint64_t code;
    if (word.len == 3 && slice_to_number(word, 599, &code) == 0 && code >= 400) {
        fault->action = SINK_ACTION_REPLY;
        fault->code = (uint16_t)code;
        return true;
    }
    for (size_t i = 0; i < sizeof(sink_actions) / sizeof(sink_actions[0]); i++) {
        if (!slice_equal(word, slice_of_text(sink_actions[i].word)))
            continue;
        fault->action = sink_actions[i].action;
        return true;
    }
    return false;
}

static bool sink_read_probability(smx_slice word, double *probability)
{
    char text[32];
    char *end;
    if (word.len == 0 || word.len >= sizeof(text))
        return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    *probability = strtod(text, &end);
    return end != text && *end == '\0' && *probability >= 0 && *probability <= 1;
}

int sink_faults_add(sink_faults *faults, smx_slice text, problem *p)
{
    sink_fault fault = {.probability = 1};
    smx_slice rest = text;
    smx_slice phase = {NULL, 0};
    smx_slice action = {NULL, 0};
    if (faults->count == SINK_FAULTS_MAX)
        return problem_set(p, SMX_E_LIMIT, "at most %d faults can be given", SINK_FAULTS_MAX);
    (void)slice_cut(&rest, ':', &phase);
    if (slice_equal(phase, SMX_SLICE("drop-after-dot"))) {
        fault.phase = SINK_AFTER_DOT;
        fault.action = SINK_ACTION_CLOSE;
    } else if (!sink_find_phase(phase, &fault.phase) || !slice_cut(&rest, ':', &action) ||
               !sink_find_action(action, &fault)) {
        return problem_set(p, SMX_E_SYNTAX,
                           "'%.*s': expected PHASE:WHAT[:PROBABILITY], as rcpt:451:0.3, with the "
                           "phases connect ehlo starttls auth mail rcpt data body dot after-dot "
                           "and a code, close, reset, stall or garbage; or drop-after-dot",
                           (int)text.len, text.data);
    }
    if (fault.phase == SINK_BODY && fault.action == SINK_ACTION_REPLY)
        return problem_set(p, SMX_E_SYNTAX,
                           "'%.*s': nothing can be answered within a body; use close, reset, stall "
                           "or garbage, or the phase dot",
                           (int)text.len, text.data);
    if (rest.data != NULL && !sink_read_probability(rest, &fault.probability))
        return problem_set(p, SMX_E_SYNTAX, "'%.*s': expected a probability between 0 and 1",
                           (int)rest.len, rest.data);
    faults->faults[faults->count++] = fault;
    return 0;
}

/* splitmix64, as a fraction of 1. */
static double sink_random(sink_faults *faults)
{
    uint64_t z = faults->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return (double)(z >> 11) / 9007199254740992.0;
}

sink_fault sink_faults_draw(sink_faults *faults, sink_phase phase)
{
    for (size_t i = 0; i < faults->count; i++) {
        const sink_fault *fault = &faults->faults[i];
        if (fault->phase == phase && sink_random(faults) < fault->probability)
            return *fault;
    }
    return (sink_fault){.phase = phase};
}

int sink_limit_parse(smx_slice text, uint32_t *count, uint64_t *window_ms, problem *p)
{
    static const struct {
        const char *word;
        uint64_t ms;
    } windows[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"day", 86400000}};
    smx_slice rest = text;
    smx_slice number = {NULL, 0};
    uint64_t value = 0;
    if (slice_cut(&rest, '/', &number) && slice_to_number(number, 1000000000, &value) == 0)
        for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
            if (slice_equal(rest, slice_of_text(windows[i].word))) {
                *count = (uint32_t)value;
                *window_ms = windows[i].ms;
                return 0;
            }
    return problem_set(p, SMX_E_SYNTAX,
                       "'%.*s': expected a number of messages and s, m, h or day, as 100/h",
                       (int)text.len, text.data);
}
