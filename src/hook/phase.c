/* The phases' words. */
#include "base/slice.h"
#include "smx/hook.h"

static const char *const phase_texts[SMX_HOOK_PHASE_COUNT] = {
#define PHASE_ENTRY(name, text) [SMX_HOOK_##name] = (text),
    SMX_HOOK_PHASE_MAP(PHASE_ENTRY)
#undef PHASE_ENTRY
};

const char *smx_hook_phase_text(smx_hook_phase phase)
{
    return phase_texts[phase];
}

int smx_hook_phase_parse(smx_slice text, smx_hook_phase *phase)
{
    for (size_t i = 0; i < SMX_HOOK_PHASE_COUNT; i++)
        if (slice_equal(text, slice_of_text(phase_texts[i]))) {
            *phase = (smx_hook_phase)i;
            return 0;
        }
    return SMX_E_NOTFOUND;
}
