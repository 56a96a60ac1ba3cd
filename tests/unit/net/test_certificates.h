/* Certificates made while the test runs: a CA, and whatever it or the certificate itself signs. */
#ifndef TEST_CERTIFICATES_H
#define TEST_CERTIFICATES_H

#include "net/tls.h"

typedef struct test_certificates test_certificates;

typedef struct test_certificate_spec {
    const char *common_name; /* NULL: "test" */
    const char *names;       /* OpenSSL's form: "DNS:mx.example,IP:127.0.0.1"; NULL: none */
    smx_slice raw_dns_name;  /* one dNSName of any octets, instead */
    int from_days;           /* validity from now; both 0: from -1 to 30 */
    int to_days;
    bool self_signed;
    bool rsa; /* else ECDSA on P-256 */
} test_certificate_spec;

/* A folder below /tmp with ca.pem in it. Any failure here fails the test. */
test_certificates *test_certificates_new(void);
/* Removes the folder. */
void test_certificates_free(test_certificates *t);

/* The path of a file of that name in the folder; lives as `t`. */
const char *test_certificates_path(test_certificates *t, const char *name);
/* The CA's certificate. */
const char *test_certificates_ca(test_certificates *t);
/* Makes NAME.pem and NAME.key, in place of older ones. The paths live as `t`. */
tls_certificate test_certificates_make(test_certificates *t, const char *name,
                                       const test_certificate_spec *spec);
/* Writes a file into the folder, for bad ones. */
const char *test_certificates_write(test_certificates *t, const char *name, const char *text);

#endif
