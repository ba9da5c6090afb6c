"""Predicted memory, from shapes alone; and beside what a conversion and its check really hold."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.conversion.memory import predict_memory
from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.domain.sources.source_model import SourceModel
from reconciler.host import child
from reconciler.host.processes import descendants
from tests import forked, forked_child
from tests.conversions import look, recipe_of
from tests.trust import FULL, record

MIB = 1 << 20
LOOK = 0.2  # seconds: what counts is held for seconds, and a look costs tens of milliseconds


def source(*, vocabulary: int, hidden: int, inner: int, layers: int, tied: bool = True, **config: Any) -> SourceModel:
    """In half precision."""
    layer = {"self_attn.q_proj": (hidden, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}
    shapes = {f"model.layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in layer.items()}
    shapes |= dict.fromkeys(("model.embed_tokens.weight", *["lm_head.weight"][tied:]), (vocabulary, hidden))
    size = 2 * sum(rows * columns for rows, columns in shapes.values())
    config |= {"vocab_size": vocabulary, "hidden_size": hidden}
    return SourceModel(path="/m", config=config, shapes=shapes, weight_bytes=size)


HALF: dict[str, Any] = {"vocabulary": 151_936, "hidden": 896, "inner": 7870, "layers": 24}


def recipe(precision: str = "int4", adapter: str | None = None, **options: Any) -> Recipe:
    return Recipe(
        source="", adapter=adapter, architecture="", precision=precision, options=options, target=Target(), tools={}
    )


THREE: dict[str, Any] = {"vocabulary": 151_936, "hidden": 2048, "inner": 17_600, "layers": 36}

# Anonymous memory of the command and all below it, in MiB, with Qwen2-shaped models of half a billion and of three
# billion parameters: of the conversion and of the check (2026-11-29).
MEASURED: list[tuple[dict[str, Any], str, int, int]] = [
    (HALF, "int4", 1146, 1430),
    (HALF, "int8", 1712, 1495),
    (HALF, "fp32", 1016, 1312),
    (HALF, "fp16", 4105, 2149),
    (THREE, "int4", 2597, 2895),
]


@pytest.mark.parametrize(("shape", "precision", "conversion", "check"), MEASURED)
def test_at_real_sizes_it_is_not_too_small_and_not_much_too_large(
    shape: dict[str, Any], precision: str, conversion: int, check: int
) -> None:
    measured = max(conversion, check) * MIB
    assert measured <= predict_memory(source(**shape), recipe())[precision] <= 1.5 * measured


def test_rounded_weights_are_in_memory_and_the_source_is_not() -> None:
    """Twice the layers of int4: five bits more for each number in them; nothing more for single precision."""
    once, twice = (predict_memory(source(**HALF | {"layers": layers}), recipe()) for layers in (24, 48))
    in_layers = 24 * (896 * 896 + 2 * 7870 * 896)
    assert twice["fp32"] == once["fp32"]
    large, larger = (predict_memory(source(**HALF | {"layers": layers}), recipe())["int4"] for layers in (240, 264))
    assert larger - large == pytest.approx(in_layers * 5.125 / 8, rel=0.01)


def test_wider_blocks_are_less_and_k_quant_is_more() -> None:
    large = source(**HALF | {"layers": 200})
    plain, wide, mixed = (
        predict_memory(large, recipe(**options))["int4"]
        for options in ({}, {"block_size": 256}, {"algorithm": "k_quant_mixed"})
    )
    assert wide < plain < mixed


def test_half_precision_holds_the_model_some_times_over() -> None:
    numbers = sum(rows * columns for rows, columns in source(**HALF).shapes.values()) + 151_936 * 896
    assert predict_memory(source(**HALF), recipe())["fp16"] > 3 * 2 * numbers


def test_with_an_adapter_the_model_is_in_memory_in_single_precision() -> None:
    plain, merged = (predict_memory(source(**HALF), recipe(adapter=adapter)) for adapter in (None, "sha256:a"))
    assert merged["int4"] - plain["int4"] == 4 * (source(**HALF).weight_bytes // 2 + 151_936 * 896)


def test_a_source_that_is_not_in_the_type_that_it_names_is_in_memory() -> None:
    as_it_is, other = (source(**HALF, dtype=dtype) for dtype in ("bfloat16", "float32"))
    difference = predict_memory(other, recipe())["int4"] - predict_memory(as_it_is, recipe())["int4"]
    assert difference == 2 * as_it_is.weight_bytes


def test_a_head_of_its_own_is_counted_once() -> None:
    own, shared = (predict_memory(source(**HALF | {"layers": 200}, tied=tied), recipe()) for tied in (False, True))
    assert own["int4"] == shared["int4"]


def peak_while(work: Callable[[], object]) -> int:
    """Bytes that the processes which this one starts meanwhile hold, but for mapped files; pages that they share count
    once."""
    peak, over, there = 0, threading.Event(), {*descendants(os.getpid())}

    def look_on() -> None:
        nonlocal peak
        while not over.wait(LOOK):
            shared = {pid for server in forked.servers() for pid in descendants(server)}  # others ask it too
            peak = max(peak, sum(map(_anonymous, {*descendants(os.getpid())} - there - shared)))

    watcher = threading.Thread(target=look_on)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    return peak


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss_Anon:"))


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="measured by `make trust`: it imports Olive anew, and looks at clocks")
@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="shared pages are counted on Linux only")
def test_a_tiny_model_takes_what_is_predicted(capitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly all of it is imports, so they are made."""
    monkeypatch.setattr(child, "_start", forked_child._usual)
    made = recipe_of(look(capitals), "int4")
    with Converter(str(tmp_path / "scratch"), str(tmp_path / "logs")) as converter:

        def convert_and_compare() -> None:
            converter.convert(made, str(capitals), str(tmp_path / "out"), timeout=300)
            converter.compare(made, str(capitals), str(tmp_path / "out"), timeout=300)

        measured = peak_while(convert_and_compare) + 60 * MIB  # those of the command itself
    predicted = predict_memory(look(capitals), made)["int4"]
    assert measured <= predicted <= 1.5 * measured, (measured / MIB, predicted / MIB)
    figure = f"{measured / MIB:.0f} MiB measured, {predicted / MIB:.0f} predicted"
    record("memory", figure, "a tiny model at int4, converted and compared, with all that Olive imports")
