/* Answers: texts and JSON. Out of memory, an answer is a 503 without a body. */
#include "admin/admin_internal.h"
#include "smx/proto.h"

static const struct {
    int error;
    unsigned status;
} STATUSES[] = {
    {SMX_E_NOTFOUND, 404}, {SMX_E_INVALID, 400}, {SMX_E_SYNTAX, 400},  {SMX_E_RANGE, 400},
    {SMX_E_BUSY, 409},     {SMX_E_STATE, 409},   {SMX_E_TIMEOUT, 504}, {SMX_E_UNSUPPORTED, 501},
    {SMX_E_NOMEM, 503},    {SMX_E_LIMIT, 503},   {SMX_E_CLOSED, 503},
};

static void answer_nothing(admin_answer *answer)
{
    buffer_clear(&answer->body);
    answer->status = 503;
    answer->type = "text/plain; charset=utf-8";
}

void admin_answer_text(admin_answer *answer, unsigned status, const char *type, const char *text)
{
    buffer_clear(&answer->body);
    answer->status = status;
    answer->type = type;
    if (buffer_append_text(&answer->body, text) != 0)
        answer_nothing(answer);
}

static int append_json(const char *octets, size_t count, void *arg)
{
    return buffer_append(arg, slice_of(octets, count));
}

void admin_answer_json(admin_answer *answer, unsigned status, json_t *value)
{
    buffer_clear(&answer->body);
    answer->status = status;
    answer->type = "application/json";
    if (value == NULL ||
        json_dump_callback(value, append_json, &answer->body, JSON_INDENT(2)) != 0 ||
        buffer_append_char(&answer->body, '\n') != 0)
        answer_nothing(answer);
    json_decref(value);
}

/* JSON knows only UTF-8; what a problem quotes may be other octets, or cut within a character. */
static json_t *error_object(const char *why)
{
    buffer plain = {0};
    int error = 0;
    if (smx_utf8_is_valid(slice_of_text(why)))
        return json_pack("{s:s}", "error", why);
    for (; *why != '\0' && error == 0; why++)
        error = buffer_append_char(&plain, (unsigned char)*why < 0x80 ? *why : '?');
    smx_slice text = buffer_slice(&plain);
    json_t *made = error == 0 ? json_pack("{s:s%}", "error", text.data, text.len) : NULL;
    buffer_free(&plain);
    return made;
}

void admin_answer_error(admin_answer *answer, unsigned status, const char *why)
{
    admin_answer_json(answer, status, error_object(why));
}

void admin_answer_failure(admin_answer *answer, int error, const problem *p, json_t *more)
{
    unsigned status = 500;
    for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++) {
        if (STATUSES[i].error == error)
            status = STATUSES[i].status;
    }
    const char *why = p->text[0] != '\0' ? p->text : smx_error_text(error);
    json_t *all = error_object(why);
    if (all != NULL && more != NULL)
        (void)json_object_update_missing(all, more);
    json_decref(more);
    admin_answer_json(answer, status, all);
}
