/* The command line: its verb and its argument (RFC 5321 section 2.4 and 4.1.1). Pure. */
#include "base/slice.h"
#include "smx/proto.h"

typedef struct command_verb {
    const char *text;
    size_t len;
    size_t line_max;
} command_verb;

static const command_verb command_verbs[SMX_VERB_COUNT] = {
#define COMMAND_VERB(name, text, limit) [SMX_VERB_##name] = {text, sizeof(text) - 1, limit},
    SMX_VERB_MAP(COMMAND_VERB)
#undef COMMAND_VERB
};

static smx_slice command_verb_slice(smx_verb verb)
{
    return slice_of(command_verbs[verb].text, command_verbs[verb].len);
}

/* Index of the first blank, or the length. */
static size_t command_verb_end(smx_slice line)
{
    size_t at = 0;
    while (at < line.len && !ascii_is_space(line.data[at]))
        at++;
    return at;
}

static smx_verb command_verb_find(smx_slice name)
{
    char first = name.len == 0 ? '\0' : ascii_upper(name.data[0]);
    for (smx_verb verb = SMX_VERB_UNKNOWN + 1; verb < SMX_VERB_COUNT; verb++)
        if (command_verbs[verb].len == name.len && command_verbs[verb].text[0] == first &&
            slice_equal_nocase(name, command_verb_slice(verb)))
            return verb;
    return SMX_VERB_UNKNOWN;
}

void smx_command_parse(smx_slice line, smx_command *command)
{
    size_t end = command_verb_end(line);
    smx_slice name = slice_to(line, end);
    *command = (smx_command){
        .verb = command_verb_find(name),
        .name = name,
        .argument = slice_trim(slice_from(line, end)),
    };
}

const char *smx_verb_text(smx_verb verb)
{
    return verb > SMX_VERB_UNKNOWN && verb < SMX_VERB_COUNT ? command_verbs[verb].text : NULL;
}

size_t smx_verb_line_max(smx_verb verb)
{
    if (verb <= SMX_VERB_UNKNOWN || verb >= SMX_VERB_COUNT)
        return SMX_COMMAND_LINE_MIN;
    return command_verbs[verb].line_max;
}

size_t smx_line_limit(smx_slice start_of_line)
{
    size_t end = command_verb_end(start_of_line);
    smx_slice name = slice_to(start_of_line, end);
    if (end < start_of_line.len)
        return smx_verb_line_max(command_verb_find(name));
    size_t limit = SMX_COMMAND_LINE_MIN;
    for (smx_verb verb = SMX_VERB_UNKNOWN + 1; verb < SMX_VERB_COUNT; verb++)
        if (slice_starts_with_nocase(command_verb_slice(verb), name) &&
            command_verbs[verb].line_max > limit)
            limit = command_verbs[verb].line_max;
    return limit;
}
