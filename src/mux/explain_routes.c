/* The routes of a question's message, each with its conditions: what is wanted, what the message has, and
 * whether that fits. */
#include "mux/explain_internal.h"

enum { SHOWN_MAX = 200 }; /* octets of a field's value that are shown */

static const char *fit_text(mux_fit fit)
{
    static const char *const TEXTS[] = {[MUX_NO] = "no", [MUX_YES] = "yes", [MUX_MAYBE] = "maybe"};
    return TEXTS[fit];
}

/* Octets that are no UTF-8 become `?`: JSON knows texts only. */
static json_t *json_text(smx_slice text)
{
    char shown[SHOWN_MAX];
    if (text.data == NULL || text.len == 0)
        return json_string("");
    if (smx_utf8_is_valid(text))
        return json_stringn(text.data, text.len);
    size_t len = text.len < sizeof(shown) ? text.len : sizeof(shown);
    for (size_t i = 0; i < len; i++)
        shown[i] = (unsigned char)text.data[i] < 128 ? text.data[i] : '?';
    return json_stringn(shown, len);
}

static json_t *list_of(smx_slice text)
{
    return json_pack("[o]", json_text(text));
}

/* ---- what a message has ---- */

static json_t *has_fields(const mux_condition *condition, const mux_facts *facts)
{
    json_t *values = json_array();
    smx_field field;
    for (size_t at = 0; values != NULL && smx_field_next(facts->header, &at, &field);) {
        smx_slice value = slice_trim(field.value);
        value.len = value.len > SHOWN_MAX ? SHOWN_MAX : value.len;
        if (slice_equal_nocase(field.name, condition->field))
            (void)json_array_append_new(values, json_text(value));
    }
    return values;
}

static json_t *has_time(const mux_condition *condition, const mux_facts *facts)
{
    char text[MUX_DAYTIME_TEXT];
    if (condition->pattern_count == 0)
        return json_array();
    return list_of(mux_daytime_write(&condition->patterns[0].is.time, facts->wall_ms, text));
}

/* A list: fields may be there more than once, or not at all. */
static json_t *has(const mux_condition *condition, const mux_facts *facts)
{
    char client[SMX_ADDRESS_TEXT];
    switch (condition->word) {
    case MUX_WORD_USER:
        return list_of(facts->user);
    case MUX_WORD_CLIENT:
        return list_of(smx_address_write(&facts->client, client));
    case MUX_WORD_FROM:
        return list_of(facts->sender.len == 0 ? SMX_SLICE("<>") : facts->sender);
    case MUX_WORD_FROM_DOMAIN:
        return list_of(mux_mailbox_domain(facts->sender));
    case MUX_WORD_RCPT:
        return list_of(facts->recipient);
    case MUX_WORD_RCPT_DOMAIN:
        return list_of(mux_mailbox_domain(facts->recipient));
    case MUX_WORD_HEADER:
        return has_fields(condition, facts);
    case MUX_WORD_SIZE:
        return json_pack("[I]", (json_int_t)facts->size);
    case MUX_WORD_TIME:
        return has_time(condition, facts);
    case MUX_WORD_NOT:
    case MUX_WORD_COUNT:
        break;
    }
    return json_array();
}

/* ---- conditions ---- */

static json_t *explain_match(const mux_match *match, const mux_facts *facts);

static json_t *explain_word(const mux_condition *condition, const mux_facts *facts, mux_fit fit)
{
    bool is_known = (facts->known & mux_word_get(condition->word)->fact) != 0;
    json_t *wants = json_array();
    for (size_t i = 0; wants != NULL && i < condition->pattern_count; i++)
        (void)json_array_append_new(wants, json_text(condition->patterns[i].text));
    json_t *made = json_pack("{s:s, s:s, s:o}", "word", mux_word_get(condition->word)->text, "fits",
                             fit_text(fit), "wants", wants);
    if (made != NULL && condition->field.len > 0)
        (void)json_object_set_new(made, "field", json_text(condition->field));
    if (made != NULL && is_known)
        (void)json_object_set_new(made, "has", has(condition, facts));
    return made;
}

static json_t *explain_condition(const mux_condition *condition, const mux_facts *facts)
{
    mux_fit fit = mux_condition_eval(condition, facts);
    if (condition->word != MUX_WORD_NOT)
        return explain_word(condition, facts, fit);
    return json_pack("{s:s, s:s, s:o}", "word", "not", "fits", fit_text(fit), "of",
                     explain_match(condition->nested, facts));
}

static json_t *explain_match(const mux_match *match, const mux_facts *facts)
{
    json_t *conditions = json_array();
    for (size_t i = 0; conditions != NULL && match != NULL && i < match->count; i++) {
        if (json_array_append_new(conditions, explain_condition(&match->conditions[i], facts)) !=
            0) {
            json_decref(conditions);
            return NULL;
        }
    }
    return conditions;
}

json_t *explain_routes(const mux_options *options, const mux_facts *facts, size_t *taken,
                       bool *depends)
{
    json_t *routes = json_array();
    *taken = MUX_ROUTE_NONE;
    *depends = false;
    for (size_t i = 0; i < options->route_count; i++) {
        const mux_route_options *route = &options->routes[i];
        bool is_over = *taken != MUX_ROUTE_NONE;
        mux_fit fit = is_over ? MUX_NO : mux_route_eval(route, facts);
        *taken = fit == MUX_YES ? i : *taken;
        *depends = *depends || fit == MUX_MAYBE;
        json_t *one = json_pack("{s:s, s:s, s:o}", "name", route->name, "fits",
                                is_over ? "not asked" : fit_text(fit), "conditions",
                                is_over ? json_array() : explain_match(route->match, facts));
        if (routes == NULL || json_array_append_new(routes, one) != 0) {
            json_decref(routes);
            return NULL;
        }
    }
    return routes;
}
