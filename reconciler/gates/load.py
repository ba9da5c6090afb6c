"""The load gate: a release loads in the runtime that will serve it, and answers.

It is asked twice, as a user and as a user with a system message, so that the chat template is rendered for real.
Loading proves little: a model can load and fail at its second token, and a template can be broken until the first chat.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from reconciler.domain.accepts import MEMORY, About
from reconciler.domain.errors import PermanentError, RehearsalFailed, RuntimeUnavailable
from reconciler.domain.measured import (
    Answer,
    ComputedBy,
    Embedded,
    Measured,
    Measurements,
    Numbers,
    Released,
    Transcribed,
)
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, provider_of
from reconciler.domain.targets.tasks import EMBEDDINGS, SPEECH, TASKS
from reconciler.domain.verdict import NO_MEMORY_FIGURE, Verdict, at_most, compared, inconclusive
from reconciler.gates.embeddings import cosine, embedded
from reconciler.gates.recording import a_tone
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate
from reconciler.gates.speech import hear

_FELL_BACK = "check the driver and what `reconciler doctor` lists; a variant for the CPU is smaller and honest"
USER = (("user", "Hello! Who are you?"),)
SYSTEM_AND_USER = (("system", "Answer briefly."), *USER)
MAX_TOKENS = 8
SAME = 1 - 1e-6  # the cosine of two embeddings that are one
# What a process may keep of a model that it let go: what it made once for all of them (16 MB after one of 860, Foundry
# Local 2.2.1), and blocks that are not whole pages. One that is not freed keeps its weights.
KEPT_ONCE, KEPT_SHARE = 128 << 20, 0.1


@dataclass(frozen=True, kw_only=True)
class LoadGate(RuntimeGate):
    """It loads and answers. This cannot be switched off: what was never loaded is never served."""

    name: ClassVar[str] = "load"
    about: ClassVar[str] = "It loads and answers in the real runtime. Always there."
    always: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = TASKS

    max_memory: Annotated[int | None, About("Most memory of the process that loads and answers."), MEMORY] = None

    def missing(self, numbers: Numbers) -> bool:
        return numbers.measured is None or numbers.measured.load is None

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        """Raises RehearsalFailed where it answers with nothing."""
        if candidate.task == EMBEDDINGS:
            return _measure_embedding(candidate)
        if candidate.task == SPEECH:
            return _measure_speech(candidate)
        before = candidate.runtime.memory()
        answer, with_system = candidate.ask(USER, MAX_TOKENS), _ask_with_system(candidate)
        answers = [one for one in (answer, with_system) if one is not None]
        # The token that ends an answer is computed too, but not counted.
        if not any(one.completion_tokens + (one.finish_reason == "stop") >= 2 for one in answers):
            raise RehearsalFailed("it loads, but answers with nothing", code="EmptyAnswer")
        return _measured(
            candidate,
            before,
            load_seconds=answer.load_seconds,
            first_token_seconds=answer.first_token_seconds,
            tokens_per_second=answer.tokens_per_second,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            takes_system=with_system is not None,
        )

    def conclude(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        if held.released is None:
            return {}
        candidate.runtime.unload(candidate.name)
        return {"released": replace(held.released, after=candidate.runtime.memory())}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        load = numbers.measured.load if numbers.measured else None
        if load is None:
            yield inconclusive(self.name, "load")
            return
        peak = float(load.peak_memory_bytes)
        if self.max_memory is None:
            yield compared(self.name, "peakMemory", peak, None, "it loads and answers", good=True)
        elif not peak:  # guard: gate: unknown memory is open
            yield inconclusive(self.name, "peakMemory", NO_MEMORY_FIGURE)
        else:
            yield at_most(self.name, "peakMemory", peak, float(self.max_memory), "peak memory in bytes")
        released = numbers.measured.released if numbers.measured else None
        if released is not None and released.after and released.before:
            kept = at_most(
                self.name, "keptMemory", _kept(released), _may_keep(released), "bytes kept after it is unloaded:"
            )
            yield replace(kept, rejects=False)  # it serves all the same: what is wrong is the runtime's


def _measure_embedding(candidate: RegisteredCandidate) -> dict[str, Any]:
    """It embeds, and tells one text from another."""
    before = candidate.runtime.memory()
    found = candidate.runtime.embed(candidate.name, (USER[0][1],))
    one, other = embedded(candidate, (USER[0][1], SYSTEM_AND_USER[0][1]))
    if cosine(one, other) > SAME:  # guard: gate: two texts have two embeddings
        raise RehearsalFailed("it loads, but embeds all texts alike", code="EmptyAnswer")
    return _measured(candidate, before, **_without_tokens(found))


def _measure_speech(candidate: RegisteredCandidate) -> dict[str, Any]:
    """It hears a tone. Whatever it makes of that is right, for nothing is said in it."""
    before = candidate.runtime.memory()
    heard = hear(candidate, a_tone())
    return _measured(candidate, before, **_without_tokens(heard))


def _without_tokens(found: Embedded | Transcribed) -> dict[str, Any]:
    """The fields of Measurements, where no tokens of an answer are counted."""
    return {
        "load_seconds": found.load_seconds,
        "first_token_seconds": found.seconds,
        "tokens_per_second": 0.0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "takes_system": False,
    }


def _measured(candidate: RegisteredCandidate, before: int, **answered: Any) -> dict[str, Any]:
    """What came of it once it is loaded and has answered: `answered` are the fields of Measurements that are the
    answer's, `before` the runtime's memory without it. Raises RuntimeUnavailable where it fell back to the CPU."""
    peak_memory, versions = candidate.runtime.measure()
    released = Released(before=before, loaded=candidate.runtime.memory())
    _require_provider(candidate)
    return {"load": Measurements(peak_memory_bytes=peak_memory, runtime=versions, **answered), "released": released}


def _kept(released: Released) -> float:
    return float(max(0, (released.after or 0) - released.before))


def _may_keep(released: Released) -> float:
    return KEPT_ONCE + KEPT_SHARE * max(0, released.loaded - released.before)


def _require_provider(candidate: RegisteredCandidate) -> None:
    """What is made for a GPU and runs on the CPU answers rightly, and ten times slower. A machine can be mended without
    any change in git, so it is tried again."""
    with open(os.path.join(candidate.folder, "genai_config.json"), encoding="utf-8") as file:
        declared = provider_of(json.load(file))
    if declared is DEFAULT_PROVIDER:
        return
    # guard: gate: what is made for a GPU does not run on the CPU
    if why := fell_back(declared.name, candidate.runtime.providers(candidate.name, candidate.folder)):
        raise RuntimeUnavailable(why, hint=_FELL_BACK, code="ProviderFellBack")


def fell_back(declared: str, computed: Sequence[ComputedBy]) -> str:
    """Why the declared provider does not do the work; "" where it does. A few operators are always the CPU's."""
    mine = [one for one in computed if one.provider == declared]
    on_cpu = [one for one in computed if one.provider == DEFAULT_PROVIDER.name]
    heavy = sum(one.heavy for one in computed if one not in on_cpu), sum(one.heavy for one in on_cpu)
    if sum(one.operators for one in mine) and heavy[1] <= heavy[0]:
        return ""
    found = ", ".join(f"{one.provider} {one.operators} operators ({one.heavy} heavy)" for one in computed) or "nothing"
    return f"it is made for {declared}, and runs elsewhere: {found}"


def _ask_with_system(candidate: RegisteredCandidate) -> Answer | None:
    """None when the template refuses on purpose, as those of Gemma and early Mistral models do."""
    try:
        return candidate.ask(SYSTEM_AND_USER, MAX_TOKENS)
    except PermanentError as error:
        if error.code != "TemplateRefused":
            raise
        with open(os.path.join(candidate.folder, "chat_template.jinja"), encoding="utf-8") as template:
            if "raise_exception" not in template.read():
                raise
        return None
