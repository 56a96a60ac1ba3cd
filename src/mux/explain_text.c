/* The answer of explain as a person reads it: each line can be understood without the manual. */
#include <stdio.h>

#include "mux/explain_internal.h"

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

/* "a, b or c"; numbers as they are. */
static int write_list(buffer *out, const json_t *members, const char *last)
{
    int error = 0;
    size_t count = json_array_size(members);
    for (size_t i = 0; i < count && error == 0; i++) {
        const json_t *one = json_array_get(members, i);
        const char *before = i == 0 ? "" : i + 1 == count ? last : ", ";
        error =
            json_is_integer(one)
                ? buffer_printf(out, "%s%lld octets", before, (long long)json_integer_value(one))
                : buffer_printf(out, "%s%s", before,
                                json_string_length(one) == 0 ? "empty" : json_string_value(one));
    }
    return error;
}

/* ---- conditions ---- */

static const char *person_of(const char *word)
{
    for (mux_word i = 0; i < MUX_WORD_NOT; i++) {
        if (strcmp(mux_word_get(i)->text, word) == 0)
            return mux_word_get(i)->person;
    }
    return word;
}

/* "the recipient's domain is example.net" */
static int write_has(buffer *out, const json_t *condition)
{
    const json_t *has = json_object_get(condition, "has");
    const char *field = text_of(condition, "field");
    int error;
    if (field[0] != '\0' && has == NULL)
        return buffer_printf(out, "the field %s is not known here (--header)", field);
    if (field[0] != '\0' && json_array_size(has) == 0)
        return buffer_printf(out, "there is no field %s", field);
    if (has == NULL)
        return buffer_printf(out, "the %s is not known here (--%s)",
                             person_of(text_of(condition, "word")), text_of(condition, "word"));
    if (field[0] != '\0')
        error = buffer_printf(out, "the field %s is ", field);
    else
        error = buffer_printf(out, "the %s is ", person_of(text_of(condition, "word")));
    return error != 0 ? error : write_list(out, has, " and ");
}

static int write_condition(buffer *out, const json_t *condition, unsigned columns);

static int write_conditions(buffer *out, const json_t *conditions, const char *fits,
                            unsigned columns)
{
    int error = 0;
    for (size_t i = 0; i < json_array_size(conditions) && error == 0; i++) {
        const json_t *condition = json_array_get(conditions, i);
        if (fits == NULL || strcmp(text_of(condition, "fits"), fits) == 0)
            error = write_condition(out, condition, columns);
    }
    return error;
}

static int write_not(buffer *out, const json_t *condition, unsigned columns)
{
    static const char *const SAYS[] = {"does not hold, as is asked for", "holds, and must not",
                                       "may hold, and must not"};
    const char *fits = text_of(condition, "fits");
    size_t says = strcmp(fits, "yes") == 0 ? 0 : strcmp(fits, "no") == 0 ? 1 : 2;
    int error =
        buffer_printf(out, "%*swhat stands in its `not` %s:\n", (int)columns, "", SAYS[says]);
    if (error == 0)
        error = write_conditions(out, json_object_get(condition, "of"), NULL, columns + 2);
    return error;
}

/* "the recipient's domain is example.net; wanted is example.org" */
static int write_condition(buffer *out, const json_t *condition, unsigned columns)
{
    if (strcmp(text_of(condition, "word"), "not") == 0)
        return write_not(out, condition, columns);
    bool fits = strcmp(text_of(condition, "fits"), "yes") == 0;
    int error = buffer_printf(out, "%*s", (int)columns, "");
    if (error == 0)
        error = write_has(out, condition);
    if (error == 0)
        error = buffer_append_text(out, fits ? "; this fits " : "; wanted is ");
    if (error == 0)
        error = write_list(out, json_object_get(condition, "wants"), " or ");
    return error != 0 ? error : buffer_append_text(out, "\n");
}

/* ---- routes ---- */

static int write_route(buffer *out, const json_t *route)
{
    static const struct {
        const char *fits, *says;
    } TEXTS[] = {
        {"yes", "fits, and is taken"},
        {"no", "does not fit"},
        {"maybe", "may fit, and would then be taken: it depends on what is not known here"},
        {"not asked", "is not looked at any more"},
    };
    const char *fits = text_of(route, "fits");
    const json_t *conditions = json_object_get(route, "conditions");
    const char *says = "";
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++)
        says = strcmp(TEXTS[i].fits, fits) == 0 ? TEXTS[i].says : says;
    int error = buffer_printf(out, "  %s %s%s\n", text_of(route, "name"), says,
                              json_array_size(conditions) == 0 && strcmp(fits, "yes") == 0
                                  ? ": it is for every message"
                                  : "");
    return error != 0 ? error : write_conditions(out, conditions, fits, 6);
}

