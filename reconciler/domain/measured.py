"""What was measured of artifacts and releases on this machine: numbers and answers, never a judgement."""

from dataclasses import InitVar, dataclass, field
from typing import Any

from reconciler.domain import digest
from reconciler.domain.text.units import Count

WORST = 1e9  # a measure instead of NaN and infinity: as bad as can be, and a number that a record can hold


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One reply of the runtime. Times are in seconds; `first_token_seconds` counts from the request.

    `finish_reason` is `stop` when the model ended by itself, `length` when `max_tokens` cut it.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    load_seconds: float
    first_token_seconds: float
    tokens_per_second: float
    finish_reason: str


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """What the runtime makes of some texts: a vector of each, in their order. Times are in seconds."""

    vectors: tuple[tuple[float, ...], ...]
    load_seconds: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Transcribed:
    """What the runtime hears in one recording. Times are in seconds."""

    text: str
    load_seconds: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What one candidate cost in the real runtime. `peak_memory_bytes` is that of the process that loaded
    it, 0 where the platform does not tell. `takes_system` is false when the template refuses a system
    message on purpose. `runtime` maps package to version: the very libraries that answered."""

    load_seconds: float
    first_token_seconds: float
    tokens_per_second: float
    prompt_tokens: Count
    completion_tokens: Count
    peak_memory_bytes: Count
    takes_system: bool
    runtime: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Released:
    """Bytes that the process held before it loaded a model, when it had answered, and after it let go of it (None: that
    was not measured). 0 where the platform does not tell."""

    before: Count
    loaded: Count
    after: Count | None = None


@dataclass(frozen=True, kw_only=True)
class ComputedBy:
    """How many operators of a graph one execution provider computed, and how many of those are where the work is
    (products of matrices, attention)."""

    provider: str
    operators: Count
    heavy: Count


@dataclass(frozen=True, kw_only=True)
class LongestPrompt:
    """The longest prompt that was answered, in `tokens`, beside the context that the model claims. `limit` is why no
    longer one was: "" (there is no more to claim), time, memory, or the code of the error."""

    tokens: Count
    claimed: Count
    limit: str = ""

    def __str__(self) -> str:
        why = {
            "": "",
            "time": "; a longer one was not tried, it would take too long here",
            "memory": "; a longer one was not tried, it might not fit the memory",
        }.get(self.limit, f"; a longer one failed ({self.limit})")
        return f"answers to {self.tokens} of the {self.claimed} tokens that it claims{why}"


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """An artifact against its source, over all `positions` of the texts (`prompts` is their digest).

    `mean_kl` is in nats from the source. `wiring_kl` is from the source that computes with the rounded weights of the
    artifact: what is left is no work of rounding. `rounding_distance` is how far the matrix that lies furthest from the
    source's is from it, in units of plain rounding. Both are None where nothing is rounded. `when` is RFC 3339, UTC;
    "" in what earlier versions wrote. `unmeasured` says why there are no numbers, where they cannot be measured here.

    `made_for` is accepted and dropped: versions of one day wrote it, and earlier ones refuse all numbers beside it.
    """

    build_key: str
    prompts: str
    positions: Count
    top1_agreement: float
    mean_kl: float
    perplexity_ratio: float
    wiring_kl: float | None
    rounding_distance: float | None = None
    when: str = ""
    unmeasured: str = ""
    made_for: InitVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """At one prompt length: asked for `wanted_tokens`, which became `prompt_tokens`."""

    wanted_tokens: Count
    prompt_tokens: Count
    first_token_seconds: float
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Endured:
    """`drift` is the median latency of the last quarter of the requests, in that of the first: of all, or of the prompt
    length where it is most. `growth_bytes` is None where the platform does not tell. `crashed` names the bad inputs
    after which the runtime was gone; it is None where none were tried."""

    requests: Count
    growth_bytes: int | None
    drift: float
    crashed: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Tokenized:
    """The runtime's tokenizer against the source's, over `tried` texts (`texts` is their digest): `differing` are read
    otherwise or come back otherwise; `decomposed` beside them are read alike only in their composed form (NFC).
    `shortest` is the shortest text that differs (as JSON), with what the two make of it; all "" where none does."""

    texts: str
    tried: Count
    differing: Count
    decomposed: Count
    shortest: str = ""
    source: str = ""
    served: str = ""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Reading token by token against reading at once, in the runtime: `positions` tokens were read by themselves,
    within texts of at most `longest`. `median_kl` is that of the part where they are furthest apart, in nats.
    `unmeasured` are lengths beyond which the model computes otherwise and that were not tried. `asked` is how many
    tokens had to be read (0: as many as a budget allowed). `method` is a digest of how."""

    method: str
    positions: Count
    longest: Count
    median_kl: float
    unmeasured: tuple[str, ...] = ()
    asked: Count = 0


