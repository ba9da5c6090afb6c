"""The tokenizer gate: the runtime reads and writes text as the source's own tokenizer does.

A served folder holds the source's `tokenizer.json`. The runtime understands a part of what such a file can say and
ignores the rest in silence, so a model may load, answer, and see other tokens than it was trained with. Both read the
texts of gates.hard_texts and the model's own tokens among them (`compare`, in a process of the runtime), as they stand
in a prompt: after the token that the template begins with.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol
from unicodedata import normalize

from reconciler.domain.accepts import About
from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Measured, Numbers, Tokenized
from reconciler.domain.targets.tasks import TASKS
from reconciler.domain.text.escape import one_line
from reconciler.domain.text.quoting import readable
from reconciler.domain.verdict import FAILED, Verdict, compared, inconclusive
from reconciler.gates.hard_texts import AROUND, TEXTS, TEXTS_DIGEST
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

MOST_TOKENS = 400  # of the model's own that are tried: some have thousands, all alike
_LONGEST = 40  # characters of a text that is made shorter
_IDS_SHOWN = 12


class Tokens(Protocol):
    """A tokenizer. `special` are ids that an answer never shows."""

    special: frozenset[int]

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True, kw_only=True)
class TokenizerGate(RuntimeGate):
    """The runtime's tokenizer reads hard texts as the source's does. A text that differs only because it is not in the
    normal form NFC is reported, and rejects nothing."""

    name: ClassVar[str] = "tokenizer"
    about: ClassVar[str] = "The runtime's tokenizer against the source's. Always there."
    always: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = TASKS
    way_out: ClassVar[str] = (
        "no conversion mends that: serve a model whose tokenizer the runtime reads alike, or accept it with "
        "`tokenizer: {onDifference: warn}` in spec.gates"
    )

    on_difference: Annotated[
        Literal["reject", "warn"], About("`warn` lets a release be served that reads some texts otherwise.")
    ] = "reject"

    def missing(self, numbers: Numbers) -> bool:
        return self._found(numbers) is None

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        return {"tokenized": candidate.runtime.compare_tokenizer(candidate.folder)}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        found = self._found(numbers)
        if found is None:
            yield inconclusive(self.name, "differing")
            return
        # guard: gate: a text that is read otherwise fails
        verdict = compared(self.name, "differing", float(found.differing), 0.0, _words(found), good=not found.differing)
        yield verdict if self.on_difference == "reject" else _softened(verdict)

    def _found(self, numbers: Numbers) -> Tokenized | None:
        """Of the texts of today."""
        found = numbers.measured.tokenized if numbers.measured else None
        # guard: gate: other texts are no tokenizer
        return found if found is not None and found.texts == TEXTS_DIGEST else None


def _softened(verdict: Verdict) -> Verdict:
    return verdict if verdict.status != FAILED else Verdict(**{**vars(verdict), "rejects": False})


def _words(found: Tokenized) -> str:
    composed = f", {found.decomposed} of them once they are composed (NFC)" if found.decomposed else ""
    if not found.differing:
        return f"{found.tried} texts are read and written as the source's tokenizer does{composed}"
    made = f"{found.source} by the source, {found.served} by the runtime"
    shortest = f"the shortest is {readable(json.loads(found.shortest))}: {made}"
    return f"{found.differing} of {found.tried} texts differ from the source's tokenizer; {shortest}"


def compare(source: Tokens, served: Tokens, own: Sequence[str], vocabulary: int, first: str = "") -> Tokenized:
    """`own` are the model's own tokens; `vocabulary` is how many ids the model has; `first` is the token that every
    prompt begins with ("": none does): texts are read after it."""
    pair = _Pair(source=source, served=served, vocabulary=vocabulary, first=first)
    around = (form.replace("{0}", token) for token in own[:MOST_TOKENS] for form in AROUND)
    texts = sorted({*TEXTS, *around}, key=lambda text: (len(text), text))
    found = [text for text in texts if pair.difference(text) is not None]
    wrong = [text for text in found if not pair.only_decomposed(text)]
    made = Tokenized(texts=TEXTS_DIGEST, tried=len(texts), differing=len(wrong), decomposed=len(found) - len(wrong))
    if not wrong:
        return made
    shortest = pair.shortest(wrong[0])
    before, after = pair.difference(shortest) or ("", "")
    return Tokenized(**{**vars(made), "shortest": json.dumps(shortest), "source": before, "served": after})


@dataclass(frozen=True, kw_only=True)
class _Pair:
    source: Tokens
    served: Tokens
    vocabulary: int
    first: str

    def difference(self, text: str) -> tuple[str, str] | None:
        """What each makes of it; None where that is the same. A space before an answer is no difference."""
        ids = self._read(text)
        try:
            found = self.served.encode(self.first + text)
        except PermanentError as error:
            return _ids(ids), f"an error ({one_line(str(error), 100)})"
        if ids != found:
            return _ids(ids), _ids(found)
        if max(ids, default=0) >= self.vocabulary:
            return _ids(ids), f"a model of {self.vocabulary} ids"
        ids = ids[1:] if self.first else ids
        if not ids or (len(ids) > 1 and self.source.special.intersection(ids)):
            return None
        before, after = self.source.decode(ids), self.served.decode(ids)
        return None if after in (before, f" {before}") else (readable(before), readable(after))

    def only_decomposed(self, text: str) -> bool:
        """The source composes a text before it reads it (NFC), and the composed text is read alike."""
        composed = normalize("NFC", text)
        return composed != text and self._read(text) == self._read(composed) and self.difference(composed) is None

    def shortest(self, text: str) -> str:
        """The shortest part of it that differs."""
        if len(text) > _LONGEST:
            return text
        parts = (text[begin : begin + size] for size in range(1, len(text)) for begin in range(len(text) - size + 1))
        return next((part for part in parts if self.difference(part) and not self.only_decomposed(part)), text)

    def _read(self, text: str) -> list[int]:
        return self.source.encode(self.first + text)


def _ids(ids: Sequence[int]) -> str:
    more = " ..." if len(ids) > _IDS_SHOWN else ""
    return f"ids {' '.join(map(str, ids[:_IDS_SHOWN]))}{more}" if ids else "no ids"
