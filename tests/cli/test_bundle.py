"""The support bundle: everything that helps, nothing that opens doors."""

import base64
import io
import json
import tarfile
from pathlib import Path

import pytest

from reconciler.operations.support_bundle import redacted
from tests.at_rest import opened
from tests.machine import TestMachine

CANARY = "cAnArY-5d41402abc4b"


def unpacked(data: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        assert all(member.isfile() and member.mtime == 0 for member in members)
        return {one.name.partition("/")[2]: archive.extractfile(one).read().decode() for one in members}  # type: ignore[union-attr]


def test_it_holds_what_helps_and_no_canary(machine: TestMachine, tmp_path: Path) -> None:
    token, hook = tmp_path / "token", tmp_path / "hook"
    token.write_text(f"file-{CANARY}\n")
    hook.write_text(f"hook-{CANARY}")
    passwords = tmp_path / "docker.json"
    encoded = base64.b64encode(f"me:one-{CANARY}".encode()).decode()
    auths = {"oci.example.org": {"auth": encoded}, "other.example.org": {"identitytoken": f"two-{CANARY}"}}
    passwords.write_text(json.dumps({"auths": auths}))
    logs = machine.root / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "convert.log").write_text(
        "x\n" * 100_000 + f"got file-{CANARY} and hook-{CANARY} and env-{CANARY}\n"
        f"https://user:pw-{CANARY}@example.org/org/repo?token=q-{CANARY}\n"
        f"one-{CANARY} {encoded} two-{CANARY}\n"
        f"Authorization: Bearer b-{CANARY}\npassword=p-{CANARY}\nhf_{CANARY}\nthe end\n"
    )
    opened(machine).records.append_event({"type": "convert.failed", "message": f"https://u-{CANARY}@host/x"})
    environment = {
        "RECONCILER_TOKEN_FILE": str(token),
        "RECONCILER_WEBHOOK_SECRET_FILE": str(hook),
        "RECONCILER_REGISTRY_AUTH_FILE": str(passwords),
        "RECONCILER_NOTIFY": f"https://hooks.example.org/{CANARY}",
        "HF_TOKEN": f"env-{CANARY}",
        "RECONCILER_PATH": str(machine.manifests),
    }
    first, second = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    for path in (first, second):
        done = machine.run("doctor", "--bundle", str(path), **environment)
        assert "look into it before you send it" in done.err
        assert path.stat().st_mode & 0o777 == 0o600
    found = unpacked(first.read_bytes())
    assert [name for name, text in found.items() if CANARY in text] == []
    assert CANARY.encode() not in first.read_bytes()
    assert encoded not in found["logs/convert.log"]
    assert "the end" in found["logs/convert.log"]
    assert "https://example.org/org/repo?[hidden]" in found["logs/convert.log"]
    assert len(found["logs/convert.log"]) <= 64 << 10
    assert json.loads(found["status.json"])["variants"][0]["id"] == "capitals-int4:1"
    assert json.loads(found["plan.json"])["changes"] == []
    assert json.loads(found["disk.json"])["usedBytes"] > 100_000
    assert {"versions.json", "doctor.json", "config.json", "events.json"} <= found.keys()
    changing = {"doctor.json", "disk.json"}  # the clock, and what is free
    again = unpacked(second.read_bytes())
    assert {k: v for k, v in found.items() if k not in changing} == {
        k: v for k, v in again.items() if k not in changing
    }


def test_a_broken_machine_still_gives_one(machine: TestMachine, tmp_path: Path) -> None:
    (machine.cache / "foundry.local.modelinfo.json").write_text("{broken")
    machine.run("doctor", "--bundle", str(tmp_path / "b.tar.gz"))
    found = unpacked((tmp_path / "b.tar.gz").read_bytes())
    assert "CatalogBroken" in found["status.json"]
    assert found["versions.json"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:pw@host/a", "https://host/a"),
        ("ssh://git@host/a", "ssh://host/a"),
        ("https://host/a?sig=123456", "https://host/a?[hidden]"),
        ("ghp_0123456789abcdef", "[hidden]"),
        ('"token_file": "/run/secrets/hf"', '"token_file": "/run/secrets/hf"'),
        ("token: abcdefgh", "token: [hidden]"),
        ("tokenizer.json", "tokenizer.json"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "[hidden]"),
        ("x s3cr3t-value y", "x [hidden] y"),
    ],
)
def test_redaction(text: str, left: str) -> None:
    assert redacted(text, ["s3cr3t-value", "x"]) == left
