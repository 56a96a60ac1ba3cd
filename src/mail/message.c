/* A message's octets: the first SMX_MESSAGE_MEMORY in memory, those behind in an unlinked file, and
 * between file and end a short tail in memory, so that small pieces do not each cost a write. A message
 * that is used again keeps its file: writing over pages that are there costs a fifth of new ones.
 * Nothing is read beyond what was written since.
 * Counted references; the last owner frees memory and file. Memory is counted on the budget by what
 * is allocated, and given back to the octet. One thread appends; once the message is whole, any
 * number of threads read. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/checked.h"
#include "mail/budget.h"
#include "mail/header_scan.h"
#include "mail/message_reuse.h"
#include "mail/spill.h"

enum {
    MESSAGE_FIRST = 4096,        /* octets of the first allocation; it doubles from there */
    MESSAGE_TAIL = 16384,        /* octets that wait for their write */
    MESSAGE_KEPT_FILE = 8388608, /* octets of a file that serves again */
};

struct smx_message {
    atomic_size_t references;
    smx_budget *budget;
    char *memory;
    size_t memory_len;
    size_t memory_capacity;
    int file; /* -1: none yet */
    uint64_t file_len;
    uint64_t file_reach; /* where it ends, for all messages that used it */
    bool file_failed;    /* it was not written: it serves no more */
    char *tail;          /* NULL as long as there is no file */
    size_t tail_len;
    header_scan scan;
    unsigned traits;
    bool ended;
    bool has_temp_dir;
    char temp_dir[];
};

int smx_message_new(const smx_message_options *options, smx_message **message)
{
    assert(options == NULL || options->version == SMX_MESSAGE_VERSION);
    smx_slice temp_dir = slice_of_text(options == NULL ? NULL : options->temp_dir);
    smx_message *m = calloc(1, sizeof(*m) + temp_dir.len + 1);
    if (m == NULL)
        return SMX_E_NOMEM;
    atomic_init(&m->references, 1);
    m->budget = options == NULL ? NULL : options->budget;
    m->file = -1;
    m->has_temp_dir = temp_dir.data != NULL;
    if (temp_dir.len > 0)
        memcpy(m->temp_dir, temp_dir.data, temp_dir.len);
    *message = m;
    return 0;
}

void smx_message_free(smx_message *message)
{
    if (message == NULL || atomic_fetch_sub(&message->references, 1) > 1)
        return;
    budget_give(message->budget, message_capacity(message));
    if (message->file >= 0)
        (void)close(message->file);
    free(message->memory);
    free(message->tail);
    free(message);
}

size_t message_capacity(const smx_message *message)
{
    return message->memory_capacity + (message->tail == NULL ? 0 : (size_t)MESSAGE_TAIL);
}

bool message_has_file(const smx_message *message)
{
    return message->file >= 0;
}

bool message_empty(smx_message *message)
{
    if (message->file_failed || message->file_reach > MESSAGE_KEPT_FILE ||
        atomic_load(&message->references) > 1)
        return false;
    budget_give(message->budget, message_capacity(message));
    message->memory_len = 0;
    message->file_len = 0;
    message->tail_len = 0;
    message->scan = (header_scan){0};
    message->traits = 0;
    message->ended = false;
    return true;
}

void message_reuse(smx_message *message)
{
    if (budget_take(message->budget, message_capacity(message)) == 0)
        return;
    free(message->memory);
    free(message->tail);
    message->memory = NULL;
    message->memory_capacity = 0;
    message->tail = NULL;
}

smx_message *smx_message_share(smx_message *message)
{
    atomic_fetch_add(&message->references, 1);
    return message;
}

uint64_t smx_message_size(const smx_message *message)
{
    return message->memory_len + message->file_len + message->tail_len;
}

/* Room for `needed` octets in memory, at most SMX_MESSAGE_MEMORY. */
static int message_grow(smx_message *m, size_t needed)
{
    if (needed <= m->memory_capacity)
        return 0;
    size_t capacity = m->memory_capacity == 0 ? MESSAGE_FIRST : m->memory_capacity;
    while (capacity < needed)
        capacity *= 2;
    size_t more = capacity - m->memory_capacity;
    int error = budget_take(m->budget, more);
    if (error != 0)
        return error;
    char *memory = realloc(m->memory, capacity);
    if (memory == NULL) {
        budget_give(m->budget, more);
        return SMX_E_NOMEM;
    }
    m->memory = memory;
    m->memory_capacity = capacity;
    return 0;
}

