"""Foundry's role form of a chat template, the Jinja that means exactly the same, and the presets.

The role form is one pattern per role in which `{Content}` stands for the message:
- each message is written with the pattern of its role, in order;
- when an answer is asked for, `prompt` stands in for `user` at the last user message: it is that message together with
  what makes the model begin. Where `prompt` is `user` and something more, that something also follows any other last
  message;
- without `user`, every user message is written with `prompt`; without `assistant`, an answer is written as it is;
- a role without a pattern is refused when the template is rendered, never left out in silence.

The Jinja is one line: the runtime keeps white space around tags that Hugging Face trims (docs/manifests/).

The presets follow the model authors' own templates without tools and default system prompts. Where the role form means
the same, it is the source; the others are Jinja, also in one line:
- gemma has no system role: the system message goes in front of the first user message, as Gemma 3's own template does;
- mistral (v3 tokenizer) has none either: it goes in front of the last user message, as Mistral's own template does;
- llama3, gemma and mistral begin with the model's begin-of-text token, as their own templates do.
"""

from reconciler.domain.manifest import Roles, Template

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


_LLAMA3 = (
    "{{- '<|begin_of_text|>' -}}"
    "{%- for message in messages -%}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' -}}"
    "{{- message['content'] | trim -}}{{- '<|eot_id|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}"
)
_GEMMA = (
    "{{- '<bos>' -}}"
    "{%- set folded = namespace(system='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- set folded.system = folded.system + message['content'] + '\\n\\n' -%}"
    "{%- else -%}"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{- '<start_of_turn>' + role + '\\n' -}}"
    "{%- if role == 'user' -%}{{- folded.system -}}{%- set folded.system = '' -%}{%- endif -%}"
    "{{- message['content'] | trim -}}{{- '<end_of_turn>\\n' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"
)
_MISTRAL = (
    "{{- '<s>' -}}"
    "{%- set folded = namespace(system='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- set folded.system = folded.system + message['content'] + '\\n\\n' -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- '[INST] ' -}}{%- if loop.last -%}{{- folded.system -}}{%- endif -%}{{- message['content'] + '[/INST]' -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- ' ' -}}{{- message['content'] | trim -}}{{- '</s>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
)


def _turns(opening: str, closing: str) -> Roles:
    """Every message between the same marks; `opening` names the role."""
    before = {role: opening.format(role=role) for role in ("system", "user", "assistant")}
    patterns = {role: f"{text}{CONTENT}{closing}" for role, text in before.items()}
    return Roles(**patterns, prompt=patterns["user"] + before["assistant"])


_ROLES = {
    "chatml": _turns("<|im_start|>{role}\n", "<|im_end|>\n"),
    "phi3": _turns("<|{role}|>\n", "<|end|>\n"),
    "phi4": _turns("<|im_start|>{role}<|im_sep|>", "<|im_end|>"),
    "phi4-mini": _turns("<|{role}|>", "<|end|>"),
}
_JINJA = {"llama3": _LLAMA3, "gemma": _GEMMA, "mistral": _MISTRAL}

PRESETS = ("chatml", "llama3", "phi3", "phi4", "phi4-mini", "gemma", "mistral", "source")


def preset(name: str) -> Template:
    """The template of that name; `source` keeps what the model's tokenizer brings."""
    if name == "source":
        return Template(origin="source", jinja=None)
    roles = _ROLES.get(name)
    return Template(origin=f"preset {name}", jinja=jinja_of(roles) if roles else _JINJA[name], roles=roles)
