"""Reports and keys for tests."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from reconciler.domain.machine.facts import Facts
from reconciler.domain.machine_report import GateReport, VariantReport
from reconciler.fleet.inventory import DiskSpace, Inventory
from reconciler.fleet.inventory_form import inventory_view
from reconciler.machine_reports.statement import sign_report
from reconciler.registry.signing_keys import SigningKey

NOW = "2026-11-22T12:00:00Z"
GOOD = VariantReport(
    variant="capitals-int4",
    model="capitals",
    precision="int4",
    wanted="sha256:" + "a" * 64,
    serves="sha256:" + "a" * 64,
    number=3,
    since="2026-11-20T00:00:00Z",
    ready="True",
    reason="Served",
    ready_since="2026-11-20T00:00:00Z",
)


def machine(name: str = "edge-7", **changes: Any) -> Inventory:
    bare = Inventory(
        machine=name,
        generated="2026-11-22T11:00:00Z",
        reconciler="0.1.0",
        labels={"site": "lab"},
        facts=Facts(os="linux", arch="amd64", memory_bytes=16 << 30, cpus=8),
        versions={"foundry-local-sdk": "2.2.1"},
        disk=DiskSpace(free_bytes=5 << 30, total_bytes=20 << 30),
        applied_revision="main@sha1:" + "c" * 40,
        counter=1_790_000_000,
        summary=(GOOD,),
    )
    return replace(bare, **changes)


def written(inventory: Inventory, **edits: object) -> bytes:
    return json.dumps({**inventory_view(inventory), **edits}).encode()


@cache
def _pair(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_of(name: str, folder: Path) -> SigningKey:
    """The same for each name."""
    path = folder / f"{name}.key"
    path.write_bytes(_pair(name)[0])
    path.chmod(0o600)
    return SigningKey(str(path), environment={})


def know(folder: Path, names: Mapping[str, str] | tuple[str, ...]) -> str:
    """A folder of keys; a mapping gives a machine the key of another."""
    folder.mkdir(exist_ok=True)
    for name in names:
        whose = names[name] if isinstance(names, Mapping) else name
        (folder / f"{name}.pub").write_bytes(_pair(whose)[1])
    return str(folder)


def signed(inventory: Inventory, folder: Path, by: str = "") -> tuple[bytes, bytes]:
    data = written(inventory)
    return data, sign_report(data, f"{inventory.machine}.json", inventory, key_of(by or inventory.machine, folder))


def many(count: int) -> tuple[VariantReport, ...]:
    """Each with gates and a message."""
    gates = tuple(GateReport(gate="performance", measure=f"m{at}", status="Successful", number=1.5) for at in range(4))
    return tuple(
        replace(GOOD, variant=f"model-{at}-int4", model=f"model-{at}", message="m" * 250, gates=gates)
        for at in range(count)
    )
