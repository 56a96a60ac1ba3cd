/* Keys that a level does not have: which one was meant, and what is told. Owns nothing. */
#include <stdio.h>

#include "app/nearest.h"
#include "app/reader.h"

static bool is_called(const config_key *key, smx_slice name)
{
    smx_slice own = slice_of_text(key->name);
    if (slice_equal(own, name))
        return true;
    return key->kind == KEY_SECRET && slice_starts_with(name, own) &&
           slice_equal(slice_from(name, own.len), SMX_SLICE("_file"));
}

static const config_key *find_key(const config_level *level, smx_slice name)
{
    for (size_t i = 0; i < level->count; i++) {
        if (is_called(&level->keys[i], name))
            return &level->keys[i];
    }
    return NULL;
}

/* The key that other programs call `word`. */
static const config_key *find_also(const config_level *level, smx_slice word)
{
    char between[NEAREST_WORD + 3];
    int len = snprintf(between, sizeof(between), " %.*s ", (int)word.len, word.data);
    if (len < 0 || (size_t)len >= sizeof(between))
        return NULL;
    for (size_t i = 0; i < level->count; i++) {
        if (level->keys[i].also != NULL && strcasestr(level->keys[i].also, between) != NULL)
            return &level->keys[i];
    }
    return NULL;
}

static const char *find_nearest(const config_level *level, smx_slice word)
{
    nearest near = nearest_begin(word);
    for (size_t i = 0; i < level->count; i++) {
        if (level->keys[i].kind != KEY_LATER)
            nearest_try(&near, level->keys[i].name);
    }
    return near.best;
}

bool reader_has_misspelt(const config_level *level, const yaml_entry *at, const char *key)
{
    for (size_t i = 0; i < at->value->count; i++) {
        smx_slice word = at->value->entries[i].key;
        if (find_key(level, word) != NULL)
            continue;
        const config_key *also = find_also(level, word);
        const char *meant = also != NULL ? also->name : find_nearest(level, word);
        if (meant != NULL && strcmp(meant, key) == 0)
            return true;
    }
    return false;
}

static void tell_unknown(config_reader *reader, const config_level *level, const yaml_entry *entry)
{
    const config_key *also = find_also(level, entry->key);
    const char *near = find_nearest(level, entry->key);
    if (also != NULL)
        problems_error(reader->problems, entry->offset,
                       "unknown key `%s` in this %s; write `%s`: %s", entry->key.data, level->name,
                       also->name, also->doc);
    else if (near != NULL)
        problems_error(reader->problems, entry->offset,
                       "unknown key `%s` in this %s; did you mean `%s`?", entry->key.data,
                       level->name, near);
    else
        problems_error(reader->problems, entry->offset,
                       "unknown key `%s` in this %s; docs/configuration.md lists the known ones",
                       entry->key.data, level->name);
}

bool reader_knows(const config_level *level, smx_slice key)
{
    return find_key(level, key) != NULL;
}

/* The key that a list's item shows itself by. */
static const char *leading_key(const config_level *level)
{
    for (size_t i = 0; i < level->count; i++)
        if (level->keys[i].is_required)
            return level->keys[i].name;
    return level->keys[0].name;
}

bool reader_is_stray(config_reader *reader, const config_level *level, const yaml_entry *entry)
{
    const yaml_node *value = entry->value;
    if (value->kind != YAML_MAPPING || value->count == 0)
        return false;
    for (size_t i = 0; i < value->count; i++) {
        smx_slice word = value->entries[i].key;
        if (reader_knows(level, word) || find_also(level, word) != NULL ||
            find_nearest(level, word) != NULL)
            return false;
    }
    problems_error(reader->problems, entry->offset,
                   "`%s` is a list: each %s begins with `- `, as in `- %s: ...`", entry->key.data,
                   level->name, leading_key(level));
    return true;
}

void reader_unknown_keys(config_reader *reader, const config_level *level, const yaml_entry *at)
{
    for (size_t i = 0; i < at->value->count; i++) {
        if (find_key(level, at->value->entries[i].key) == NULL)
            tell_unknown(reader, level, &at->value->entries[i]);
    }
}
