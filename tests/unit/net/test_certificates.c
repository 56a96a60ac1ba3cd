/* Certificates made while the test runs. The set owns its folder, the CA and the paths. */
#include "test_certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/list.h"

enum { TEST_DAY = 86400 };

typedef struct test_path {
    list_node node;
    char *text;
} test_path;

struct test_certificates {
    char folder[64];
    list paths;
    X509 *ca;
    EVP_PKEY *ca_key;
    long serial;
};

const char *test_certificates_path(test_certificates *t, const char *name)
{
    test_path *path = calloc(1, sizeof(*path));
    assert_non_null(path);
    if (asprintf(&path->text, "%s/%s", t->folder, name) < 0)
        fail_msg("out of memory");
    list_append(&t->paths, &path->node);
    return path->text;
}

static void test_add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* A dNSName as no configuration can say it, with a NUL in it for instance. */
static void test_add_raw_name(X509 *cert, smx_slice octets)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(text, octets.data, (int)octets.len), 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    assert_int_not_equal(sk_GENERAL_NAME_push(names, name), 0);
    assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

static X509 *test_new_certificate(test_certificates *t, EVP_PKEY *key,
                                  const test_certificate_spec *spec)
{
    bool usual = spec->from_days == 0 && spec->to_days == 0;
    const char *cn = spec->common_name == NULL ? "test" : spec->common_name;
    X509 *cert = X509_new();
    assert_non_null(cert);
    assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), ++t->serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert),
                          (long)(usual ? -1 : spec->from_days) * TEST_DAY);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), (long)(usual ? 30 : spec->to_days) * TEST_DAY);
    (void)X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                     (const unsigned char *)cn, -1, -1, 0);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    return cert;
}

static void test_sign(X509 *cert, const X509 *issuer, EVP_PKEY *key)
{
    assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(issuer)), 1);
    assert_int_not_equal(X509_sign(cert, key, EVP_sha256()), 0);
}

static void test_write_certificate(const char *path, X509 *cert)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    assert_int_equal(fclose(file), 0);
}

static void test_write_key(const char *path, EVP_PKEY *key)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

test_certificates *test_certificates_new(void)
{
    const test_certificate_spec spec = {.common_name = "test CA"};
    test_certificates *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    (void)snprintf(t->folder, sizeof(t->folder), "/tmp/smx-test-XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    t->ca_key = EVP_EC_gen("P-256");
    assert_non_null(t->ca_key);
    t->ca = test_new_certificate(t, t->ca_key, &spec);
    test_add_extension(t->ca, NID_basic_constraints, "critical,CA:TRUE");
    test_sign(t->ca, t->ca, t->ca_key);
    test_write_certificate(test_certificates_path(t, "ca.pem"), t->ca);
    return t;
}

const char *test_certificates_ca(test_certificates *t)
{
    return test_certificates_path(t, "ca.pem");
}

void test_certificates_free(test_certificates *t)
{
    if (t == NULL)
        return;
    for (list_node *node; (node = list_take_first(&t->paths)) != NULL;) {
        test_path *path = list_member(node, test_path, node);
        (void)unlink(path->text);
        free(path->text);
        free(path);
    }
    (void)rmdir(t->folder);
    X509_free(t->ca);
    EVP_PKEY_free(t->ca_key);
    free(t);
}

static const char *test_suffixed(test_certificates *t, const char *name, const char *suffix)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "%s%s", name, suffix);
    return test_certificates_path(t, text);
}

tls_certificate test_certificates_make(test_certificates *t, const char *name,
                                       const test_certificate_spec *spec)
{
    const tls_certificate files = {test_suffixed(t, name, ".pem"), test_suffixed(t, name, ".key")};
    EVP_PKEY *key = spec->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *cert = test_new_certificate(t, key, spec);
    if (spec->names != NULL)
        test_add_extension(cert, NID_subject_alt_name, spec->names);
    if (spec->raw_dns_name.len > 0)
        test_add_raw_name(cert, spec->raw_dns_name);
    if (spec->self_signed)
        test_sign(cert, cert, key);
    else
        test_sign(cert, t->ca, t->ca_key);
    test_write_certificate(files.cert_file, cert);
    test_write_key(files.key_file, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    return files;
}

const char *test_certificates_write(test_certificates *t, const char *name, const char *text)
{
    const char *path = test_certificates_path(t, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}
