"""What a report is worth: only the machine's own key, over these bytes, newer than what was seen, makes it count."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.machine_report import (
    FORGED,
    REPLAYED,
    TOO_OLD,
    UNKNOWN_KEY,
    UNREADABLE,
    UNSIGNED,
    VERIFIED,
    JudgedReport,
)
from reconciler.machine_reports.keys import KeyFolder, entry_name
from reconciler.machine_reports.verify import order_of, read_report
from reconciler.operations.signing import receipt_bundle
from reconciler.registry.signing_keys import KeyUnusable
from tests.machine_reports.documents import NOW, key_of, know, machine, many, signed, written

Case = Callable[[Path], tuple[bytes, bytes | None]]
DAY = 86_400.0


def _judged(case: Case, folder: Path, **given: object) -> JudgedReport:
    data, signature = case(folder)
    keys = KeyFolder(know(folder / "keys", ("edge-7", "edge-8")))
    return read_report("edge-7", data, signature, keys, **{"now": NOW, "longest": DAY, **given}).judged


def _other_bytes(folder: Path) -> tuple[bytes, bytes]:
    _, signature = signed(machine(), folder)
    return written(machine(counter=1_790_000_001)), signature


def _broken(folder: Path) -> tuple[bytes, bytes]:
    data, signature = signed(machine(), folder)
    bundle = json.loads(signature)
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    return data, json.dumps(bundle).encode()


def _receipt(folder: Path, **changes: object) -> tuple[bytes, bytes]:
    receipt = machine(counter=0, **changes)
    data = written(receipt)
    return data, receipt_bundle(data, "edge-7.tar.receipt.json", receipt, key_of("edge-7", folder))


CASES: dict[str, tuple[Case, str, str]] = {
    "its own key": (lambda f: signed(machine(), f), VERIFIED, ""),
    "a receipt of import": (_receipt, VERIFIED, ""),
    "no signature": (lambda f: (written(machine()), None), UNSIGNED, "no signature"),
    "a machine that is not known": (lambda f: signed(machine("edge-9"), f), UNKNOWN_KEY, "edge-9.pub"),
    "another machine's key": (lambda f: signed(machine(), f, by="edge-8"), FORGED, "another key (sha256:"),
    "a signature of other bytes": (_other_bytes, FORGED, "about another report"),
    "a signature that is broken": (_broken, FORGED, "not one of"),
    "no bundle": (lambda f: (written(machine()), b"{}"), FORGED, "not the form of a sigstore bundle"),
    "two days old": (
        lambda f: signed(machine(generated="2026-11-20T00:00:00Z"), f),
        TOO_OLD,
        "made at 2026-11-20T00:00:00Z",
    ),
    "from tomorrow": (lambda f: signed(machine(generated="2026-11-23T12:00:00Z"), f), TOO_OLD, "cannot be right"),
    "at no time": (lambda f: signed(machine(generated="soon"), f), TOO_OLD, "cannot be right"),
    "no report": (lambda f: (b"[]", None), UNREADABLE, "expected a mapping"),
    "a report of more than 64 KiB": (
        lambda f: signed(machine(summary=many(400)), f),
        UNREADABLE,
        "expected at most 65536 bytes",
    ),
    "a receipt of more than 64 KiB": (lambda f: _receipt(f, summary=many(400)), VERIFIED, ""),
    "too large": (lambda f: (b" " * (5 << 20), None), UNREADABLE, "at most 4194304 bytes"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_report_is_worth(case: str, tmp_path: Path) -> None:
    made, standing, why = CASES[case]
    judged = _judged(made, tmp_path)
    assert (judged.standing, why in judged.why) == (standing, True), judged.why
    assert (judged.report is None) == (standing == UNREADABLE)


@pytest.mark.parametrize(("seen", "standing"), [(1_790_000_000, VERIFIED), (1_790_000_001, REPLAYED)])
def test_an_old_report_is_not_taken_for_a_new_one(seen: int, standing: str, tmp_path: Path) -> None:
    judged = _judged(lambda f: signed(machine(), f), tmp_path, seen={"edge-7": seen, "edge-8": 1 << 40})
    assert judged.standing == standing


def test_any_age_is_accepted_where_none_is_set(tmp_path: Path) -> None:
    judged = _judged(lambda f: signed(machine(generated="2020-01-01T00:00:00Z"), f), tmp_path, longest=None)
    assert judged.standing == VERIFIED


def test_a_statement_of_another_kind_does_not_count(tmp_path: Path) -> None:
    """The machine's key may sign other things, such as builds."""
    from reconciler.domain import digest as digests
    from reconciler.registry import bundle, provenance

    data = written(machine())
    payload = provenance.statement("x", digests.of_bytes(data), provenance.PREDICATE, {})
    judged = _judged(lambda f: (data, bundle.sign(payload, key_of("edge-7", f))), tmp_path)
    assert (judged.standing, "no statement about a report" in judged.why) == (FORGED, True)


