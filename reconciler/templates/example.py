"""One fixed conversation as a chat template writes it, so that a reviewer sees what a change of the template means."""

from collections.abc import Mapping

from reconciler.templates.lint import differs_in_runtime
from reconciler.templates.renderer import Renderer
from reconciler.templates.rendering import NotRendered, Refusing
from reconciler.templates.template_change import Example

SYSTEM = {"role": "system", "content": "You are brief."}
CONVERSATION = (
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of Italy?"},
)


def example(renderer: Renderer, template: str, tokens: Mapping[str, str]) -> str:
    """`tokens` are those that templates ask for by name: bos_token, eos_token. A template that refuses system messages
    is shown without. Raises NotRendered."""
    try:
        return renderer.render(template, [SYSTEM, *CONVERSATION], tokens)
    except Refusing:
        return renderer.render(template, CONVERSATION, tokens)


def example_of(renderer: Renderer, template: str, tokens: Mapping[str, str], tokenizer: bytes | None) -> Example:
    """With its tokens; not `exact` where they are an estimate or the runtime understands the template differently."""
    if not template:
        return Example(reason="it is the model's own, which is not in this repository")
    try:
        text = example(renderer, template, tokens)
    except NotRendered as why:
        return Example(reason=str(why))
    counted = renderer.count(text, tokenizer)
    return Example(text=text, tokens=counted.count, exact=counted.exact and not differs_in_runtime(template))
