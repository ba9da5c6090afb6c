"""Convert tiny models of many families at every precision and compare each with its source: docs/fidelity.md.

    python -m bench.fidelity [NAME...]      a few minutes; writes bench/results/fidelity.json and docs/fidelity.md

Also families that `conversion.architectures` refuses: the table asks whether the gates alone would find them out.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler.conversion.architectures import refusal
from reconciler.conversion.client.converter import Converter
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Target
from reconciler.domain.measured import Fidelity
from reconciler.domain.plain_data import as_dict
from reconciler.gates.fidelity import BARS, DEFAULT_BARS
from reconciler.gates.judgement import judge, rejections
from tests.conversions import look, recipe_of
from tests.tiny_models import write_families

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "fidelity.json"
PAGE = ROOT / "docs" / "fidelity.md"

PRECISIONS = ("fp32", "fp16", "int8", "int4")
RIGHT = (
    "qwen2", "qwen2-tied", "qwen3", "llama", "llama-llama3", "mistral", "mistral-sliding", "phi3", "phi3-long-v4",
    "gemma", "granite", "ernie45", "hunyuan", "lfm2", "smollm3",
)  # fmt: skip
TRAINED = "capitals"  # examples/capitals: what rounding costs a model that has learnt something
WRONG = (
    "olmo", "nemotron", "phi2", "gemma2", "qwen2-yarn", "llama-yarn", "qwen2-sliding", "qwen3-sliding",
    "phi3-partial", "hunyuan-theta", "phi3-long-factor-v4", "llama-attention-cap", "llama-logit-cap",
)  # fmt: skip


def main(names: list[str]) -> None:
    rows = measure(names or [*RIGHT, TRAINED, *WRONG])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    if not names:
        PAGE.write_text(page(rows))


def measure(names: list[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder:
        zoo = write_families(os.path.join(folder, "zoo"), *(name for name in names if name != TRAINED))
        zoo |= {TRAINED: ROOT / "examples" / "capitals" / "model"}
        with Converter(os.path.join(folder, "scratch"), os.path.join(folder, "logs")) as converter:
            converter.start("int8", "fp16")
            return [
                row(converter, name, zoo[name], precision, Path(folder)) for name in names for precision in PRECISIONS
            ]


def row(converter: Converter, name: str, source: Path, precision: str, folder: Path) -> dict[str, Any]:
    out = folder / "out" / f"{name}-{precision}"
    found = compared(converter, source, precision, out)
    config = json.loads((source / "config.json").read_text())
    listed = refusal(config, precision, Target()) is None
    said = {"name": name, "architecture": config["architectures"][0], "precision": precision, "listed": listed}
    print(json.dumps(said | (as_dict(found) if isinstance(found, Fidelity) else {"error": found})), flush=True)
    if isinstance(found, str):
        return said | {"error": found}
    rejected = [verdict.measure for verdict in rejections(judge(GateSpec(), precision, found, None))]
    return said | {"fidelity": as_dict(found), "rejected": rejected}


def compared(converter: Converter, source: Path, precision: str, out: Path) -> Fidelity | str:
    """The numbers; or what the converter, or the runtime that compares, says against it."""
    recipe = recipe_of(look(source), precision)
    try:
        converter.convert(recipe, str(source), str(out), timeout=300)
        return converter.compare(recipe, str(source), str(out), timeout=300)
    except ConversionFailed as error:
        return str(error)


def page(rows: list[dict[str, Any]]) -> str:
    rows = [one | {"fidelity": _as_shown(one["fidelity"])} if "fidelity" in one else one for one in rows]
    parts = (
        *_INTRODUCTION.splitlines(),
        *_bars(),
        "",
        *_table(rows),
        *_APART.splitlines(),
        *_apart(rows),
        *_COSTS.splitlines(),
    )
    return "".join(line + "\n" for line in parts)


def _as_shown(found: dict[str, Any]) -> dict[str, Any]:
    """Rounded, so that the lower tables follow from the upper one alone."""
    digits = {"top1_agreement": ".3f", "mean_kl": ".3g", "perplexity_ratio": ".3f"} | dict.fromkeys(_SECOND, ".3g")
    return found | {name: float(format(found[name], form)) for name, form in digits.items() if found[name] is not None}


def _bars() -> list[str]:
    lines = ["| precision | top-1 at least | mean KL at most | perplexity ratio at most | wiring KL at most |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {precision} | {' | '.join(f'{bars[name]:g}' for name in BARS)} |"
        for precision, bars in DEFAULT_BARS.items()
    ]
    return lines


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| model | architecture | precision | top-1 | mean KL | perplexity ratio | wiring KL | rounding | verdict |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for one in rows:
        head = f"| {one['name']} | {one['architecture']} | {one['precision']} "
        lines.append(head + _numbers(one))
    return lines


def _numbers(one: dict[str, Any]) -> str:
    if "error" in one:
        return "| - | - | - | - | - | does not convert |"
    found = one["fidelity"]
    wiring, rounding = ("-" if value is None else f"{value:.3g}" for value in map(found.get, _SECOND))
    verdict = f"rejected ({', '.join(one['rejected'])})" if one["rejected"] else "faithful"
    return (
        f"| {found['top1_agreement']:.3f} | {found['mean_kl']:.3g} | {found['perplexity_ratio']:.3f} | {wiring} "
        f"| {rounding} | {verdict} |"
    )


def _apart(rows: list[dict[str, Any]]) -> list[str]:
    """Beside each bar: the faithful conversion that is nearest to it, and the wrong one."""
    lines = [
        "| precision | number | worst faithful | next | best wrong | apart | bar |",
        "|---|---|---|---|---|---|---|",
    ]
    for precision in PRECISIONS:
        measured = [one for one in rows if one["precision"] == precision and "fidelity" in one]
        for label, name, number in _NUMBERS:
            found = [(number(one["fidelity"]), one["name"]) for one in measured]
            values = [(value, by) for value, by in found if value is not None]
            if values:
                bar = DEFAULT_BARS[precision][name] if name else None
                lines.append(_between(precision, label, values, bar))
    return lines


def _between(precision: str, label: str, values: list[tuple[float, str]], bar: float | None) -> str:
    """Of top-1 agreement the smaller is the worse; of all others the larger."""
    falling = label == "top-1"
    right = sorted((one for one in values if one[1] not in WRONG), reverse=not falling)
    wrong = sorted((one for one in values if one[1] in WRONG), reverse=falling)
    (worst, by), (following, _), (best, other) = right[0], right[1], wrong[0]
    separate = best < worst if falling else best > worst
    apart = "overlap" if not separate else f"{best / max(worst, 1e-12):.2g} times" if not falling else "yes"
    ends = f"{worst:.3g} ({by}) | {following:.3g} | {best:.3g} ({other})"
    return f"| {precision} | {label} | {ends} | {apart} | {'' if bar is None else f'{bar:g}'} |"


_SECOND = ("wiring_kl", "rounding_distance")
_NUMBERS: tuple[tuple[str, str, Callable[[dict[str, Any]], float | None]], ...] = (
    ("top-1", "min_top1_agreement", lambda found: found["top1_agreement"]),
    ("mean KL", "max_mean_kl", lambda found: found["mean_kl"]),
    ("perplexity ratio", "max_perplexity_ratio", lambda found: found["perplexity_ratio"]),
    ("wiring KL", "max_wiring_kl", lambda found: found["wiring_kl"]),
)

_APART = """\