static int message_open_tail(smx_message *m)
{
    if (m->tail != NULL)
        return 0;
    int error = budget_take(m->budget, MESSAGE_TAIL);
    if (error != 0)
        return error;
    m->tail = malloc(MESSAGE_TAIL);
    if (m->tail != NULL)
        return 0;
    budget_give(m->budget, MESSAGE_TAIL);
    return SMX_E_NOMEM;
}

/* Adds octets to the file, or fails and leaves its length. */
static int message_write(smx_message *m, smx_slice octets)
{
    int error = spill_write(m->file, m->file_len, octets);
    if (error != 0) {
        m->file_failed = true;
        return error;
    }
    m->file_len += octets.len;
    if (m->file_len > m->file_reach)
        m->file_reach = m->file_len;
    return 0;
}

/* Brings the tail into the file. The octets are the same before and after. */
static int message_flush_tail(smx_message *m)
{
    int error = message_write(m, slice_of(m->tail, m->tail_len));
    if (error == 0)
        m->tail_len = 0;
    return error;
}

/* Adds octets behind those in memory: all or, on failure, none. */
static int message_spill(smx_message *m, smx_slice octets)
{
    int error = message_open_tail(m);
    if (error == 0 && m->file < 0)
        error = spill_open(m->has_temp_dir ? m->temp_dir : NULL, &m->file);
    if (error == 0 && octets.len > MESSAGE_TAIL - m->tail_len)
        error = message_flush_tail(m);
    if (error != 0)
        return error;
    if (octets.len > MESSAGE_TAIL)
        return message_write(m, octets);
    memcpy(m->tail + m->tail_len, octets.data, octets.len);
    m->tail_len += octets.len;
    return 0;
}

/* The empty line is looked for only as far as a section may reach. */
static void message_scan(smx_message *m, smx_slice octets)
{
    size_t most = SMX_HEADER_MAX + 2 - m->scan.scanned;
    if (!m->scan.found && most > 0)
        header_scan_feed(&m->scan, slice_to(octets, octets.len < most ? octets.len : most));
}

int smx_message_append(smx_message *message, smx_slice octets)
{
    size_t room = SMX_MESSAGE_MEMORY - message->memory_len;
    size_t first = octets.len < room ? octets.len : room;
    uint64_t size;
    if (message->ended)
        return SMX_E_STATE;
    if (!checked_add_u64(smx_message_size(message), octets.len, &size) || size > INT64_MAX)
        return SMX_E_RANGE;
    int error = message_grow(message, message->memory_len + first);
    if (error == 0 && first < octets.len)
        error = message_spill(message, slice_from(octets, first));
    if (error != 0)
        return error;
    if (first > 0)
        memcpy(message->memory + message->memory_len, octets.data, first);
    message->memory_len += first;
    message_scan(message, octets);
    return 0;
}

int smx_message_read(const smx_message *message, uint64_t offset, char *scratch, size_t capacity,
                     smx_slice *octets)
{
    uint64_t size = smx_message_size(message);
    uint64_t tail = size - message->tail_len;
    if (offset >= size) {
        *octets = slice_of("", 0);
        return 0;
    }
    if (offset < message->memory_len) {
        *octets = slice_from(slice_of(message->memory, message->memory_len), (size_t)offset);
        return 0;
    }
    if (offset >= tail) {
        *octets = slice_from(slice_of(message->tail, message->tail_len), (size_t)(offset - tail));
        return 0;
    }
    if (capacity == 0)
        return SMX_E_INVALID;
    size_t len = tail - offset < capacity ? (size_t)(tail - offset) : capacity;
    int error = spill_read(message->file, offset - message->memory_len, scratch, len);
    if (error == 0)
        *octets = slice_of(scratch, len);
    return error;
}

void smx_message_end(smx_message *message)
{
    message->ended = true;
}

void smx_message_promise(smx_message *message, unsigned traits)
{
    assert(message->ended);
    message->traits = traits;
}

unsigned smx_message_traits(const smx_message *message)
{
    return message->traits;
}

int smx_message_header(const smx_message *message, smx_slice *header)
{
    uint64_t size = smx_message_size(message);
    if (message->scan.found) {
        *header = slice_of(message->memory, message->scan.scanned - 2);
        return 0;
    }
    if (size >= SMX_HEADER_MAX + 2 || (message->ended && size > SMX_HEADER_MAX))
        return SMX_E_LIMIT;
    if (!message->ended)
        return SMX_E_AGAIN;
    *header = slice_of(message->memory == NULL ? "" : message->memory, (size_t)size);
    return 0;
}

uint64_t smx_message_body_offset(const smx_message *message)
{
    return message->scan.found ? message->scan.scanned - 2 : smx_message_size(message);
}
