"""TLS on both sides: certificates good and bad, names, versions, ALPN, and their renewal."""
import shutil
import socket
import ssl
import subprocess

import pytest

from certificates import client_context, make_one, server_context
from harness import APP, wait_until
from wire import Wire, message, send_one

SECRET = "a long secret"


def pair_of(kind):
    return {"cert": kind.cert, "key": kind.key}


# ---- towards providers ----

@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("kind", ["good", "expired", "wrong_name", "self_signed", "cn_only", "nul_name"])
def test_provider__only_a_good_certificate_is_believed(stage, certificates, tls, kind):
    first = stage.provider(tls=tls, context=server_context(getattr(certificates, kind)),
                           name="localhost", users={"u": SECRET})
    second = stage.provider()
    mux = stage.mux([{"url": first.url, "ca": certificates.ca, "user": "u", "pass": SECRET}, second])
    assert send_one(mux.port()).code == 250
    good = kind == "good"
    assert (len(first.taken), len(second.taken)) == ((1, 0) if good else (0, 1))
    if good:
        assert first.sessions[0].server_name == "localhost"
        assert first.messages[0].session.tls
    else:
        failure = mux.wait("attempt_failed")
        assert failure["phase"] == "tls" and len(failure["reason"]) > 12
        assert "AUTH" not in " ".join(first.commands()) and "MAIL" not in " ".join(first.commands())


def test_provider__a_ca_that_is_not_ours_is_not_believed(stage, certificates):
    provider = stage.provider(tls="implicit", context=server_context(certificates.good))
    mux = stage.mux([provider])  # the system's CAs
    assert send_one(mux.port()).code == 451
    assert mux.wait("attempt_failed")["phase"] == "tls"


def test_provider__by_address_of_the_certificate(stage, certificates):
    provider = stage.provider(tls="implicit", context=server_context(certificates.good))
    mux = stage.mux([{"url": provider.url, "ca": certificates.ca}])
    assert send_one(mux.port()).code == 250


@pytest.mark.parametrize("verify, taken", [(None, 0), (False, 1)])
def test_provider__tls_verify_off_takes_any_and_says_so(stage, certificates, verify, taken):
    provider = stage.provider(tls="starttls", context=server_context(certificates.self_signed))
    options = {"url": provider.url} if verify is None else {"url": provider.url, "tls_verify": verify}
    mux = stage.mux([options])
    assert send_one(mux.port()).code == (250 if taken else 451)
    assert len(provider.taken) == taken
    assert mux.wait("tls_unverified") if taken else not mux.find("tls_unverified")


@pytest.mark.parametrize("credentials", [True, False])
def test_opportunistic__with_credentials_it_must_verify(stage, certificates, credentials):
    """smtp:// and STARTTLS with a certificate that nobody vouches for."""
    provider = stage.provider(tls="starttls", context=server_context(certificates.self_signed),
                              scheme="smtp", users={"u": SECRET})
    options = {"url": provider.url}
    if credentials:
        options.update({"user": "u", "pass": SECRET})
    mux = stage.mux([options])
    assert send_one(mux.port()).code == (451 if credentials else 250)
    if credentials:
        assert not [line for line in provider.commands() if line.startswith(("AUTH", "MAIL"))]
    else:
        assert provider.messages[0].session.tls and mux.wait("tls_unverified")


def test_opportunistic__never_back_to_clear_text_after_a_failed_handshake(stage, certificates):
    provider = stage.provider({"tls": "close"}, tls="starttls", scheme="smtp",
                              context=server_context(certificates.good))
    mux = stage.mux([provider])
    assert send_one(mux.port()).code == 451
    assert not [line for line in provider.commands() if line.startswith("MAIL")]


@pytest.mark.parametrize("scheme, code", [("smtp+tls", 451), ("smtp", 250)])
def test_stripping__starttls_not_offered(stage, scheme, code):
    provider = stage.provider(scheme=scheme)
    mux = stage.mux([provider])
    assert send_one(mux.port()).code == code
    if code == 451:
        assert [session.verbs() for session in provider.sessions][0] in (["EHLO"], ["EHLO", "QUIT"])