def test_a_receipt_is_ordered_by_its_time(tmp_path: Path) -> None:
    report = _judged(_receipt, tmp_path).report
    assert report is not None
    assert order_of(report) == 1_795_345_200  # 2026-11-22T11:00:00Z


def test_a_new_machine_is_trusted_on_first_use_only(tmp_path: Path) -> None:
    keys = KeyFolder(know(tmp_path / "keys", ()))
    data, signature = signed(machine(), tmp_path)
    first = read_report("edge-7", data, signature, keys, now=NOW)
    assert first.judged.standing == UNKNOWN_KEY
    path = keys.add("edge-7", first.public)
    assert path.endswith("edge-7.pub")
    assert read_report("edge-7", data, signature, keys, now=NOW).judged.standing == VERIFIED
    other = signed(machine(), tmp_path, by="edge-8")
    assert read_report("edge-7", *other, keys, now=NOW).judged.standing == FORGED
    with pytest.raises(KeyUnusable, match="is there already"):
        keys.add("edge-7", first.public)


def test_what_is_said_of_a_report_tells_nothing_of_the_disk(tmp_path: Path) -> None:
    keys = KeyFolder(know(tmp_path / "keys", ("edge-7",)))
    (tmp_path / "keys" / "edge-9.pub").write_bytes(b"no key")
    for name, by in (("edge-7", "edge-8"), ("edge-8", "edge-8"), ("edge-9", "edge-9")):
        judged = read_report(name, *signed(machine(name), tmp_path, by=by), keys, now=NOW).judged
        assert f"{name}.pub" in judged.why or "edge-7.pub" in judged.why
        assert str(tmp_path) not in judged.why


def test_what_is_no_key_is_not_kept(tmp_path: Path) -> None:
    keys = KeyFolder(str(tmp_path / "keys"))
    with pytest.raises(KeyUnusable):
        keys.add("edge-7", b"no key")
    assert list((tmp_path / "keys").iterdir()) == []


def test_what_a_rollout_asks_for_is_in_a_report(tmp_path: Path) -> None:
    report = _judged(lambda f: signed(machine(), f), tmp_path).report
    assert report is not None
    (variant,) = report.variants
    assert (report.machine, report.labels["site"], report.commit[:9]) == ("edge-7", "lab", "main@sha1")
    assert variant.is_ready
    assert not replace(variant, serves="sha256:b").is_ready


NAMES = (
    "edge-7",
    "Edge-7",
    "edge 7/a",
    "edge_7_a",
    "..",
    "-rf",
    "é",
    "con",
    "con.x",
    "x.",
    "x" * 101,
    "x" * 200,
    "m-edge-7-0123456789ab",
)


def test_machines_of_any_names_have_files_of_their_own_everywhere() -> None:
    entries = [entry_name(name) for name in NAMES]
    assert len(set(entries)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,117}", one) and not one.endswith(".") for one in entries)
    assert [one for one in entries if not one.startswith("m-")] == ["edge-7", "edge_7_a"]
