/* The keys `limits` and `store`. The limits' texts are read by upstream/limit.c. */
#include "app/parts.h"
#include "store/store.h"

static const char EXPECTED[] = "a limit, such as `500 recipients/day`";

/* Tells if an earlier limit of the list counts the same: only one of them could hold. */
static bool limits_is_double(config_reader *reader, const yaml_entry *entry,
                             const quota_limit *limits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!quota_limit_counts_alike(&limits[i], &limits[count]))
            continue;
        problems_error(reader->problems, entry->value->offset,
                       "`%s` counts the same as `%s`: write one of them", limits[count].text,
                       limits[i].text);
        return true;
    }
    return false;
}

void limits_read(config_reader *reader, const yaml_entry *entry, void *target)
{
    const yaml_entry *items;
    size_t count = reader_list(entry, &items);
    quota_limit *made = reader_alloc(reader, count, sizeof(*made));
    size_t filled = 0;
    for (size_t i = 0; i < count && made != NULL; i++) {
        smx_slice text;
        problem p;
        if (!reader_scalar(reader, &items[i], EXPECTED, &text))
            continue;
        int error = quota_limit_parse(text, &made[filled], &p);
        if (error != 0)
            reader_problem(reader, items[i].value->offset, error, &p);
        else if (!limits_is_double(reader, &items[i], made, filled))
            filled++;
    }
    *(quota_limits *)target = (quota_limits){made, filled};
}

void limits_write(config_writer *writer, const void *target)
{
    const quota_limits *limits = target;
    if (limits->count == 0)
        return;
    writer_key(writer, "limits");
    writer_text(writer, " [");
    for (size_t i = 0; i < limits->count; i++) {
        writer_text(writer, i == 0 ? "" : ", ");
        writer_scalar(writer, slice_of_text(limits->items[i].text));
    }
    writer_text(writer, "]\n");
}

/* The path in it as all paths of the file; `memory:` is `memory`. */
static const char *whole_url(config_reader *reader, smx_slice url)
{
    smx_slice scheme = slice_to(url, slice_find(url, ':') + 1);
    smx_slice path = slice_from(url, scheme.len);
    if (slice_equal(url, SMX_SLICE("memory:")))
        return "memory";
    if (!slice_equal(scheme, SMX_SLICE("sqlite:")) || path.len == 0)
        return reader_copy(reader, url);
    path = slice_of_text(reader_path(reader, path));
    char *whole = reader_alloc(reader, scheme.len + path.len + 1, 1);
    if (whole == NULL)
        return "";
    memcpy(whole, scheme.data, scheme.len);
    memcpy(whole + scheme.len, path.data, path.len);
    return whole;
}

void limits_read_store(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    smx_slice text;
    problem p;
    if (!reader_scalar(reader, entry, "a store, such as `sqlite:/var/lib/smtpmux/state.db`", &text))
        return;
    const char *url = whole_url(reader, text);
    int error = store_url_check(slice_of_text(url), &p);
    if (error != 0 && !reader->problems->is_out_of_memory)
        reader_problem(reader, entry->value->offset, error, &p);
    else
        c->store = url;
}

void limits_write_store(config_writer *writer, const void *target)
{
    const config *c = target;
    writer_key(writer, "store");
    writer_text(writer, " ");
    writer_scalar(writer, slice_of_text(c->store));
    writer_end(writer);
}
