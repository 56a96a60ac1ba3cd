#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets header and sasl: tests/fuzz/corpus/{header,sasl}. Run it after
changing what stands here and check in what it writes."""
import pathlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"

HEADERS = {
    "plain": "From: Joe <joe@x>\r\nTo: a@b\r\nSubject: hello\r\n",
    "no_from": "To: a@b\r\nSubject: hello\r\n",
    "empty": "",
    "bare_address": "from : joe@x (Joe (nested) Doe)\r\n",
    "several_mailboxes": "Sender: s@x\r\nFrom: \"A, B\" <a@x>,\r\n C <c@x>\r\n",
    "several_fields": "From: a@x\r\nFrom: b@x\r\nReply-To: c@x\r\nFROM: d@x\r\n",
    "group": "From: Team: a@b, C <d@e>;\r\nTo: undisclosed-recipients:;\r\n",
    "route": "From: Joe <@a,@b.c:joe@x>\r\n",
    "folded_everywhere": "From:\r\n Joe\r\n\t<\r\n joe\r\n @\r\n x\r\n >\r\n",
    "comments": "From: (a) Joe (b) <(c) joe (d) @ (e) x . y (f)> (g)\r\n",
    "quoted_local": "From: \"joe \\\"x\\\"\"@x\r\n",
    "literal": "From: joe@[ IPv6:2001:db8::1 ]\r\n",
    "encoded": "From: =?utf-8?q?J=C3=B6?= =?utf-8?q?rg?= <joe@x>\r\n",
    "open_quote": "From: \"open <joe@x>\r\n",
    "two_angles": "From: <a@b> <c@d>\r\n",
    "leading_blank": " leading\r\nFrom: a@b\r\n",
    "no_field": "no field\r\nFrom joe@x Mon\r\n: x\r\nFrom: a@b",
    "bare_newlines": "From: a@b\nBcc: c@d\r\nX: y\rz\r\n",
    "body": "From: a@b\r\n\r\nFrom: c@d\r\n\r\nx",
    "empty_section": "\r\nbody",
    "nul_and_8bit": "From: J\xf6rg\0 <a@b>\r\nX\x80: y\r\n",
    "forged_value": "X:a\r\nBcc: c@d\r\n \r\n",
}

SERVERS = {
    "plain": (0, ["\0user\0pencil"]),
    "plain_authorization": (0, ["user\0user\0pencil"]),
    "plain_control": (0, ["\0u\r\nX\0p"]),
    "plain_asked": (1, ["\0user\0pencil"]),
    "plain_nuls": (0, ["\0\0\0"]),
    "login": (3, ["user", "pencil"]),
    "login_initial": (2, ["user", "pencil"]),
    "login_empty": (3, [""]),
    "scram": (4, ["n,,n=user,r=abcdefgh", "c=biws,r=%r,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="]),
    "scram_asked": (5, ["y,a=user,n=user,r=abcdefgh", "c=eSw=,r=%r,p=AAAA"]),
    "scram_nobody": (4, ["n,,n=nobody-here,r=abcdefgh", "c=biws,r=%r,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="]),
    "scram_binding": (4, ["p=tls-unique,,n=user,r=abcdefgh"]),
    "scram_escapes": (4, ["n,a=u=2Cs,n=u=2Cs=3D,r=abcdefgh,x=y"]),
    "client_plain": (6, ["more"]),
    "client_login": (7, ["Username:", "Password:", "more"]),
    "client_cram": (8, ["<1896.697170952@postoffice.reston.mci.net>", "more"]),
    "client_scram": (9, ["r=%rserver,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="]),
    "client_scram_few": (9, ["r=%rserver,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1"]),
    "client_scram_error": (9, ["r=%rserver,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "e=other-error"]),
}


def write(target: str, name: str, content: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def main() -> None:
    for number, (name, text) in enumerate(HEADERS.items()):
        write("header", name, bytes([number % 8, 4]) + text.encode("latin-1"))
    for name, (choice, messages) in SERVERS.items():
        body = b"".join(bytes([len(m)]) + m.encode("latin-1") for m in messages)
        write("sasl", name, bytes([choice]) + body)
    write("sasl", "choose", bytes([10]) + b"LOGIN PLAIN CRAM-MD5  scram-sha-256")


if __name__ == "__main__":
    main()
