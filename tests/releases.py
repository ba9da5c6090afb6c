"""Releases in a second: candidates whose weights nobody loads, with what a rehearsal would have measured already
written down. Registered by the real Foundry Local; nothing is asked of them."""

from pathlib import Path

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.measured import TEXTS_DIGEST, Decoded, Fidelity, Measured, Measurements, Referenced, Tokenized
from reconciler.domain.reference import METHOD as REFERENCE
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.engine.resolve import resolve
from reconciler.gates.decoding import METHOD
from reconciler.gates.hard_texts import TEXTS_DIGEST as HARD_TEXTS
from reconciler.sources.manifests import load
from tests.at_rest import TREE
from tests.machine import TestMachine

READ_ALIKE = Tokenized(texts=HARD_TEXTS, tried=100, differing=0, decomposed=0)
DECODED_ALIKE = Decoded(method=METHOD, positions=284, longest=300, median_kl=0.0)
FOUND_ALIKE = Referenced(
    method=REFERENCE, positions=48, median_kl=0.0, source_kl=0.25, built_kl=0.25, agreed=45, built_agreed=45
)


def release(machine: TestMachine, *, peak: int = 1 << 20, **declared: str) -> PassResult:
    """A pass over the one model `capitals`, declared like this; everything is measured and built beforehand."""
    machine.declare(**declared)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        for wanted in resolve(load(str(machine.manifests)), opened.stamps).desired.wanted:
            build(opened, wanted)
            measure(opened, wanted, peak=peak)
    return one_pass(machine)


def one_pass(machine: TestMachine) -> PassResult:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        return run_pass(opened, load(str(machine.manifests)), Reporter(), Options())


def build(machine: Machine, wanted: DesiredRelease) -> None:
    recipe = wanted.release.recipe
    if recipe.build_key in machine.store.artifacts():
        return
    tree = Path(machine.layout.at("staging", recipe.build_key[7:19]))
    tree.mkdir(parents=True)
    for name, data in TREE.items():
        (tree / name).write_bytes(data + recipe.build_key.encode() if name.endswith(".data") else data)
    machine.store.put(recipe.build_key, str(tree), recipe.as_json())


def measure(machine: Machine, wanted: DesiredRelease, *, runtime: str = "", peak: int = 1 << 20) -> None:
    """As a rehearsal in Foundry Local of version `runtime` ("": the one that is here) would have left it."""
    load = Measurements(
        load_seconds=0.1,
        first_token_seconds=0.1,
        tokens_per_second=100.0,
        prompt_tokens=10,
        completion_tokens=8,
        peak_memory_bytes=peak,
        takes_system=True,
        runtime={"foundry-local-sdk": runtime} if runtime else {},
    )
    release = wanted.release
    faithful = Fidelity(
        build_key=release.recipe.build_key,
        prompts=TEXTS_DIGEST,
        positions=100,
        top1_agreement=1.0,
        mean_kl=0.0,
        perplexity_ratio=1.0,
        wiring_kl=0.0,
    )
    machine.records.save_fidelity(faithful)
    key = release.recipe.build_key
    alike = Measured(release=release.digest, build_key=key, load=load, tokenized=READ_ALIKE, decoded=DECODED_ALIKE)
    machine.records.save_measured(alike)