## Which number tells them apart

For each number the faithful conversion that looks worst, the one after it, and the wrong one that looks best.

- **Top-1 agreement and the perplexity ratio do not.** gemma2 and the caps come out wrong and choose the same token as
  their sources 99 times of 100; first choices alone do not show it. These bars are for what is broken altogether, and
  for people who set their own.
- **The mean divergence does at fp32 only.** At the other precisions honest rounding costs more than a small mistake.
- **What rounding does not explain (wiring KL) does, at every precision that rounds, and about as clearly as fp32.** The
  bar is nearer to the right ones. Of those gemma lies highest: the builder rounds the square root by which embeddings
  are multiplied to two decimals, and at fp16 it adds one to the norms before it halves them.

"""

_COSTS = """\

## What the check costs

accelerate loads one layer of the source at a time straight from its safetensors, in single precision; the artifact is
loaded as it serves. How many tokens are compared depends on the model: 2^35 by weights, 64 at least, all of the texts
for small ones. Measured by hand with a random Qwen2-shaped model of 0.5 B (bf16, vocabulary 151,936) at int4, on two
cores that others used too (2026-11-29):

- The check alone: 65 tokens, 11.5 CPU seconds, at most 1,226 MiB of memory (mapped files apart), 363 of them for the
  imports. Its largest layer is the head: 519 MiB in single precision. At int8 20.5 s and 1,401 MiB, at fp32 5.7 and
  1,375, at fp16 13.2 and 3,204: there the runtime widens all weights in memory.
- `olive run` alone 25.9 CPU seconds and 6,220 MiB, `reconciler apply` 46.8 and 6,203 (conversion with its imports 27,
  the check 11, the command itself 4, the rehearsal in the runtime 3), one after the other.
- With an adapter the source is in memory as a whole, in single precision: PEFT merges it there.
"""

_INTRODUCTION = """\
# Which conversions are faithful

<!-- Generated by `python -m bench.fidelity`: edit that. -->

Tiny models of each family, converted at each precision with the pinned tools and compared with their sources on the
texts of `domain/measured.py`, by the code that every conversion goes through. All but `capitals` are random: they lose
more by rounding than any trained model, so bars that let them pass let honest quantization pass. The families after
`capitals` are known to come out wrong (docs/architectures.md): the table of architectures refuses them before a
conversion; here they are converted all the same, to see that the gates alone would find them out.

- **top-1, mean KL, perplexity ratio**: the artifact as it will serve, against the source as it is: what the conversion
  costs, rounding included.
- **wiring KL**: against the source that computes with the artifact's own weights. The rounded ones (int4, int8) are
  read back out of it; at fp16 the source's weights and the tables of its rotation are halved. For this the artifact
  does its sums in single precision (accuracy level 1 in a copy of the graph; at fp16 weights are widened when they are
  used): coarser sums would hide small mistakes. What is left is not explained by rounding.
- **rounding**: how far the row of weights that lies furthest in the artifact is from the source's, in units of what
  rounding to the nearest step costs on average (root mean squares). The tools' own rounding lies below 1.25, with every
  algorithm; codes that are one too high cost 3.5, other weights ten and more. At most 2.75 is let through.

The texts follow each other in rows as long as the context. The artifact reads a row in pieces, the last two tokens one
by one, so that the cache of the runtime is tested too.

"""


if __name__ == "__main__":
    main(sys.argv[1:])