def other_address():
    """An address of this machine that is not loopback."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.254", 9))
            address = probe.getsockname()[0]
    except OSError:
        return None
    return None if address.startswith("127.") else address


@pytest.mark.parametrize("allowed", [False, True])
def test_clear_text__credentials_leave_only_to_loopback(stage, allowed):
    address = other_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    provider = stage.provider(host=address, users={"u": SECRET})
    options = {"url": provider.url, "user": "u", "pass": SECRET}
    if allowed:
        options["allow_insecure_auth"] = True
    mux = stage.mux([options])
    assert send_one(mux.port()).code == (250 if allowed else 451)
    assert any(line.startswith("AUTH") for line in provider.commands()) == allowed
    if not allowed:
        assert mux.wait("attempt_failed")["phase"] == "auth"


def test_client_certificate__is_shown_to_the_provider(stage, certificates):
    context = server_context(certificates.good)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca)
    provider = stage.provider(tls="implicit", context=context)
    without, shown = {"url": provider.url, "ca": certificates.ca}, {
        "url": provider.url, "ca": certificates.ca, "client_cert": certificates.client.cert,
        "client_key": certificates.client.key}
    mux = stage.mux({"without": without, "shown": shown})
    assert send_one(mux.port()).code == 250
    assert mux.summary()["upstream"] == "shown" and len(provider.taken) == 1


def test_pool__other_tls_policies_never_share(stage, certificates):
    """One host, verified and not: the second's connection is its own (ATTACKS 16)."""
    provider = stage.provider(tls="starttls", context=server_context(certificates.self_signed),
                              scheme="smtp")
    mux = stage.mux({"loose": {"url": provider.url},
                     "strict": {"url": provider.url.replace("smtp:", "smtp+tls:")}},
                    users=[{"email": APP, "upstreams": ["loose"]},
                           {"email": "strict@example.com", "upstreams": ["strict"]}],
                    listeners=[{}, {"trust": {"127.0.0.0/8": "strict@example.com"}}], workers=1)
    for nth, code in ((0, 250), (1, 451), (0, 250), (1, 451)):
        assert send_one(mux.port(nth)).code == code
    assert len(provider.taken) == 2


# ---- towards clients ----

@pytest.fixture(scope="module")
def server(module_stage, certificates):
    pairs = [pair_of(certificates.good), pair_of(certificates.other)]
    provider = module_stage.provider()
    trust = {"127.0.0.0/8": APP}
    return module_stage.mux([provider], listeners=[
        {"tls": "implicit", "certificates": pairs, "trust": trust},
        {"tls": "starttls", "certificates": pairs, "trust": trust},
        {"tls": "required", "certificates": pairs, "trust": trust},
        {"tls": "implicit", "certificates": pairs, "trust": trust, "client_ca": certificates.ca}])


IMPLICIT, STARTTLS, REQUIRED, CLIENT_CA = range(4)


@pytest.mark.parametrize("name, subject", [("localhost", "good"), ("other.test", "other"),
                                           ("OTHER.test", "other")])
@pytest.mark.parametrize("nth", [IMPLICIT, STARTTLS])
def test_client__the_certificate_is_chosen_by_sni(server, certificates, nth, name, subject):
    context = client_context(certificates.ca)
    with Wire(server.port(nth)) as wire:
        if nth == STARTTLS:
            wire.greet()
        wire.secure(context, name, starttls=nth == STARTTLS)
        assert (("commonName", subject),) in wire.sock.getpeercert()["subject"]


def test_client__without_or_with_an_unknown_name_gets_the_first(server, certificates):
    for name in (None, "unknown.test"):
        context = client_context(certificates.ca)
        context.check_hostname = False
        with Wire(server.port(IMPLICIT)) as wire:
            wire.secure(context, name, starttls=False)
            assert (("commonName", "good"),) in wire.sock.getpeercert()["subject"]
            wire.greet()


