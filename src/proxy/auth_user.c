/* Who a client says it is: the first response of each mechanism names the user in a form of its own,
 * one line of the table for each. What is not understood names nobody. */
#include "proxy/auth_user.h"

#include "smx/proto.h"

enum { RESPONSE_MAX = SMX_COMMAND_LINE_MAX };

/* Finds the name in a decoded response; empty: it is not there. It may be changed in its place. */
typedef smx_slice auth_form(char *text, size_t len);

/* authzid NUL authcid NUL password (RFC 4616). */
static smx_slice form_plain(char *text, size_t len)
{
    smx_slice rest = slice_of(text, len);
    smx_slice as;
    smx_slice who = {0};
    if (slice_cut(&rest, '\0', &as))
        (void)slice_cut(&rest, '\0', &who);
    return who;
}

static smx_slice form_whole(char *text, size_t len)
{
    return slice_of(text, len);
}

/* The user, a blank, a digest (RFC 2195). */
static smx_slice form_digest(char *text, size_t len)
{
    smx_slice all = slice_of(text, len);
    return slice_to(all, slice_find_last(all, ' '));
}

/* "user=" up to the first ^A (Google's XOAUTH2). */
static smx_slice form_xoauth2(char *text, size_t len)
{
    smx_slice all = slice_of(text, len);
    if (!slice_starts_with(all, SMX_SLICE("user=")))
        return (smx_slice){0};
    all = slice_from(all, 5);
    return slice_to(all, slice_find(all, '\1'));
}

/* "=2C" and "=3D" stand for a comma and an equals sign (RFC 5801 section 4). */
static smx_slice decode_name(char *name, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        smx_slice rest = slice_of(name + i, len - i);
        bool comma = slice_starts_with(rest, SMX_SLICE("=2C"));
        bool equals = slice_starts_with(rest, SMX_SLICE("=3D"));
        name[n++] = comma ? ',' : name[i];
        if (comma || equals)
            i += 2;
    }
    return slice_of(name, n);
}

/* The attribute of this letter behind the GS2 header's first comma (RFC 5801 section 4). */
static smx_slice gs2_attribute(char *text, size_t len, char letter)
{
    size_t at = 0;
    while (at < len && text[at] != ',')
        at++;
    while (at + 2 < len) {
        char *name = text + at + 1;
        size_t rest = len - at - 1;
        size_t end = slice_find(slice_of(name, rest), ',');
        size_t stop = slice_find(slice_of(name, end), '\1');
        if (end > 2 && name[0] == letter && name[1] == '=')
            return decode_name(name + 2, stop - 2);
        at += 1 + end;
    }
    return (smx_slice){0};
}

static smx_slice form_bearer(char *text, size_t len)
{
    return gs2_attribute(text, len, 'a');
}

static smx_slice form_scram(char *text, size_t len)
{
    return gs2_attribute(text, len, 'n');
}

/* Mechanisms by the start of their names. */
static const struct {
    const char *start;
    auth_form *form;
} forms[] = {
    {"PLAIN", form_plain},     {"LOGIN", form_whole},        {"CRAM-MD5", form_digest},
    {"XOAUTH2", form_xoauth2}, {"OAUTHBEARER", form_bearer}, {"SCRAM-", form_scram},
};
enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

/* One response, in base64; "=" is an empty one (RFC 4954 section 4). */
static void read_response(auth_user *a, smx_slice line)
{
    char text[RESPONSE_MAX];
    size_t len = 0;
    a->answered = true;
    if (a->form == 0 || line.len > RESPONSE_MAX)
        return;
    if (smx_base64_decode(line, text, sizeof(text), &len) == 0 &&
        buffer_append(&a->name, forms[a->form - 1].form(text, len)) != 0)
        buffer_clear(&a->name); /* without memory nobody is named */
    explicit_bzero(text, sizeof(text));
}

void auth_user_begin(auth_user *a, smx_slice argument)
{
    a->form = 0;
    a->answered = false;
    buffer_clear(&a->name);
    size_t end = 0;
    while (end < argument.len && !ascii_is_space(argument.data[end]))
        end++;
    smx_slice mechanism = slice_to(argument, end);
    argument = slice_from(argument, end);
    for (size_t i = 0; i < FORMS; i++)
        if (slice_starts_with_nocase(mechanism, slice_of_text(forms[i].start)))
            a->form = (uint8_t)(i + 1);
    argument = slice_trim(argument);
    if (argument.len > 0)
        read_response(a, argument);
}

void auth_user_response(auth_user *a, smx_slice line)
{
    if (!a->answered)
        read_response(a, line);
}

smx_slice auth_user_name(const auth_user *a)
{
    return buffer_slice(&a->name);
}

void auth_user_free(auth_user *a)
{
    buffer_free(&a->name);
}
