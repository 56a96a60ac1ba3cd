/* PROXY headers: the same at every way to cut, bounded, and the same again when written and read.
 * XCLIENT: no value can hide a control octet, and memory is kept to. */
#include "same.h"

enum { PROXY_V1_MOST = 107, PROXY_V2_MOST = 536 };

static int proxy_read(smx_slice in, enum fuzz_cut way, smx_proxy_header *header, size_t *consumed)
{
    fuzz_cutter cutter = fuzz_cutter_of(way, in);
    int error = SMX_E_AGAIN;
    for (size_t len = 0; len < in.len && error == SMX_E_AGAIN;) {
        len += fuzz_next(&cutter, in.len - len);
        error = smx_proxy_header_parse(slice_to(in, len), header, consumed);
    }
    return error;
}

static void proxy_check_again(const smx_proxy_header *header)
{
    char out[52];
    size_t len;
    size_t consumed;
    smx_proxy_header again;
    FUZZ_CHECK(smx_proxy_header_write(header, out, sizeof(out), &len) == 0);
    FUZZ_CHECK(smx_proxy_header_parse(slice_of(out, len), &again, &consumed) == 0);
    FUZZ_CHECK(consumed == len && again.version == 2);
    FUZZ_CHECK(again.local == (header->local || header->source.family == 1));
    if (again.local)
        return;
    FUZZ_CHECK(same_address(&again.source, &header->source));
    FUZZ_CHECK(same_address(&again.destination, &header->destination));
}

static void proxy_check(smx_slice in)
{
    smx_proxy_header header = {0};
    size_t consumed = 0;
    char *copy = fuzz_copy(in.data, in.len);
    int error = proxy_read(slice_of(copy, in.len), FUZZ_WHOLE, &header, &consumed);
    for (enum fuzz_cut way = FUZZ_WHOLE + 1; way < FUZZ_CUTS; way++) {
        smx_proxy_header other = {0};
        size_t other_consumed = 0;
        FUZZ_CHECK(proxy_read(slice_of(copy, in.len), way, &other, &other_consumed) == error);
        FUZZ_CHECK(other_consumed == consumed && other.version == header.version);
        FUZZ_CHECK(other.local == header.local && other.tls == header.tls);
        FUZZ_CHECK(same_address(&other.source, &header.source));
    }
    FUZZ_CHECK(error == 0 || error == SMX_E_AGAIN || error == SMX_E_PROTOCOL);
    FUZZ_CHECK(error != SMX_E_AGAIN || in.len < PROXY_V2_MOST);
    FUZZ_CHECK(error != SMX_E_AGAIN || in.len == 0 || in.data[0] != 'P' || in.len < PROXY_V1_MOST);
    if (error == 0) {
        FUZZ_CHECK(consumed <= (header.version == 1 ? PROXY_V1_MOST : PROXY_V2_MOST));
        FUZZ_CHECK(fuzz_is_within(header.authority, slice_of(copy, consumed)));
        proxy_check_again(&header);
    }
    free(copy);
}

static void proxy_check_xclient(smx_slice in)
{
    smx_xclient xclient = {0};
    char *memory = fuzz_copy(in.data, in.len);
    int error = smx_xclient_parse(in, memory, in.len, &xclient);
    FUZZ_CHECK(error == 0 || error == SMX_E_SYNTAX);
    size_t given = 0;
    for (size_t i = 0; i < SMX_XCLIENT_COUNT; i++) {
        given += xclient.given[i];
        FUZZ_CHECK(fuzz_is_within(xclient.value[i], slice_of(memory, in.len)));
        FUZZ_CHECK(!fuzz_has_control(xclient.value[i]));
    }
    FUZZ_CHECK((given > 0) == (error == 0));
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    smx_slice in = slice_of((const char *)data, size);
    proxy_check(in);
    proxy_check_xclient(in);
    return 0;
}
