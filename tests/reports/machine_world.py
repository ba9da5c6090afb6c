"""A machine with a variant in each state, for the tests of its page: the views that the page is made of, as plain data
whose numbers never change. `text` takes the place of every text that others could write."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.reports.machine.view import DaemonFacts, DiskUse, MachineFacts, Standing

NOW = "2026-01-31T09:30:00Z"
COMMIT = "8f3c2a91d04be7765f0e12ab34cd56ef78901234"
SHA = "sha256:" + "0a1b2c3d" * 8
Text = Callable[[str], str]


def same(text: str) -> str:
    return text


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    names = ("type", "status", "reason", "message", "lastTransitionTime")
    return dict(zip(names, (kind, status, reason, message, NOW), strict=True))


def verdict(gate: str, measure: str, number: float | None, bar: float, message: str, status: str) -> dict[str, Any]:
    rejects = status == "Failed"
    shown = {"gate": gate, "measure": measure, "status": status, "number": number, "bar": bar, "message": message}
    return shown | {"rejects": rejects}


GATES = [
    verdict("fidelity", "top1Agreement", 0.9712, 0.9, "top-1 agreement 0.9712, at least 0.9 wanted", "Successful"),
    verdict("fidelity", "meanKl", 0.0143, 0.1, "mean KL 0.0143, at most 0.1 wanted", "Successful"),
    verdict("performance", "tokensPerSecond", 18.4, 12, "18.4 tokens a second, at least 12 wanted", "Successful"),
]
MISSED = [
    verdict("fidelity", "top1Agreement", 0.8123, 0.9, "top-1 agreement 0.8123, at least 0.9 wanted", "Failed"),
    verdict("prompts", "passed", None, 1, "not measured yet", "Inconclusive"),
]


def variant(
    model: str, precision: str, ready: tuple[str, str, str], more: tuple[dict[str, str], ...] = (), **changes: Any
) -> dict[str, Any]:
    name = f"{model}-{precision}"
    one = {
        "variant": name,
        "id": f"{name}:2",
        "model": model,
        "precision": precision,
        "template": "preset chatml",
        "release": SHA,
        "artifact": SHA,
        "origin": None,
        "sizeBytes": 2_340_000_000,
        "revision": f"main@sha1:{COMMIT}",
        "since": "2026-01-29T18:02:11Z",
        "answersTo": [f"{name}:2", name],
        "suspension": None,
        "measured": None,
        "gates": GATES,
        "gatesOf": SHA,
        "conditions": [condition("Ready", *ready), *more],
    }
    return one | changes


def variants(t: Text) -> list[dict[str, Any]]:
    serves = condition("Serving", "True", "Serving", t("capitals-int4:2 serves"))
    stalled = condition("Stalled", "True", "GateFailed", t("fidelity: top-1 agreement 0.8123, at least 0.9 wanted"))
    crashed = condition("Stalled", "True", "ConversionFailed", t("the converter ended with exit code 137"))
    held = {"name": t("phi-4"), "reason": t("measured by hand"), "since": NOW, "until": "2026-02-02T08:00:00Z"}
    return [
        variant(t("capitals"), "int4", ("True", "Served", t("serves what git declares")), (serves,)),
        variant(t("capitals"), "int8", ("False", "Converting", t("its conversion runs")), id=None, artifact=None),
        variant(
            t("mistral-nemo-instruct"), "int4", ("False", "GateFailed", stalled["message"]), (stalled,), gates=MISSED
        ),
        variant(t("phi-4"), "int4", ("True", "Served", ""), suspension=held),
        variant(
            t("qwen-2.5"),
            "int4",
            ("False", "AwaitingBuild", t("no registry has it: oci://registry.example.org/models answers without")),
            id=None,
            artifact=None,
            sizeBytes=0,
            gates=[],
            since=None,
        ),
        variant(t("qwen-2.5"), "int8", ("False", "DriftDetected", t("model.onnx.data changed, registration removed"))),
        variant(t("smollm"), "fp16", ("False", "ConversionFailed", crashed["message"]), (crashed,), id=None),
        variant(
            t("translate"),
            "int4",
            ("True", "Served", ""),
            origin={"registry": t("registry.example.org/models"), "signedBy": t("builders"), "since": NOW},
        ),
    ]


def plan(t: Text) -> dict[str, Any]:
    cost = {"downloadBytes": 0, "diskBytes": 1_200_000_000, "peakDiskBytes": 6_000_000_000}
    cost |= {"peakMemoryBytes": 9_000_000_000, "seconds": 420.0}
    free = dict.fromkeys(("downloadBytes", "diskBytes", "peakDiskBytes", "peakMemoryBytes"), 0) | {"seconds": None}
    name = t("capitals")
    changes = [
        {
            "action": "convert",
            "reason": "RecipeChanged",
            "variant": f"{name}-int8",
            "forcedBy": ["spec.quantization.blockSize"],
            "before": {"spec.quantization.blockSize": t("32")},
            "after": {"spec.quantization.blockSize": t("64"), "buildKey": SHA},
            "cost": cost,
            "buildKey": SHA,
        },
        {
            "action": "register",
            "reason": "RecipeChanged",
            "variant": f"{name}-int8",
            "forcedBy": [],
            "before": None,
            "after": {"id": f"{name}-int8:3", "release": SHA},
            "cost": free,
        },
    ]
    held = [
        {"variant": f"{t('phi-4')}-int4", "reason": "Suspended", "message": t("measured by hand"), "until": ""},
        {
            "variant": f"{t('qwen-2.5')}-int4",
            "reason": "AwaitingWindow",
            "message": t("activation waits for its window"),
            "until": "2026-02-01T03:00:00Z",
        },
    ]
    problem = {"code": "UnknownField", "file": t("manifests/gemma.yaml"), "line": 12, "field": "spec.precision"}
    problem |= {"message": t("unknown field"), "hint": t("did you mean precisions?")}
    return {
        "formatVersion": 1,
        "revision": f"main@sha1:{COMMIT}",
        "changes": changes,
        "held": held,
        "later": [],
        "gates": [],
        "notSelected": [{"model": t("whisper"), "message": t("nodeSelector: gpu=true is not a label here")}],
        "problems": [problem],
        "warnings": [problem | {"message": t("the template ignores system messages")}],
    }


def history(t: Text) -> dict[str, Any]:
    name = f"{t('capitals')}-int4"
    row = {
        "id": f"{name}:2",
        "number": 2,
        "current": True,
        "state": "serves",
        "outcome": "served",
        "message": "",
        "release": SHA,
        "origin": None,
        "revision": f"main@sha1:{COMMIT}",
        "registered": "2026-01-29T18:02:11Z",
        "gates": GATES,
        "changed": [{"field": "spec.promptTemplate", "before": t("chatml"), "after": t("support")}],
    }
    first = row | {"id": f"{name}:1", "number": 1, "current": False, "state": "retired", "changed": None}
    never = row | {"id": None, "number": 0, "current": False, "state": "rejected", "gates": MISSED}
    never |= {"message": t("fidelity: top-1 agreement 0.8123, at least 0.9 wanted"), "release": "sha256:" + "9" * 64}
    return {"formatVersion": 1, "variant": name, "releases": [row, never, first], "damaged": False}


def events(t: Text, number: int) -> list[dict[str, Any]]:
    kinds = (("register.done", "RecipeChanged"), ("variant.ready", "Served"), ("convert.failed", "ArtifactMissing"))
    return [
        {
            "time": f"2026-01-30T{n // 60 % 24:02}:{n % 60:02}:00Z",
            "type": kinds[n % 3][0],
            "variant": f"{t('capitals')}-int4",
            "reason": kinds[n % 3][1],
            "number": n % 7,
            "message": t(f"event {n}"),
        }
        for n in range(number)
    ]


MANIFEST = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata:
  name: capitals
spec:
  source: {path: ../examples/capitals/model}
  precisions: [int4, int8]  # served as capitals-int4 and capitals-int8
  promptTemplate: chatml"""
