"""The template presets, by name: a new one is a row of `_FORMS`.

They follow the model authors' own templates without tools and default system prompts. Where the role form means the
same, it is the source; the others are Jinja, also in one line:
- gemma has no system role: the system message goes in front of the first user message, as Gemma 3's own template does;
- mistral (v3 tokenizer) has none either: it goes in front of the last user message, as Mistral's own template does;
- llama3, gemma and mistral begin with the model's begin-of-text token, as their own templates do.
"""

from reconciler.domain.manifest import Roles, Template
from reconciler.templates.chat_template import CONTENT, jinja_of

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


_FORMS: dict[str, Roles | str] = {
    "chatml": _turns("<|im_start|>{role}\n", "<|im_end|>\n"),
    "llama3": _LLAMA3,
    "phi3": _turns("<|{role}|>\n", "<|end|>\n"),
    "phi4": _turns("<|im_start|>{role}<|im_sep|>", "<|im_end|>"),
    "phi4-mini": _turns("<|{role}|>", "<|end|>"),
    "gemma": _GEMMA,
    "mistral": _MISTRAL,
}
PRESETS = (*_FORMS, "source")


def preset(name: str) -> Template:
    """The template of that name; `source` keeps what the model's tokenizer brings."""
    if name == "source":
        return Template(origin="source", jinja=None)
    form, origin = _FORMS[name], f"preset {name}"
    if isinstance(form, str):
        return Template(origin=origin, jinja=form)
    return Template(origin=origin, jinja=jinja_of(form), roles=form)
