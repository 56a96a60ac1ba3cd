"""Every phase of a provider with every fault (DESIGN 4.3, 4.4): what the client is told, how many
copies there are, and what the log says.

The first provider has the fault, the second is good. Columns: the reply to the client, its enhanced
code, copies at the first and at the second provider, the message's outcome, how many providers were
tried, and the log's event for the first with its phase. A lost connection, silence and garbage mean
`next` up to the final dot and `unknown` behind it.
"""
import pytest

from certificates import server_context
from matrix import PASSWORD, read_table, run_all
from wire import message, send_one

NEXT = read_table("""
# phase    fault      reply enhanced 1st 2nd outcome   tried event

connect    refuse     250   2.0.0    0   1   delivered 2     attempt_failed:connect
connect    stall      250   2.0.0    0   1   delivered 2     attempt_failed:connect
connect    reset      250   2.0.0    0   1   delivered 2     attempt_failed:connect|banner
connect    close      250   2.0.0    0   1   delivered 2     attempt_failed:banner

tls        close      250   2.0.0    0   1   delivered 2     attempt_failed:tls
tls        reset      250   2.0.0    0   1   delivered 2     attempt_failed:connect|tls
tls        stall      250   2.0.0    0   1   delivered 2     attempt_failed:tls
tls        garbage    250   2.0.0    0   1   delivered 2     attempt_failed:tls
tls        5xx        250   2.0.0    0   1   delivered 2     attempt_failed:tls     # in clear text

banner     421        250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     4xx        250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     5xx        250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     close      250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     reset      250   2.0.0    0   1   delivered 2     attempt_failed:connect|banner
banner     stall      250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     garbage    250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     oversize   250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     two-codes  250   2.0.0    0   1   delivered 2     attempt_failed:banner
banner     short      250   2.0.0    0   1   delivered 2     attempt_failed:banner

ehlo       421        250   2.0.0    0   1   delivered 2     attempt_failed:ehlo
ehlo       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:ehlo
ehlo       5xx        250   2.0.0    0   1   delivered 2     attempt_failed:ehlo    # HELO has no AUTH
ehlo       close      250   2.0.0    0   1   delivered 2     attempt_failed:ehlo
ehlo       reset      250   2.0.0    0   1   delivered 2     attempt_failed:ehlo
ehlo       stall      250   2.0.0    0   1   delivered 2     attempt_failed:ehlo
ehlo       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:ehlo
ehlo       oversize   250   2.0.0    0   1   delivered 2     attempt_failed:ehlo

starttls   454        250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   502        250   2.0.0    0   1   delivered 2     upstream_suspended:tls
starttls   5xx        250   2.0.0    0   1   delivered 2     upstream_suspended:tls
starttls   354        250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   injection  250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   421        250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   close      250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   reset      250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   stall      250   2.0.0    0   1   delivered 2     attempt_failed:tls
starttls   garbage    250   2.0.0    0   1   delivered 2     attempt_failed:tls

auth       421        250   2.0.0    0   1   delivered 2     attempt_failed:auth
auth       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:auth
auth       5xx        250   2.0.0    0   1   delivered 2     upstream_suspended:auth
auth       530        250   2.0.0    0   1   delivered 2     upstream_suspended:auth
auth       534        250   2.0.0    0   1   delivered 2     upstream_suspended:auth
auth       535        250   2.0.0    0   1   delivered 2     upstream_suspended:auth
auth       close      250   2.0.0    0   1   delivered 2     attempt_failed:auth
auth       reset      250   2.0.0    0   1   delivered 2     attempt_failed:auth
auth       stall      250   2.0.0    0   1   delivered 2     attempt_failed:auth
auth       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:auth
auth       250        250   2.0.0    1   0   delivered 1     -                      # the first digit

mail       421        250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       421-4.7    250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       5xx        250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       530        250   2.0.0    0   1   delivered 2     upstream_suspended:mail
mail       close      250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       reset      250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       stall      250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:mail
mail       once-421   250   2.0.0    1   0   delivered 1     -

rcpt       421        250   2.0.0    0   1   delivered 2     attempt_failed:rcpt
rcpt       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:rcpt
rcpt       5xx        250   2.0.0    0   1   delivered 2     attempt_failed:rcpt    # 5.7.1: not 5.1.x
rcpt       550-bare   550   5.0.0    0   0   rejected  1     -
rcpt       550-5.1.1  550   5.1.1    0   0   rejected  1     -
rcpt       550-5.2.1  550   5.2.1    0   0   rejected  1     -
rcpt       530        250   2.0.0    0   1   delivered 2     upstream_suspended:rcpt
rcpt       close      250   2.0.0    0   1   delivered 2     attempt_failed:rcpt
rcpt       reset      250   2.0.0    0   1   delivered 2     attempt_failed:rcpt
rcpt       stall      250   2.0.0    0   1   delivered 2     attempt_failed:rcpt
rcpt       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:rcpt

data       421        250   2.0.0    0   1   delivered 2     attempt_failed:data
data       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:data
data       5xx        250   2.0.0    0   1   delivered 2     attempt_failed:data
data       close      250   2.0.0    0   1   delivered 2     attempt_failed:data
data       reset      250   2.0.0    0   1   delivered 2     attempt_failed:data
data       stall      250   2.0.0    0   1   delivered 2     attempt_failed:data
data       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:data
data       250        250   2.0.0    0   1   delivered 2     attempt_failed:data

body       421        250   2.0.0    0   1   delivered 2     attempt_failed:body
body       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:body
body       5xx        250   2.0.0    0   1   delivered 2     attempt_failed:body
body       close      250   2.0.0    0   1   delivered 2     attempt_failed:body
body       reset      250   2.0.0    0   1   delivered 2     attempt_failed:body
body       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:body
body       stall      451   4.4.1    0   0   deferred  1     attempt_failed:body    # the deadline

dot        421        250   2.0.0    0   1   delivered 2     attempt_failed:final
dot        4xx        250   2.0.0    0   1   delivered 2     attempt_failed:final
dot        5xx        554   5.7.1    0   0   rejected  1     -
dot        550-bare   550   5.0.0    0   0   rejected  1     -
dot        552-5.3.4  250   2.0.0    0   1   delivered 2     attempt_failed:final
dot        close      451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        reset      451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        stall      451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        garbage    451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        oversize   451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        354        451   4.4.2    0   0   unknown   1     outcome_unknown:final

after-dot  close      451   4.4.2    1   0   unknown   1     outcome_unknown:final  # it had taken it
after-dot  reset      451   4.4.2    1   0   unknown   1     outcome_unknown:final
after-dot  stall      451   4.4.2    1   0   unknown   1     outcome_unknown:final
after-dot  garbage    451   4.4.2    1   0   unknown   1     outcome_unknown:final

quit       close      250   2.0.0    1   0   delivered 1     -
quit       reset      250   2.0.0    1   0   delivered 1     -
quit       5xx        250   2.0.0    1   0   delivered 1     -
quit       garbage    250   2.0.0    1   0   delivered 1     -
""")