def test_client__tls_is_required_before_anything_else(server, certificates):
    with Wire(server.port(REQUIRED)) as wire:
        assert wire.greet().envelope().code == 530
        wire.secure(client_context(certificates.ca)).ehlo()
        assert wire.submit(message()).code == 250
        assert "STARTTLS" not in wire.offers


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client__versions_are_told(server, certificates, version):
    context = client_context(certificates.ca)
    context.minimum_version = context.maximum_version = version
    mark = f"version-{int(version)}"
    with Wire(server.port(IMPLICIT)) as wire:
        wire.secure(context, starttls=False).greet()
        assert wire.submit(message(mark=mark)).code == 250
        told = wire.sock.version()
    assert server.summary(message_id=f"<{mark}@example.com>")["tls"] == told


def openssl_client(server, nth, *options):
    done = subprocess.run(
        [shutil.which("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port(nth)}", *options],
        input=b"QUIT\r\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize("protocol", ["-tls1", "-tls1_1"])
def test_client__old_versions_are_refused(server, protocol):
    told = openssl_client(server, IMPLICIT, protocol, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in told or "alert protocol version" in told, told


def test_client__a_foreign_alpn_is_refused(server, certificates):
    context = client_context(certificates.ca)
    context.set_alpn_protocols(["h2"])
    with Wire(server.port(IMPLICIT)) as wire:
        with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
            wire.secure(context, starttls=False)
    context.set_alpn_protocols(["h2", "smtp"])
    with Wire(server.port(IMPLICIT)) as wire:
        wire.secure(context, starttls=False).greet()
        assert wire.sock.selected_alpn_protocol() == "smtp"


@pytest.mark.parametrize("shown", [True, False])
def test_client__must_show_a_certificate_of_client_ca(server, certificates, shown):
    context = client_context(certificates.ca, certificates.client if shown else None)
    with Wire(server.port(CLIENT_CA)) as wire:
        if shown:
            wire.secure(context, starttls=False).greet()
            return
        # Not even the banner comes.
        try:
            wire.secure(context, starttls=False)  # TLS 1.3: the client is done before it is judged
            assert wire.is_closed()
        except OSError:
            pass


def test_client__garbage_for_a_handshake_ends_only_that_session(server, certificates):
    for octets in (b"EHLO clear.test\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\0" * 1000):
        with Wire(server.port(IMPLICIT)) as wire:
            wire.send(octets)
            assert wire.is_closed()
    with Wire(server.port(IMPLICIT)) as wire:
        wire.secure(client_context(certificates.ca), starttls=False).greet()


def test_client__large_messages_over_tls(server, certificates):
    with Wire(server.port(STARTTLS)) as wire:
        wire.greet().secure(client_context(certificates.ca)).ehlo()
        assert wire.submit(message((b"y" * 998 + b"\r\n") * 5000, mark="large")).code == 250


def test_certificates__are_loaded_again_when_the_files_change(stage, certificates, tmp_path):
    for kind in ("cert", "key"):
        shutil.copy(getattr(certificates.good, kind), tmp_path / kind)
    mux = stage.mux([stage.provider()], listeners=[
        {"tls": "implicit", "certificates": [{"cert": str(tmp_path / "cert"),
                                              "key": str(tmp_path / "key")}]}])
    new = make_one(certificates.folder, "renewed", "renewed",
                   "subjectAltName = DNS:localhost", ("20240101000000Z", "20460101000000Z"), True)

    def subject():
        with Wire(mux.port()) as wire:
            wire.secure(client_context(certificates.ca), starttls=False).greet()
            return dict(part[0] for part in wire.sock.getpeercert()["subject"])["commonName"]
    assert subject() == "good"
    with Wire(mux.port()) as old:
        old.secure(client_context(certificates.ca), starttls=False).greet()
        (tmp_path / "cert").write_text("half of a fi")  # what is bad is not taken
        wait_until(lambda: mux.find("certificates_bad"), 30, "event=certificates_bad")
        assert subject() == "good"
        # Two loops look, each when its time has come.
        for kind in ("key", "cert"):
            shutil.copy(getattr(new, kind), tmp_path / f"{kind}.new")
            (tmp_path / f"{kind}.new").replace(tmp_path / kind)
        wait_until(lambda: {subject() for _ in range(8)} == {"renewed"}, 30, "the new certificate")
        assert mux.wait("certificates_loaded")
        assert old.submit(message()).code == 250
