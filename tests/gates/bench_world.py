"""A benchmark with numbers that never change, for the tests of what is made of one."""

from dataclasses import replace
from typing import Any

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import TEXTS_DIGEST, Decoded, Fidelity, Measured, Measurements, MemorySample, Speed
from reconciler.gates.benchmark import Benched, BenchMachine, Benchmark, Golden, Run
from reconciler.gates.decoding import METHOD
from reconciler.gates.judgement import judge

GIB = 1 << 30
MIB = 1 << 20

RUNTIME = {"foundry-local-sdk": "2.2.1", "onnxruntime": "1.31.0"}
MACHINE = BenchMachine(
    name="desk",
    cpu="Example CPU 9000",
    cpus=8,
    memory_bytes=16 * GIB,
    os="linux",
    arch="amd64",
    runtime=RUNTIME,
    load_average=0.2,
)
# A length that does not fit a context of 4096 tokens, and what is said of it.
UNFITTING = Speed(wanted_tokens=9999, prompt_tokens=0, first_token_seconds=0.0, tokens_per_second=0.0)
UNFITTING_SAID = "9999 tokens do not fit this model's context (4096 tokens), and were not timed"


def fidelity(agreement: float, kl: float = 0.01) -> Fidelity:
    return Fidelity(
        build_key="k",
        prompts=TEXTS_DIGEST,
        positions=500,
        top1_agreement=agreement,
        mean_kl=kl,
        perplexity_ratio=1.0 + kl,
        wiring_kl=0.0,
    )


def run(number: int = 0, *, rate: float = 20.0, first: float = 0.5, peak: int = GIB, load: float = 2.0) -> Run:
    """Runs differ a little, as they do."""
    noise = 1 + 0.1 * number
    measured = Measured(
        release="r",
        build_key="k",
        load=Measurements(
            load_seconds=load * noise,
            first_token_seconds=first,
            tokens_per_second=rate,
            prompt_tokens=12,
            completion_tokens=8,
            peak_memory_bytes=peak // 2,
            takes_system=True,
            runtime=RUNTIME,
        ),
        speeds=tuple(
            Speed(
                wanted_tokens=length,
                prompt_tokens=length + 8,
                first_token_seconds=first * length / 128 * noise,
                tokens_per_second=rate / (1 + length / 2048) / noise,
            )
            for length in (32, 128, 512)
        ),
        speed_memory_bytes=peak,
    )
    steps = [0.05, 0.3, 0.8, 1.0, 0.9]
    samples = tuple(
        MemorySample(seconds=(place + 1) * load / 3, bytes=int(peak * share)) for place, share in enumerate(steps)
    )
    return Run(measured=measured, samples=samples, loaded_at=load)


def benched(precision: str = "int4", **changes: Any) -> Benched:
    """One that has nothing against it."""
    one = Benched(
        variant=f"phi-{precision}",
        model="phi",
        precision=precision,
        served=True,
        size_bytes=2 * GIB,
        runs=(run(),),
        fidelity=fidelity(0.95),
        decoded=Decoded(method=METHOD, positions=26, longest=53, median_kl=0.00021),
    )
    return replace(one, **changes)


def golden(*answers: bool) -> tuple[Golden, ...]:
    return tuple(
        Golden(
            messages=(("user", f"Question {number}?"),),
            check="contains",
            expected="yes",
            answer="yes" if passed else "no <b>way</b>",
            passed=passed,
        )
        for number, passed in enumerate(answers, 1)
    )


def benchmark(*variants: Benched, **changes: Any) -> Benchmark:
    one = Benchmark(
        machine=MACHINE, date="2026-01-02T03:04:05Z", revision="abc", wanted_runs=3, variants=variants, complete=True
    )
    return replace(one, **changes)


def whole() -> Benchmark:
    """A model as it is in life (each precision smaller, faster and less exact), and one of which nothing is known."""
    table = (
        ("fp16", 7.6, 6.0, 0.9998, 2e-6, (True, True, True)),
        ("int8", 4.1, 11.0, 0.985, 0.004, (True, True, True)),
        ("int4", 2.3, 19.0, 0.912, 0.06, (True, True, True)),
    )
    variants = [
        benched(
            precision,
            size_bytes=int(size * GIB),
            runs=tuple(run(n, rate=rate, peak=int((size + 0.4) * GIB), load=size / 3) for n in range(3)),
            fidelity=fidelity(agreement, kl),
            golden=golden(*answers),
            verdicts=judge(GateSpec(), precision, fidelity(agreement, kl), run().measured),
        )
        for precision, size, rate, agreement, kl, answers in table
    ]
    lost = benched(
        "int4",
        variant="odd-int4",
        model="odd",
        runs=(),
        fidelity=None,
        problem=("RuntimeDied", "it <script>alert(1)</script> \x1b[31m died"),
    )
    return benchmark(*variants, lost)
