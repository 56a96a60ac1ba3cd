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

void limits_read_store(config_reader *reader, const yaml_entry *entry, void *target)
{
    config *c = target;
    smx_slice text;
    problem p;
    if (!reader_scalar(reader, entry, "a store, such as `sqlite:/var/lib/smtpmux/state.db`", &text))
        return;
    int error = store_url_check(text, &p);
    if (error != 0)
        reader_problem(reader, entry->value->offset, error, &p);
    else
        c->store = reader_copy(reader, text);
}

void limits_write_store(config_writer *writer, const void *target)
{
    const config *c = target;
    writer_key(writer, "store");
    writer_text(writer, " ");
    writer_scalar(writer, slice_of_text(c->store));
    writer_end(writer);
}
