/* A header section in the making: one run of octets that owns its memory. Every change finds its
 * field anew and puts the section together again, in one pass. */
#include <stdlib.h>

#include "mail/header_write.h"
#include "smx/message.h"

struct smx_header_edit {
    buffer text;
};

int smx_header_edit_new(smx_slice header, smx_header_edit **edit)
{
    smx_header_edit *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return SMX_E_NOMEM;
    int error = buffer_append(&e->text, header);
    if (error != 0) {
        free(e);
        return error;
    }
    *edit = e;
    return 0;
}

void smx_header_edit_free(smx_header_edit *edit)
{
    if (edit == NULL)
        return;
    buffer_free(&edit->text);
    free(edit);
}

/* Puts `middle` in the place of the octets from `from` up to `to`. */
static int header_edit_splice(smx_header_edit *edit, size_t from, size_t to, smx_slice middle)
{
    smx_slice old = buffer_slice(&edit->text);
    buffer text = {0};
    int error = buffer_append(&text, slice_to(old, from));
    if (error == 0)
        error = buffer_append(&text, middle);
    if (error == 0)
        error = buffer_append(&text, slice_from(old, to));
    if (error != 0) {
        buffer_free(&text);
        return error;
    }
    buffer_free(&edit->text);
    edit->text = text;
    return 0;
}

static int header_edit_write(smx_header_edit *edit, size_t from, size_t to, smx_slice name,
                             smx_slice value)
{
    buffer field = {0};
    if (!header_field_is_valid(name, value))
        return SMX_E_INVALID;
    int error = header_write_field(&field, name, value);
    if (error == 0)
        error = header_edit_splice(edit, from, to, buffer_slice(&field));
    buffer_free(&field);
    return error;
}

int smx_header_edit_prepend(smx_header_edit *edit, smx_slice name, smx_slice value)
{
    return header_edit_write(edit, 0, 0, name, value);
}

int smx_header_edit_append(smx_header_edit *edit, smx_slice name, smx_slice value)
{
    if (!header_field_is_valid(name, value))
        return SMX_E_INVALID;
    size_t before = buffer_length(&edit->text);
    int error = header_end_line(&edit->text);
    if (error == 0)
        error = header_write_field(&edit->text, name, value);
    if (error != 0)
        buffer_truncate(&edit->text, before);
    return error;
}

int smx_header_edit_change(smx_header_edit *edit, smx_slice name, size_t nth, smx_slice value)
{
    smx_field field;
    smx_slice text = buffer_slice(&edit->text);
    if (!header_field_is_valid(name, value))
        return SMX_E_INVALID;
    if (!smx_field_find(text, name, nth, &field))
        return SMX_E_NOTFOUND;
    size_t from = (size_t)(field.raw.data - text.data);
    return header_edit_write(edit, from, from + field.raw.len, field.name, value);
}

static int header_edit_delete_all(smx_header_edit *edit, smx_slice name)
{
    char *text = edit->text.data + edit->text.start;
    size_t kept = 0;
    size_t at = 0;
    size_t len = buffer_length(&edit->text);
    smx_field field;
    while (smx_field_next(slice_of(text, len), &at, &field)) {
        if (slice_equal_nocase(field.name, name))
            continue;
        memmove(text + kept, field.raw.data, field.raw.len);
        kept += field.raw.len;
    }
    if (kept == len)
        return SMX_E_NOTFOUND;
    buffer_truncate(&edit->text, kept);
    return 0;
}

int smx_header_edit_delete(smx_header_edit *edit, smx_slice name, size_t nth)
{
    smx_field field;
    smx_slice text = buffer_slice(&edit->text);
    if (name.len == 0 || text.len == 0)
        return SMX_E_NOTFOUND;
    if (nth == SIZE_MAX)
        return header_edit_delete_all(edit, name);
    if (!smx_field_find(text, name, nth, &field))
        return SMX_E_NOTFOUND;
    size_t from = (size_t)(field.raw.data - text.data);
    return header_edit_splice(edit, from, from + field.raw.len, slice_of("", 0));
}

int smx_header_edit_result(smx_header_edit *edit, smx_slice *header)
{
    *header = buffer_slice(&edit->text);
    return 0;
}
