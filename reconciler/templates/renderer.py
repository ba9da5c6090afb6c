"""Renders chat templates, which may be hostile, in a child process under limits (`templates.render_worker`).

    with Renderer() as renderer:
        text = renderer.render(template, messages, tokens)

The child starts with the first call and serves the whole batch. A template that exceeds a limit ends the child; the
next call starts another. After `MOST_DEATHS` of them, or `TOTAL_SECONDS` in all, nothing more is rendered: so any
number of hostile templates ends in bounded time. Every failure is a NotRendered with a reason in one line.
"""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence

from reconciler.domain.manifest import Fixture
from reconciler.domain.text.escape import one_line
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut, Json
from reconciler.host.environment import private_environment
from reconciler.templates.lint import TEMPLATE_BYTES, differs_in_runtime
from reconciler.templates.rendering import Example, NotRendered, RefusedByTemplate

START_SECONDS, CALL_SECONDS, TOTAL_SECONDS = (60.0, 20.0, 120.0)  # by the clock; the child's processor time is less
MOST_DEATHS = 3
LARGEST_TOKENIZER = 4 << 20  # bytes: larger ones take longer to read than everything else that `diff` does
LONGEST_TEXT = 100_000
LETTERS_PER_TOKEN = 4

# The conversation of an example: a reviewer sees by it what a change of the template means.
SYSTEM = {"role": "system", "content": "You are brief."}
CONVERSATION = (
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
)

_MODULE = "reconciler.templates.render_worker"


class Renderer(contextlib.AbstractContextManager["Renderer"]):
    """One child at a time. `tokenizers`: the child is to load that package, for `count`."""

    def __init__(self, *, tokenizers: bool = False) -> None:
        self._tokenizers = tokenizers
        self._child: Child | None = None
        self._deaths = 0
        self._seconds = TOTAL_SECONDS

    def render(
        self, template: str, messages: Sequence[Mapping[str, str]], tokens: Mapping[str, str], *, asked: bool = True
    ) -> str:
        """What the model reads of a conversation. `tokens` are those that templates ask for by name (bos_token);
        `asked`: with the beginning of the answer. Raises NotRendered, RefusedByTemplate where the template refuses."""
        if len(template.encode(errors="replace")) > TEMPLATE_BYTES:
            raise NotRendered("it is too long")
        given = {"messages": [dict(one) for one in messages], "add_generation_prompt": asked}
        names = {**tokens, "tools": None, "documents": None, **given}
        reply = self._call("render", {"template": template, "names": names})
        if "refused" in reply:
            raise RefusedByTemplate(f"it refuses: {one_line(reply['refused'], 100)}")
        if "failed" in reply:
            raise NotRendered(one_line(reply["failed"]))
        return str(reply["text"])

    def render_fixture(self, template: str, fixture: Fixture) -> str:
        """As `render`, but not where the runtime that serves is known to understand the template differently."""
        if line := differs_in_runtime(template):
            raise NotRendered(f"the runtime understands line {line} differently than jinja2")
        messages = [{"role": role, "content": content} for role, content in fixture.messages]
        return self.render(template, messages, fixture.tokens, asked=fixture.asked)

    def render_example(self, template: str, tokens: Mapping[str, str], *, system: bool = True) -> str:
        """As `render`, the fixed conversation. A template that refuses system messages is shown without."""
        try:
            return self.render(template, [*[SYSTEM] * system, *CONVERSATION], tokens)
        except RefusedByTemplate:
            return self.render(template, CONVERSATION, tokens)

    def examples(
        self, templates: Sequence[str], tokens: Mapping[str, str], tokenizer: bytes | None
    ) -> tuple[Example, ...]:
        """Of the same conversation; without its system message where they differ only then."""
        shown = tuple(self.example(one, tokens, tokenizer) for one in templates)
        if any(one.reason for one in shown) or len({one.text for one in shown}) > 1:
            return shown
        without = tuple(self.example(one, tokens, tokenizer, system=False) for one in templates)
        differ = not any(one.reason for one in without) and len({one.text for one in without}) > 1
        return without if differ else shown

    def example(
        self, template: str, tokens: Mapping[str, str], tokenizer: bytes | None, *, system: bool = True
    ) -> Example:
        """With its tokens; not `exact` where they are an estimate or the runtime understands the template
        differently."""
        if not template:
            return Example(reason="it is the model's own, which is not in this repository")
        try:
            text = self.render_example(template, tokens, system=system)
        except NotRendered as why:
            return Example(reason=str(why))
        counted = self.count(text, tokenizer)
        if counted is None:
            return Example(text=text, tokens=-(-len(text) // LETTERS_PER_TOKEN))
        return Example(text=text, tokens=counted, exact=not differs_in_runtime(template))

    def count(self, text: str, tokenizer: bytes | None) -> int | None:
        """The tokens of a text. `tokenizer` is tokenizer.json; None where it or the package is missing or fails."""
        if tokenizer is None or len(tokenizer) > LARGEST_TOKENIZER or len(text) > LONGEST_TEXT:
            return None
        with contextlib.suppress(NotRendered, UnicodeDecodeError):
            counted: int | None = self._call("count", {"text": text, "tokenizer": tokenizer.decode()})["count"]
            return counted
        return None

    def _call(self, method: str, parameters: Json) -> Json:
        if self._deaths == MOST_DEATHS or self._seconds <= 0:
            raise NotRendered("this template and others before it take too long")
        began = time.monotonic()
        try:
            return self._started().call(method, parameters, timeout=min(CALL_SECONDS, self._seconds))
        except (ChildDied, ChildTimedOut, ChildFailed, OSError) as failure:
            self._deaths += 1
            self.close()
            if isinstance(failure, ChildTimedOut) or "SIGXCPU" in str(failure):
                raise NotRendered("it takes too long") from None
            raise NotRendered(one_line(f"the renderer ended: {failure}")) from None
        finally:
            self._seconds -= time.monotonic() - began

    def _started(self) -> Child:
        if self._child is None:
            folder = os.path.dirname(os.path.abspath(__file__))
            environment = private_environment(folder, PYTHONDONTWRITEBYTECODE="1", TOKENIZERS_PARALLELISM="0")
            self._child = Child(module=_MODULE, environment=environment, log=os.devnull, directory=folder)
            self._child.call("start", {"tokenizers": self._tokenizers}, timeout=START_SECONDS)
        return self._child

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def __exit__(self, *_: object) -> None:
        self.close()
