/* Command lines: what is read is part of the line, and no line that could become valid is cut. */
#include "fuzz.h"
#include "smx/proto.h"

static void command_check(smx_slice line)
{
    smx_command command;
    smx_command_parse(line, &command);
    FUZZ_CHECK(fuzz_is_within(command.name, line) && fuzz_is_within(command.argument, line));
    const char *text = smx_verb_text(command.verb);
    FUZZ_CHECK((text == NULL) == (command.verb == SMX_VERB_UNKNOWN));
    FUZZ_CHECK(text == NULL || slice_equal_nocase(command.name, slice_of_text(text)));
    for (size_t i = 0; i < command.name.len; i++)
        FUZZ_CHECK(!ascii_is_space(command.name.data[i]));
    smx_slice argument = command.argument;
    FUZZ_CHECK(slice_equal(argument, slice_trim(argument)));
    for (smx_verb verb = SMX_VERB_UNKNOWN + 1; verb < SMX_VERB_COUNT && text == NULL; verb++)
        FUZZ_CHECK(!slice_equal_nocase(command.name, slice_of_text(smx_verb_text(verb))));
}

/* The more is known of a line, the less it may hold, and never less than its verb may. */
static void command_check_limits(smx_slice line)
{
    smx_command command;
    smx_command_parse(line, &command);
    size_t limit = SMX_COMMAND_LINE_MAX;
    for (size_t len = 0; len <= line.len && len <= 16; len++) {
        size_t next = smx_line_limit(slice_to(line, len));
        FUZZ_CHECK(next <= limit);
        limit = next;
    }
    FUZZ_CHECK(smx_line_limit(line) >= smx_verb_line_max(command.verb));
    FUZZ_CHECK(limit >= smx_verb_line_max(command.verb));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice line = slice_of((const char *)data, size);
    command_check(line);
    command_check_limits(line);
    return 0;
}