@dataclass(frozen=True, kw_only=True)
class Referenced:
    """The runtime here against the reference answers that came with the artifact, at `positions` places. `median_kl` is
    from what the artifact found where it was built; `source_kl` is the mean from its source, `built_kl` what that was
    there. `agreed` are the places where runtime and source find the same token likeliest, `built_agreed` where artifact
    and source did. `unmeasured` says why there are no numbers. `method` is a digest of how."""

    method: str
    positions: Count = 0
    median_kl: float = WORST
    source_kl: float = WORST
    built_kl: float = WORST
    agreed: Count = 0
    built_agreed: Count = 0
    unmeasured: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One release in the real runtime. `answers` are by question (`PromptsGate.questions`); `rendered` by fixture: the
    tokens that the runtime makes of its messages, and those of the expected text (-1: not known exactly). `times`
    are by gate: when it was last measured. `refused` are questions that the model can never be asked, with the code
    that says why; their answer is "".

    A machine keeps answers to itself. Others learn which questions were `asked`, and how many answers to a set of
    golden prompts (`PromptsGate.key`) were `right`."""

    release: str
    build_key: str
    load: Measurements | None = None
    answers: dict[str, str] = field(default_factory=dict)
    rendered: dict[str, tuple[int, int]] = field(default_factory=dict)
    speeds: tuple[Speed, ...] = ()
    speed_memory_bytes: Count = 0
    endured: Endured | None = None
    tokenized: Tokenized | None = None
    decoded: Decoded | None = None
    referenced: Referenced | None = None
    times: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    right: dict[str, Count] = field(default_factory=dict)
    released: Released | None = None
    longest: LongestPrompt | None = None

    def __hash__(self) -> int:
        return hash((self.release, self.build_key))


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What gates are judged by: the numbers of an artifact and of a release, where there are any, and what the artifact
    is: its precision, and the execution provider that it is made for ("": that is not known)."""

    precision: str
    provider: str = ""
    fidelity: Fidelity | None = None
    measured: Measured | None = None


@dataclass(frozen=True, kw_only=True)
class MeasurementSet:
    """By build key and by release digest; `artifacts` are the digests of the bytes by build key, of those that were
    converted here. `known` is False where the numbers of the machine are not known."""

    fidelity: dict[str, Fidelity] = field(default_factory=dict)
    releases: dict[str, Measured] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    known: bool = True


# What source and artifact both read: prose, code, numbers, other scripts, a conversation. Other texts make other
# numbers, so their digest stands beside them.
_PROSE = """The harbour was quiet before sunrise. A single lamp moved along the pier, stopped at each boat, and went on.
When the first gulls came in from the breakwater, Marta had already counted the nets twice and found one missing. She
did not say so to anybody. Her father had taught her that a thing which is told before noon is told for nothing."""
_CODE = """def merge(left, right):
    result, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            result.append(left[i]); i += 1
        else:
            result.append(right[j]); j += 1
    return result + left[i:] + right[j:]
"""
_NUMBERS = """In 1987 the valley had 12,408 inhabitants; by 2021 there were 9,775, a fall of 21.2 per cent. The
budget of 3.4 million was spent as follows: {"roads": 1200000, "schools": 1850000, "water": 350000}.
What share went to schools?"""
_TALK = """Question: Why does ice float on water?
Answer: Because water expands when it freezes. Its molecules arrange themselves in a lattice that needs more room.
Question: Which city is the capital of France?
Answer: Paris. Question: And of Italy?
Answer: Rome."""
_SCRIPTS = """Der Zug nach Linz fährt um 7 Uhr 40 ab. ¿Dónde está la biblioteca? Это просто короткое предложение.
東京は日本の首都です。 Les élèves révisaient déjà leurs leçons d'été."""
TEXTS = (_PROSE, _CODE, _NUMBERS, _TALK, _SCRIPTS)
METHOD = 2  # raise it when the comparison measures something else: older numbers are not judged then
TEXTS_DIGEST = digest.of_value((METHOD, TEXTS))


# Fields that later versions added, in either form of their names, and what stands for nothing.
_ADDED = {
    **dict.fromkeys(
        ("tokenized", "decoded", "referenced", "released", "longest", "rounding_distance", "roundingDistance")
    ),
    "unmeasured": "",
    "asked": 0,
}


def without_nothing(plain: dict[str, Any]) -> dict[str, Any]:
    """The plain form of Fidelity or Measured for readers of earlier versions, which refuse a field that they do not
    know: one that was added later is left out where it says nothing. One that would always say something has no place
    among them: it makes such a reader lose all numbers that stand beside it."""
    found = {name: held for name, held in plain.items() if name not in _ADDED or held != _ADDED[name]}
    for name in {"decoded", "referenced"}.intersection(found):
        found[name] = without_nothing(found[name])
    return found


def unmeasured(build_key: str, why: str) -> Fidelity:
    """Stands for numbers that cannot be measured here: their gate is Inconclusive."""
    return Fidelity(
        build_key=build_key,
        prompts=TEXTS_DIGEST,
        positions=0,
        top1_agreement=0.0,
        mean_kl=WORST,
        perplexity_ratio=WORST,
        wiring_kl=None,
        unmeasured=why,
    )


@dataclass(frozen=True, kw_only=True)
class MemorySample:
    """The memory of the runtime's process, `seconds` after it was started."""

    seconds: float
    bytes: int
