"""Foundry's role form of a chat template, and the Jinja that means exactly the same.

The role form is one pattern per role in which `{Content}` stands for the message:
- each message is written with the pattern of its role, in order;
- when an answer is asked for, `prompt` stands in for `user` at the last user message: it is that message together with
  what makes the model begin. Where `prompt` is `user` and something more, that something also follows any other last
  message;
- without `user`, every user message is written with `prompt`; without `assistant`, an answer is written as it is;
- a role without a pattern is refused when the template is rendered, never left out in silence.

The Jinja is one line: the runtime keeps white space around tags that Hugging Face trims (docs/manifests/).
"""

from reconciler.domain.manifest import Roles

CONTENT = "{Content}"
LONGEST_PATTERN = 16_384  # characters

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def jinja_of(roles: Roles) -> str:
    """The role form as Jinja: the same text for every conversation, in the runtime's dialect and Hugging Face's."""
    user = roles.user or roles.prompt
    last_user, opening = _ending(roles, user)
    branches = {
        "message['role'] == 'system'": roles.system,
        "message['role'] == 'user' and loop.last and add_generation_prompt": last_user,
        "message['role'] == 'user'": user,
        "message['role'] == 'assistant'": roles.assistant or CONTENT,
    }
    tests = "".join(f"{{%- elif {test} -%}}{_written(pattern)}" for test, pattern in branches.items() if pattern)
    tests = tests.replace("elif", "if", 1)
    refusal = "{%- else -%}{{- raise_exception('this template has no pattern for the role ' + message['role']) -}}"
    loop = f"{{%- for message in messages -%}}{tests}{refusal}{{%- endif -%}}{{%- endfor -%}}"
    return loop + (f"{{%- if add_generation_prompt -%}}{_printed(literal(opening))}{{%- endif -%}}" if opening else "")


def _ending(roles: Roles, user: str) -> tuple[str, str]:
    """(pattern of the last user message, text after the last message), of which one is empty."""
    if roles.prompt == user:
        return "", ""
    return ("", roles.prompt.removeprefix(user)) if roles.prompt.startswith(user) else (roles.prompt, "")


def _written(pattern: str) -> str:
    before, _, after = pattern.partition(CONTENT)
    parts = [literal(before), "message['content']", literal(after)]
    return _printed(" + ".join(part for part in parts if part != "''"))


def _printed(expression: str) -> str:
    return f"{{{{- {expression} -}}}}"


def literal(text: str) -> str:
    """`text` as a Jinja string: braces, quotes and line ends are content in there, never syntax."""
    return f"'{text.translate(_ESCAPES)}'"
