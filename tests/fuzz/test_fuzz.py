"""The fuzzer inside CI: the beginning of what `python -m tests.fuzz` runs at length; and what it found."""

import json
import random
import sys
import time

import pytest

from reconciler.daemon.http.handler import HEAD_LIMIT, BadRequest
from reconciler.daemon.http.listening import parse_address
from reconciler.domain.errors import UsageError
from reconciler.gates.prompts import LONGEST_ANSWER, GoldenPrompt, passes, pattern_refusal, schema_refusal
from reconciler.manifests.machine.config import parse_config
from reconciler.manifests.source_facts import LockInvalid
from reconciler.state import events
from tests.daemon.requests import read_request
from tests.fuzz.__main__ import fuzz, report
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS
from tests.trust import FULL, NIGHTLY

EXECUTIONS = 1_000_000 if NIGHTLY else 60_000 if FULL else 6_000  # some 9,000 a second on one core
SECONDS = 3_000.0 if NIGHTLY else 25.0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a hang is ended by SIGALRM")
@pytest.mark.filterwarnings("error")
def test_nothing_but_the_promised_refusals() -> None:
    found = fuzz(list(TARGETS), executions=EXECUTIONS, seconds=SECONDS)
    assert not found.findings, "\n".join(found.findings)
    assert found.executions.keys() == TARGETS.keys()
    assert found.total >= (EXECUTIONS if NIGHTLY else 5_000)
    report(found)


def test_the_same_seed_gives_the_same_inputs() -> None:
    seeds = [b'{"a": [1, 2]}', b"hello"]
    first = [mutated(seeds, random.Random(f"0 {n}")) for n in range(300)]
    assert first == [mutated(seeds, random.Random(f"0 {n}")) for n in range(300)]
    assert len(set(first)) > 200


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_something_that_the_reader_gets_to_the_end_of(name: str) -> None:
    """A seed that is refused at its first byte would fuzz one line."""
    target = TARGETS[name]
    target.run(target.seeds[0])


# What it found, and reading the code for it: each ended in a traceback or in seconds of work before.


@pytest.mark.parametrize(
    "pattern",
    ["a?" * 28 + "a" * 28 + "b", "(?:(?:a?){16}){16}b", "(?:a|a){16}(?:a|a){16}b", "a*b?c?a*d?x", "(?:a{1,9}){16}b"],
)  # fmt: skip
def test_a_pattern_with_many_ways_to_match_ends_soon(pattern: str) -> None:
    assert pattern_refusal(pattern) is None
    began = time.process_time()
    assert not passes(GoldenPrompt(messages=(), check="regex", expected=pattern), "a" * LONGEST_ANSWER)
    assert time.process_time() - began < 1


def test_a_header_of_spaces_takes_no_time() -> None:
    head = b"GET / HTTP/1.1\r\na: x" + b" " * 16_000 + b"x \r\n\r\n"
    began = time.process_time()
    request = read_request(head)
    assert time.process_time() - began < 0.2  # it was 0.9 s, in which nothing else of the daemon ran
    assert request is not None
    assert request.headers["a"] == ["x" + " " * 16_000 + "x"]


@pytest.mark.parametrize("head", [b"a: " + b"x" * HEAD_LIMIT + b"\r\n", b"a: b\r\n" * (101)])
def test_a_head_that_is_too_long_is_refused_as_such(head: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(b"GET / HTTP/1.1\r\n" + head + b"\r\n")
    assert refused.value.status == 431


@pytest.mark.parametrize("schema", [{"required": [[]]}, {"items": {"required": [{"a": 0}]}}])
def test_required_names_are_text(schema: object) -> None:
    assert schema_refusal(schema) == "`required` does not take this"


def test_a_schema_of_many_levels_is_not_taken() -> None:
    schema: dict[str, object] = {}
    for _ in range(900):
        schema = {"items": schema}
    assert schema_refusal(schema) == "it has more than 16 levels"


def test_a_number_of_hundreds_of_digits_in_an_answer_is_a_number() -> None:
    case = GoldenPrompt(messages=(), check="jsonSchema", expected='{"type": "integer", "minimum": 3}')
    assert passes(case, "1" + "0" * 400)
    assert not passes(case, "-1" + "0" * 400)


def test_an_unknown_part_of_a_schema_is_named_in_short() -> None:
    assert len(schema_refusal({"x\x1b" * 900: 1}) or "") < 400


def test_a_label_of_a_machine_is_named_in_short() -> None:
    text = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\nlabels: {site: " + "a" * 9_000 + "}\n"
    _, (problem,) = parse_config(text.encode(), "machine.yaml")
    assert (problem.code, problem.line) == ("InvalidValue", 3)
    assert len(str(problem)) < 250


def test_an_address_with_a_null_is_refused() -> None:
    with pytest.raises(UsageError):
        parse_address("127.0.0\0.1:80")


@pytest.mark.parametrize(("old", "new"), [(b"model.onnx", b"../../key"), (b"sha256:1111", b"sha256:../.")])
def test_an_artifact_names_nothing_outside_of_it(old: bytes, new: bytes) -> None:
    target = TARGETS["artifact"]
    (data,) = target.seeds
    assert old in data
    with pytest.raises(target.refusals):
        target.run(data.replace(old, new))


def test_a_source_that_is_locked_twice_is_refused() -> None:
    document = json.loads(TARGETS["lock file"].seeds[0])
    document["sources"] *= 2
    with pytest.raises(LockInvalid, match="each source once"):
        TARGETS["lock file"].run(json.dumps(document).encode())


def test_an_event_of_a_thousand_brackets_is_none() -> None:
    assert events.parse(b"[" * 100_000) is None


def test_an_artifact_of_a_thousand_brackets_is_none() -> None:
    target = TARGETS["artifact"]
    with pytest.raises(target.refusals):
        target.run(b"[" * 100_000)


def test_some_inputs_stay_json_and_others_do_not() -> None:
    kept = 0
    for number in range(200):
        try:
            json.loads(mutated([b'{"a": [1, {"b": null}]}'], random.Random(number)))
            kept += 1
        except ValueError:
            continue
    assert 30 < kept < 170
