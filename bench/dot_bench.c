/* The speed of the body codecs on lines of 76 octets, in GB/s. Not a test: it prints. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "smx/proto.h"

enum { BENCH_LINE = 76, BENCH_SIZE = 64 * 1024, BENCH_ROUNDS = 40000 };

typedef void bench_fn(smx_slice body);

static void bench_decode(smx_slice body)
{
    smx_dot_decoder decoder = {0};
    smx_slice piece;
    while (body.len > 0)
        body = slice_from(body, smx_dot_decode(&decoder, body, &piece));
}

static void bench_encode(smx_slice body)
{
    smx_dot_encoder encoder = {0};
    smx_slice piece;
    while (body.len > 0)
        body = slice_from(body, smx_dot_encode(&encoder, body, &piece));
}

static void bench_check(smx_slice body)
{
    smx_newline_check check = {0};
    smx_newline_check_feed(&check, body);
}

/* Lines of letters; every `dotted`th begins with a dot, none if it is 0. */
static smx_slice bench_body(char *memory, size_t dotted)
{
    size_t len = 0;
    for (size_t line = 1; len + BENCH_LINE + 2 <= BENCH_SIZE; line++) {
        memset(memory + len, 'a' + (char)(line % 26), BENCH_LINE);
        if (dotted != 0 && line % dotted == 0)
            memory[len] = '.';
        memcpy(memory + len + BENCH_LINE, "\r\n", 2);
        len += BENCH_LINE + 2;
    }
    return slice_of(memory, len);
}

static void bench_run(const char *name, bench_fn *fn, smx_slice body)
{
    uint64_t begun = clock_monotonic_ms();
    for (int round = 0; round < BENCH_ROUNDS; round++)
        fn(body);
    uint64_t ms = clock_monotonic_ms() - begun;
    double octets = (double)body.len * BENCH_ROUNDS;
    printf("%-28s %6.2f GB/s\n", name, octets / 1e6 / (double)(ms == 0 ? 1 : ms));
}

int main(void)
{
    char *memory = malloc(BENCH_SIZE);
    if (memory == NULL)
        return 1;
    smx_slice plain = bench_body(memory, 0);
    bench_run("dot decode", bench_decode, plain);
    bench_run("dot encode", bench_encode, plain);
    bench_run("newline check", bench_check, plain);
    smx_slice dotted = bench_body(memory, 20);
    bench_run("dot decode, 5% of lines", bench_decode, dotted);
    bench_run("dot encode, 5% of lines", bench_encode, dotted);
    free(memory);
    return 0;
}
