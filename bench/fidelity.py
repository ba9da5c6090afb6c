"""Convert tiny models of many families at every precision and compare each with its source: docs/fidelity.md.

    python -m bench.fidelity [NAME...]      a few minutes; writes bench/results/fidelity.json and docs/fidelity.md

Also families that `conversion.architectures` refuses: the table asks whether the gates alone would find them out.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.fidelity_page import PRECISIONS, page
from reconciler.backends.foundry.foundry import Foundry
from reconciler.conversion.architectures import refusal
from reconciler.conversion.client.converter import Converter
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Target
from reconciler.domain.measured import Decoded, Measured, Referenced
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reference import Comparison
from reconciler.domain.sources.model_config import boundaries
from reconciler.gates.judgement import judge, rejections
from tests.conversions import look, recipe_of
from tests.edited_graphs import Edit, edited, rounded, swapped, windows
from tests.tiny_models import write_families

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "fidelity.json"
PAGE = ROOT / "docs" / "fidelity.md"

RIGHT = (
    "qwen2", "qwen2-tied", "qwen3", "llama", "llama-llama3", "mistral", "mistral-sliding", "phi3", "phi3-long-v4",
    "gemma", "granite", "ernie45", "hunyuan", "lfm2", "smollm3",
)  # fmt: skip
TRAINED = "capitals"  # examples/capitals: what rounding costs a model that has learnt something
WRONG = (
    "olmo", "nemotron", "phi2", "gemma2", "qwen2-yarn", "llama-yarn", "qwen2-sliding", "qwen3-sliding",
    "phi3-partial", "hunyuan-theta", "phi3-long-factor-v4", "llama-attention-cap", "llama-logit-cap",
)  # fmt: skip
LATE = ("phi3-long-early-v4",)  # right for whole texts, wrong in answers
IN_ANSWERS = (*LATE, "phi3-long-factor-v4")  # wrong there
# Of right conversions: what they find for a whole text stays as it is. A cache that is rounded is no more than what
# int8 and int4 round anyway.
EDITED: tuple[tuple[str, str, Edit, tuple[str, ...]], ...] = (
    ("a window of 63", "mistral-sliding", windows(63), PRECISIONS),
    ("a window of 65", "mistral-sliding", windows(65), PRECISIONS),
    ("no window", "mistral-sliding", windows(-1), PRECISIONS),
    ("states swapped", "lfm2", swapped, PRECISIONS),
    ("a rounded cache", "mistral-sliding", rounded, ("fp32",)),
)


def main(names: list[str]) -> None:
    rows = measure(names or [*RIGHT, TRAINED, *WRONG, *LATE])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    if not names:
        PAGE.write_text(page(rows, wrong=WRONG, late=IN_ANSWERS))


def measure(names: list[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder:
        zoo = write_families(os.path.join(folder, "zoo"), *(name for name in names if name != TRAINED))
        zoo |= {TRAINED: ROOT / "examples" / "capitals" / "model"}
        scratch, logs, runtime = (os.path.join(folder, name) for name in ("scratch", "logs", "runtime"))
        foundry = Foundry(os.path.join(folder, "catalog"), scratch=runtime, log=os.path.join(folder, "log"))
        shown_folders = (folder, str(ROOT / "examples"))  # else each new source would need a worker of its own
        with Converter(scratch, logs, shown=shown_folders) as converter, foundry:
            converter.start("int8", "fp16")
            rows = [
                row(converter, foundry, name, zoo[name], precision, Path(folder))
                for name in names
                for precision in PRECISIONS
            ]
            return rows + [
                edited_row(foundry, what, zoo[name], precision, edit, Path(folder))
                for what, name, edit, precisions in EDITED
                if name in names
                for precision in precisions
            ]


def row(
    converter: Converter, foundry: Foundry, name: str, source: Path, precision: str, folder: Path
) -> dict[str, Any]:
    out = folder / "out" / f"{name}-{precision}"
    found = compared(converter, source, precision, out)
    config = json.loads((source / "config.json").read_text())
    said = {"name": name, "architecture": config["architectures"][0], "precision": precision}
    said["listed"] = refusal(config, precision, Target()) is None
    if isinstance(found, str):
        return shown(said | {"error": found})
    (decoded, referenced), tokenized = decode(foundry, source, out, found), foundry.compare_tokenizer(str(out))
    measured = Measured(release="r", build_key="b", decoded=decoded, referenced=referenced, tokenized=tokenized)
    rejected = [verdict.measure for verdict in rejections(judge(GateSpec(), precision, found.fidelity, measured))]
    numbers = {"fidelity": as_dict(found.fidelity), "decoded": as_dict(decoded), "tokenized": as_dict(tokenized)}
    numbers["referenced"] = as_dict(referenced)
    return shown(said | numbers | {"rejected": rejected})


def edited_row(foundry: Foundry, what: str, source: Path, precision: str, edit: Edit, folder: Path) -> dict[str, Any]:
    out = folder / "edited" / f"{what}-{precision}".replace(" ", "-")
    shutil.copytree(folder / "out" / f"{source.name}-{precision}", out)
    edited(out, edit)
    decoded, _ = decode(foundry, source, out)
    measured = Measured(release="r", build_key="b", decoded=decoded)
    rejected = [verdict.measure for verdict in rejections(judge(GateSpec(), precision, None, measured))]
    said = {"name": source.name, "edited": what, "precision": precision, "decoded": as_dict(decoded)}
    return shown(said | {"rejected": rejected})


def decode(foundry: Foundry, source: Path, out: Path, compared: Comparison | None = None) -> tuple[Decoded, Referenced]:
    config = json.loads((source / "config.json").read_text())
    return foundry.decode("m:1", str(out), boundaries(config), reference=compared.reference if compared else None)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), flush=True)
    return row


def compared(converter: Converter, source: Path, precision: str, out: Path) -> Comparison | str:
    """The numbers; or what the converter, or the runtime that compares, says against it."""
    recipe = recipe_of(look(source), precision)
    try:
        converter.convert(recipe, str(source), str(out), timeout=300)
        return converter.compare(recipe, str(source), str(out), timeout=300)
    except ConversionFailed as error:
        return str(error)


if __name__ == "__main__":
    main(sys.argv[1:])