# Both providers have the fault. 5xx only where each of them refused it for good.
BOTH = read_table("""
# phase    fault      reply enhanced 1st 2nd outcome   tried event

connect    refuse     451   4.4.1    0   0   deferred  2     attempt_failed:connect
banner     close      451   4.4.1    0   0   deferred  2     attempt_failed:banner
banner     5xx        451   4.4.1    0   0   deferred  2     attempt_failed:banner
ehlo       reset      451   4.4.1    0   0   deferred  2     attempt_failed:ehlo
starttls   454        451   4.4.1    0   0   deferred  2     attempt_failed:tls
tls        garbage    451   4.4.1    0   0   deferred  2     attempt_failed:tls
auth       4xx        451   4.4.1    0   0   deferred  2     attempt_failed:auth
auth       535        451   4.4.1    0   0   deferred  2     upstream_suspended:auth
mail       421        451   4.4.1    0   0   deferred  2     attempt_failed:mail
mail       4xx        451   4.4.1    0   0   deferred  2     attempt_failed:mail
mail       5xx        554   5.7.1    0   0   rejected  2     attempt_failed:mail
rcpt       4xx        451   4.4.1    0   0   deferred  2     attempt_failed:rcpt
rcpt       5xx        554   5.7.1    0   0   rejected  2     attempt_failed:rcpt
data       close      451   4.4.1    0   0   deferred  2     attempt_failed:data
data       5xx        554   5.7.1    0   0   rejected  2     attempt_failed:data
body       reset      451   4.4.1    0   0   deferred  2     attempt_failed:body
dot        4xx        451   4.4.1    0   0   deferred  2     attempt_failed:final
dot        421        451   4.4.1    0   0   deferred  2     attempt_failed:final
dot        552-5.3.4  552   5.3.4    0   0   rejected  2     attempt_failed:final
after-dot  close      451   4.4.2    1   0   unknown   1     outcome_unknown:final
""", second=False)

