/* `smtpmux check --print`: the effective file. Errors stick to the writer, so that the functions
 * that print read like the file. */
#include "app/writer.h"

#include <inttypes.h>

#include "app/scalar.h"

/* What stands for a secret. */
#define MASK "********"

static void keep(config_writer *writer, int error)
{
    if (writer->error == 0)
        writer->error = error;
}

void writer_text(config_writer *writer, const char *text)
{
    keep(writer, buffer_append_text(writer->out, text));
}

void writer_scalar(config_writer *writer, smx_slice text)
{
    keep(writer, scalar_write_text(text, writer->out));
}

void writer_key(config_writer *writer, const char *name)
{
    int columns = (int)writer->depth * 2;
    if (writer->is_item)
        keep(writer, buffer_printf(writer->out, "%*s- ", columns - 2, ""));
    else
        keep(writer, buffer_printf(writer->out, "%*s", columns, ""));
    writer->is_item = false;
    writer_scalar(writer, slice_of_text(name));
    writer_text(writer, ":");
}

void writer_end(config_writer *writer)
{
    writer_text(writer, "\n");
}

static smx_slice text_at(const config_key *key, const void *place)
{
    if (key->size == sizeof(smx_slice))
        return *(const smx_slice *)place;
    return slice_of_text(*(const char *const *)place);
}

static uint64_t number_at(const config_key *key, const void *place)
{
    if (key->size == sizeof(uint8_t))
        return *(const uint8_t *)place;
    return key->size == sizeof(uint32_t) ? *(const uint32_t *)place : *(const uint64_t *)place;
}

static void write_scalar(config_writer *writer, const config_key *key, const void *place)
{
    writer_text(writer, " ");
    switch (key->kind) {
    case KEY_SECRET:
        writer_text(writer, "\"" MASK "\"");
        break;
    case KEY_TEXT:
    case KEY_FILE:
        writer_scalar(writer, text_at(key, place));
        break;
    case KEY_BOOL:
        writer_text(writer, *(const bool *)place ? "true" : "false");
        break;
    case KEY_NUMBER:
        keep(writer, buffer_printf(writer->out, "%" PRIu64, number_at(key, place)));
        break;
    case KEY_DURATION:
        keep(writer, scalar_write_duration((uint32_t)number_at(key, place), writer->out));
        break;
    case KEY_SIZE:
        keep(writer, scalar_write_size(number_at(key, place), writer->out));
        break;
    case KEY_WORD:
        writer_text(writer, key->words[number_at(key, place)]);
        break;
    default:
        break;
    }
    writer_end(writer);
}

static bool is_absent(const config_key *key, const void *place)
{
    bool is_text = key->kind == KEY_TEXT || key->kind == KEY_FILE || key->kind == KEY_SECRET;
    if (key->kind == KEY_DURATION)
        return number_at(key, place) < key->minimum; /* 0, which cannot be given */
    return is_text && text_at(key, place).len == 0;
}

void writer_level(config_writer *writer, const config_level *level, const void *target)
{
    for (size_t i = 0; i < level->count; i++) {
        const config_key *key = &level->keys[i];
        const void *place = (const char *)target + key->offset;
        if (key->applies != NULL && !key->applies(target))
            continue;
        if (key->kind == KEY_LATER || (key->kind == KEY_CUSTOM && key->write == NULL) ||
            is_absent(key, place))
            continue;
        if (key->kind == KEY_CUSTOM) {
            key->write(writer, place);
            continue;
        }
        size_t before = buffer_length(writer->out);
        writer_key(writer, key->name);
        if (key->kind != KEY_LEVEL) {
            write_scalar(writer, key, place);
            continue;
        }
        writer_end(writer);
        size_t empty = buffer_length(writer->out);
        writer->depth++;
        writer_level(writer, key->level, target);
        writer->depth--;
        if (buffer_length(writer->out) == empty) /* nothing of it is given */
            buffer_truncate(writer->out, before);
    }
}

void writer_items(config_writer *writer, const char *name, const config_level *level,
                  const void *items, size_t count, size_t size)
{
    writer_key(writer, name);
    writer_end(writer);
    writer->depth += 2;
    for (size_t i = 0; i < count; i++) {
        writer->is_item = true;
        writer_level(writer, level, (const char *)items + i * size);
    }
    writer->depth -= 2;
}

int config_print(const config *c, buffer *out)
{
    config_writer writer = {.config = c, .out = out};
    writer_level(&writer, &level_top, c);
    return writer.error;
}