RENDERED = "<|im_start|>system\nYou are brief.<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>"


def machine_facts(t: Text = same, *, events_shown: int = 12, **changes: Any) -> MachineFacts:
    jobs = [
        {
            "action": "convert",
            "variant": f"{t('capitals')}-int8",
            "since": NOW,
            "fraction": 0.43,
            "text": t("quantizing layer 14 of 32"),
        }
    ]
    status = {
        "formatVersion": 1,
        "revision": f"main@sha1:{COMMIT}",
        "lastAttemptedRevision": f"main@sha1:{COMMIT}",
        "lastAppliedRevision": "main@sha1:77aa20b1c04be7765f0e12ab34cd56ef78901234",
        "conditions": [condition("Followed", "True", "Followed")],
        "scrub": {
            "last": None,
            "now": None,
            "text": "every byte was read by 2026-01-31T03:12:00Z (14.2 GiB, 0 damaged)",
        },
        "variants": variants(t),
        "working": {"pid": 811, "command": "run", "since": NOW, "jobs": jobs},
    }
    facts = MachineFacts(
        daemon=DaemonFacts(
            name=t("edge-17"), version="0.1.0", started=NOW, last_pass=NOW, last_result="partly", last_answer=NOW
        ),
        standing=Standing(
            origin=t("https://git.example.org/models/fleet.git"),
            branch=t("main"),
            commit=COMMIT,
            subject=t("capitals: larger blocks for int8"),
            committed="2026-01-31T09:12:00Z",
            behind=2,
        ),
        status=status,
        plan=plan(t),
        disk=DiskUse(free=38_000_000_000, total=128_000_000_000, store=14_200_000_000, served=9_800_000_000),
        histories=[history(t)],
        events=events(t, events_shown),
        declared=[
            {
                "name": t("capitals"),
                "file": t("manifests/capitals.yaml"),
                "line": 1,
                "text": t(MANIFEST),
                "templateOrigin": t("preset chatml"),
                "template": t("{% for m in messages %}{{ m.content }}{% endfor %}"),
                "rendered": t(RENDERED),
                "reason": "",
            },
            {
                "name": t("qwen-2.5"),
                "file": t("manifests/qwen.yaml"),
                "line": 1,
                "text": t(MANIFEST),
                "templateOrigin": "source",
                "template": "",
                "rendered": "",
                "reason": t("its own template is known when the source is here"),
            },
        ],
        benchmark=measured(),
    )
    return replace(facts, **changes)


@cache
def measured() -> Mapping[str, Any]:
    """What a benchmark left, drawn before (tests/reports/test_bench_page.py)."""
    found: Mapping[str, Any] = json.loads((Path(__file__).parent / "golden" / "bench-kept.json").read_text())
    return found


def calm_facts() -> MachineFacts:
    """All is well and nothing is to be done."""
    busy = machine_facts()
    ready = [variant("capitals", one, ("True", "Served", "")) for one in ("int4", "int8")]
    applied = busy.status["lastAttemptedRevision"]
    status = {**busy.status, "variants": ready, "working": None, "lastAppliedRevision": applied}
    empty = dict.fromkeys(("changes", "held", "later", "notSelected", "problems", "warnings"), ())
    return replace(busy, status=status, plan={**busy.plan, **empty}, standing=replace(busy.standing, behind=0))