# The providers take BDAT: the last chunk is what the final dot is else.
CHUNKED = read_table("""
# phase    fault      reply enhanced 1st 2nd outcome   tried event

data       421        250   2.0.0    0   1   delivered 2     attempt_failed:body
data       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:data
data       5xx        250   2.0.0    0   1   delivered 2     attempt_failed:data
body       close      250   2.0.0    0   1   delivered 2     attempt_failed:body
body       reset      250   2.0.0    0   1   delivered 2     attempt_failed:body
body       garbage    250   2.0.0    0   1   delivered 2     attempt_failed:body
body       4xx        250   2.0.0    0   1   delivered 2     attempt_failed:data   # of the chunk
body       stall      451   4.4.1    0   0   deferred  1     attempt_failed:body
dot        421        250   2.0.0    0   1   delivered 2     attempt_failed:final
dot        4xx        250   2.0.0    0   1   delivered 2     attempt_failed:final
dot        5xx        554   5.7.1    0   0   rejected  1     -
dot        close      451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        reset      451   4.4.2    0   0   unknown   1     outcome_unknown:final
dot        stall      451   4.4.2    0   0   unknown   1     outcome_unknown:final
after-dot  close      451   4.4.2    1   0   unknown   1     outcome_unknown:final
""", chunking=True)

CASES = NEXT + BOTH + CHUNKED


@pytest.fixture(scope="module")
def results(module_stage, certificates):
    return run_all(module_stage, CASES, lambda: server_context(certificates.good), certificates.ca)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_failover__each_fault_at_each_phase(results, case):
    result = results[case.name]
    if isinstance(result, BaseException):
        raise result
    told = (result.reply.code, result.reply.enhanced or "-")
    summary = result.summary
    assert told == (case.code, case.enhanced), result.reply
    assert (len(result.first.messages), len(result.second.messages)) == case.copies
    assert (summary["outcome"], int(summary["attempts"])) == (case.outcome, case.attempts)
    assert int(summary["code"]) == case.code
    events = [f"{line['event']}:{line['phase']}" for line in result.failures[:1]]
    event, _, phases = case.event.partition(":")
    expected = [] if case.event == "-" else [f"{event}:{phase}" for phase in phases.split("|")]
    assert events == [] if case.event == "-" else events[0] in expected, result.failures
    if case.outcome == "unknown":
        assert result.second.connections == 0
    if case.code == 451 and case.enhanced == "4.4.1":
        assert f"{case.name}.1: " in result.reply.text  # the reasons, by provider


@pytest.mark.parametrize("name, connections", [
    ("mail-421", 2),  # once more on a fresh connection
    ("mail-once-421", 2),
    ("mail-421-4.7", 1),  # it does not like us
    ("mail-4xx", 1),
    ("dot-421", 1),
    ("banner-421", 1),
])
def test_failover__a_mere_421_is_tried_once_more_on_a_fresh_connection(results, name, connections):
    assert results[name].first.connections == connections


def test_failover__ehlo_refused_falls_back_to_helo(stage):
    provider = stage.provider({"ehlo": ["502 5.5.1 what is EHLO?"]})
    mux = stage.mux([provider])
    assert send_one(mux.port(), message()).code == 250
    assert provider.sessions[0].verbs()[:3] == ["EHLO", "HELO", "MAIL"]
    assert provider.sessions[0].commands[2] == "MAIL FROM:<from@example.com>"


@pytest.mark.parametrize("fault", ["454", "502", "354", "injection", "garbage"])
def test_failover__without_tls_neither_auth_nor_mail_is_sent(results, fault):
    verbs = results[f"starttls-{fault}"].first.sessions[0].verbs()
    assert "AUTH" not in verbs and "MAIL" not in verbs


def test_failover__no_provider_saw_the_password_of_a_client(results):
    for result in results.values():
        for line in result.first.commands() + result.second.commands():
            assert PASSWORD not in line
