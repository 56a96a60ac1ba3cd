"""Certificates of a CA of our own, good ones and bad ones, made by the openssl program."""
import ssl
import subprocess
import types

CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
email_in_dn = no
copy_extensions = none
[any]
commonName = optional
[req]
distinguished_name = name
prompt = no
[name]
CN = {cn}
[extensions]
{extensions}
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""
FAR = ("20240101000000Z", "20460101000000Z")
PAST = ("20200101000000Z", "20210101000000Z")
# [2] "localhost\0.evil": a name that ends early for whoever reads it as a C string
NUL_NAME = "subjectAltName = DER:30:10:82:0e:6c:6f:63:61:6c:68:6f:73:74:00:2e:65:76:6c"

# name, subject's CN, extensions, validity, signed by the CA?
KINDS = [
    ("good", "good", "subjectAltName = DNS:localhost,IP:127.0.0.1", FAR, True),
    ("other", "other", "subjectAltName = DNS:other.test", FAR, True),
    ("expired", "localhost", "subjectAltName = DNS:localhost,IP:127.0.0.1", PAST, True),
    ("wrong_name", "elsewhere.test", "subjectAltName = DNS:elsewhere.test", FAR, True),
    ("self_signed", "localhost", "subjectAltName = DNS:localhost,IP:127.0.0.1", FAR, False),
    ("cn_only", "localhost", "", FAR, True),
    ("nul_name", "nul", NUL_NAME, FAR, True),
    ("client", "client", "subjectAltName = DNS:client.test", FAR, True),
]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


def write_config(folder, name, extensions):
    path = folder / f"{name}.cnf"
    path.write_text(CONFIG.format(folder=folder, cn=name, extensions=extensions))
    return path


def make_one(folder, name, cn, extensions, validity, signed):
    """Makes NAME.pem and NAME.key in the folder."""
    key, request, cert = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
    config = write_config(folder, name, extensions)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-config", config, "-key", key, "-subj", f"/CN={cn}", "-out", request)
    by = ("-cert", folder / "ca.pem", "-keyfile", folder / "ca.key") if signed else (
        "-selfsign", "-keyfile", key)
    openssl("ca", "-batch", "-notext", "-config", config, *by, "-startdate", validity[0], "-enddate",
            validity[1], *(("-extensions", "extensions") if extensions else ()), "-in", request,
            "-out", cert)
    return types.SimpleNamespace(cert=str(cert), key=str(key))


def make_certificates(folder):
    """`ca` is a path; each kind has `cert` and `key`; `folder` is where more can be made."""
    (folder / "index.txt").touch()
    config = write_config(folder, "ca", "")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "ca.key")
    openssl("req", "-new", "-x509", "-config", config, "-key", folder / "ca.key", "-days", "3650",
            "-extensions", "authority", "-subj", "/CN=own CA", "-out", folder / "ca.pem")
    made = types.SimpleNamespace(ca=str(folder / "ca.pem"), folder=folder)
    for name, *facts in KINDS:
        setattr(made, name, make_one(folder, name, *facts))
    return made


def server_context(pair, minimum=ssl.TLSVersion.TLSv1_2):
    """For a provider."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.load_cert_chain(pair.cert, pair.key)
    return context


def client_context(ca, pair=None):
    """For a client that verifies."""
    context = ssl.create_default_context(cafile=ca)
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    return context
