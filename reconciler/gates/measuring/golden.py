"""Put the golden prompts to a candidate. What comes back is kept as it is; `gates.golden` says whether it is right."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.domain.bars import GoldenPrompt, PromptsGate
from reconciler.domain.errors import PermanentError
from reconciler.gates.golden import LONGEST_ANSWER
from reconciler.gates.measuring.runtime import Runtime

# A question that this model can never be asked fails alone; anything else is wrong with the candidate.
_OF_THE_QUESTION = frozenset({"PromptTooLong", "TemplateRefused"})


def ask_golden(
    runtime: Runtime, name: str, gate: PromptsGate, places: Sequence[int]
) -> tuple[dict[str, str], dict[str, str]]:
    """Answers by question, for the cases at those places; and the codes of those that cannot be asked."""
    said = {gate.questions[place]: _ask(runtime, name, gate, gate.cases[place]) for place in places}
    refused = {question: code for question, (_, code) in said.items() if code}
    return {question: answer for question, (answer, _) in said.items()}, refused


def _ask(runtime: Runtime, name: str, gate: PromptsGate, case: GoldenPrompt) -> tuple[str, str]:
    temperature = 0.0 if gate.greedy else None
    try:
        answer = runtime.ask(name, case.messages, gate.max_tokens, temperature=temperature)
    except PermanentError as error:
        if error.code in _OF_THE_QUESTION:
            return "", error.code
        raise
    return answer.text[:LONGEST_ANSWER], ""