static int write_routes(buffer *out, const json_t *answer)
{
    const json_t *routes = json_object_get(answer, "routes");
    bool is_own = true;
    int error = json_array_size(routes) == 0
                    ? buffer_append_text(out, "There are no routes.\n")
                    : buffer_append_text(out, "Routes, of which the first that fits is taken:\n");
    for (size_t i = 0; i < json_array_size(routes) && error == 0; i++) {
        const json_t *route = json_array_get(routes, i);
        is_own = is_own && strcmp(text_of(route, "fits"), "yes") != 0;
        error = write_route(out, route);
    }
    if (error == 0 && is_own && json_array_size(routes) > 0)
        error = buffer_append_text(out, json_is_true(json_object_get(answer, "depends"))
                                            ? "  else: the user's own upstreams, as shown below\n"
                                            : "  none fits: the user's own upstreams are taken\n");
    return error;
}

/* ---- upstreams ---- */

static int write_upstream(buffer *out, const json_t *one, size_t nth)
{
    bool usable = json_is_true(json_object_get(one, "usable"));
    const char *reason = text_of(one, "reason");
    json_int_t seconds = json_integer_value(json_object_get(one, "seconds"));
    int error = buffer_printf(out, "  %zu. %s: %s%s%s", nth + 1, text_of(one, "name"),
                              usable ? "usable" : "skipped", reason[0] == '\0' ? "" : ": ", reason);
    if (error == 0 && seconds > 0)
        error = buffer_printf(out, ", for %lld s more (until %s)", (long long)seconds,
                              text_of(one, "until"));
    return error != 0 ? error : buffer_append_text(out, "\n");
}

static int write_upstreams(buffer *out, const json_t *answer)
{
    const json_t *upstreams = json_object_get(answer, "upstreams");
    if (json_array_size(upstreams) == 0)
        return buffer_append_text(out, "\nIt would not come to a delivery.\n");
    int error = buffer_printf(
        out, "\nUpstreams, in the order in which they would be tried (selector %s):\n",
        text_of(answer, "selector"));
    for (size_t i = 0; i < json_array_size(upstreams) && error == 0; i++)
        error = write_upstream(out, json_array_get(upstreams, i), i);
    return error;
}

/* ---- all ---- */

static int write_message(buffer *out, const json_t *answer)
{
    int error = buffer_printf(out, "A message of the user %s, from <%s> to ",
                              text_of(answer, "user"), text_of(answer, "from"));
    if (error == 0)
        error = write_list(out, json_object_get(answer, "to"), " and ");
    return error != 0 ? error : buffer_printf(out, ", at %s\n\n", text_of(answer, "time"));
}

static int write_reply(buffer *out, const json_t *one)
{
    if (json_object_get(one, "code") == NULL)
        return buffer_printf(out, "  %s: what the upstream says\n", text_of(one, "to"));
    return buffer_printf(out, "  %s: %lld %s %s\n", text_of(one, "to"),
                         (long long)json_integer_value(json_object_get(one, "code")),
                         text_of(one, "enhanced"), text_of(one, "text"));
}

static int write_replies(buffer *out, const json_t *answer)
{
    const json_t *replies = json_object_get(answer, "replies");
    bool is_decided = json_array_size(json_object_get(answer, "upstreams")) == 0;
    int error = buffer_append_text(out, "\nThe client would be told:\n");
    for (size_t i = 0; i < json_array_size(replies) && error == 0; i++) {
        const json_t *one = json_array_get(replies, i);
        is_decided = is_decided || strcmp(text_of(one, "to"), "the message") == 0;
        error = write_reply(out, one);
    }
    if (error == 0 && !is_decided)
        error = buffer_append_text(out, "  the message: what the upstream says that decides it\n");
    return error;
}

int mux_explain_write(const json_t *answer, buffer *out)
{
    int error = write_message(out, answer);
    if (error == 0)
        error = write_routes(out, answer);
    if (error == 0)
        error = write_upstreams(out, answer);
    return error != 0 ? error : write_replies(out, answer);
}
