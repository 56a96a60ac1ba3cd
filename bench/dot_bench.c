/* The speed of the body codecs in GB/s of CPU time on one core, for lines of several lengths. Not a
 * test: it prints.
 *
 *   dot_bench [ROUNDS [TEXT]]    passes over 64 KiB of text, of which the fastest twentieth counts;
 *                                only the text of this number
 *
 * Instructions, which no neighbour on the machine can disturb: one pass over the text with lines of
 * 76 octets by smx_dot_decode, smx_dot_encode or smx_newline_check_feed, divided by its 65,520 octets:
 *
 *   valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=smx_dot_decode \
 *       build/bench/dot_bench 1 2
 *
 * With gcc 12 each takes 0.41 instructions an octet with AVX2 and 1.19 without, and 0.58, 0.63 and
 * 0.53 (with AVX2) where a twentieth of the lines begins with a dot, which is text 5. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/slice.h"
#include "smx/proto.h"

enum { BENCH_SIZE = 64 * 1024, BENCH_ROUNDS = 20000, BENCH_PARTS = 20 };

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

/* The octets of a line without its CRLF; one of how many lines begins with a dot, none if 0. */
typedef struct bench_text {
    size_t line;
    size_t dotted;
} bench_text;

static const bench_text bench_texts[] = {{20, 0},  {60, 0},  {76, 0}, {80, 0},
                                         {998, 0}, {76, 20}, {76, 1}};

enum { BENCH_TEXTS = sizeof(bench_texts) / sizeof(bench_texts[0]) };

static smx_slice bench_body(char *memory, bench_text text)
{
    size_t len = 0;
    for (size_t number = 1; len + text.line + 2 <= BENCH_SIZE; number++) {
        memset(memory + len, 'a' + (char)(number % 26), text.line);
        if (text.dotted != 0 && number % text.dotted == 0)
            memory[len] = '.';
        memcpy(memory + len + text.line, "\r\n", 2);
        len += text.line + 2;
    }
    return slice_of(memory, len);
}

/* Octets in a nanosecond, which is GB/s. */
static double bench_speed(bench_fn *fn, smx_slice body, long rounds)
{
    long passes = rounds / BENCH_PARTS + 1;
    double best = 0;
    for (long part = 0; part < BENCH_PARTS && part < rounds; part++) {
        clock_t begun = clock();
        for (long pass = 0; pass < passes; pass++)
            fn(body);
        double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
        double speed = (double)body.len * (double)passes / 1e9 / (seconds > 0 ? seconds : 1);
        best = speed > best ? speed : best;
    }
    return best;
}

int main(int count, char **arguments)
{
    long rounds = count > 1 ? strtol(arguments[1], NULL, 10) : BENCH_ROUNDS;
    long only = count > 2 ? strtol(arguments[2], NULL, 10) : -1;
    char *memory = malloc(BENCH_SIZE);
    if (memory == NULL)
        return 1;
    printf("GB/s                                 decode  encode   check\n");
    for (long i = 0; i < BENCH_TEXTS; i++) {
        if (only >= 0 && only != i)
            continue;
        smx_slice body = bench_body(memory, bench_texts[i]);
        printf("lines of %3zu octets, %3.0f%% with a dot  %6.2f  %6.2f  %6.2f\n",
               bench_texts[i].line,
               bench_texts[i].dotted == 0 ? 0.0 : 100.0 / (double)bench_texts[i].dotted,
               bench_speed(bench_decode, body, rounds), bench_speed(bench_encode, body, rounds),
               bench_speed(bench_check, body, rounds));
    }
    free(memory);
    return 0;
}
