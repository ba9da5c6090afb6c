"""The prompt templates that a manifest can name. Each is one line of Jinja, so that the runtime and Hugging Face, which
disagree about white space around tags, write the same text. Where the role form says the same, it is the source.

They follow the model authors' own templates without tools and default system prompts:
- gemma has no system role: the system message goes in front of the first user message, as Gemma 3's own template does;
- mistral (v3 tokenizer) has none either: it goes in front of the last user message, as Mistral's own template does;
- llama3, gemma and mistral begin with the model's begin-of-text token, as their own templates do.
"""

from reconciler.domain.manifest import Roles, Template
from reconciler.templates.chat_template import jinja_of

_CHATML = Roles(
    system="<|im_start|>system\n{Content}<|im_end|>\n",
    user="<|im_start|>user\n{Content}<|im_end|>\n",
    assistant="<|im_start|>assistant\n{Content}<|im_end|>\n",
    prompt="<|im_start|>user\n{Content}<|im_end|>\n<|im_start|>assistant\n",
)
_PHI3 = Roles(
    system="<|system|>\n{Content}<|end|>\n",
    user="<|user|>\n{Content}<|end|>\n",
    assistant="<|assistant|>\n{Content}<|end|>\n",
    prompt="<|user|>\n{Content}<|end|>\n<|assistant|>\n",
)
_PHI4 = Roles(
    system="<|im_start|>system<|im_sep|>{Content}<|im_end|>",
    user="<|im_start|>user<|im_sep|>{Content}<|im_end|>",
    assistant="<|im_start|>assistant<|im_sep|>{Content}<|im_end|>",
    prompt="<|im_start|>user<|im_sep|>{Content}<|im_end|><|im_start|>assistant<|im_sep|>",
)
_PHI4_MINI = Roles(
    system="<|system|>{Content}<|end|>",
    user="<|user|>{Content}<|end|>",
    assistant="<|assistant|>{Content}<|end|>",
    prompt="<|user|>{Content}<|end|><|assistant|>",
)
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

_ROLES = {"chatml": _CHATML, "phi3": _PHI3, "phi4": _PHI4, "phi4-mini": _PHI4_MINI}
_JINJA = {"llama3": _LLAMA3, "gemma": _GEMMA, "mistral": _MISTRAL}

PRESETS = ("chatml", "llama3", "phi3", "phi4", "phi4-mini", "gemma", "mistral", "source")


def preset(name: str) -> Template:
    """The template of that name; `source` keeps what the model's tokenizer brings."""
    if name == "source":
        return Template(origin="source", jinja=None)
    roles = _ROLES.get(name)
    return Template(origin=f"preset {name}", jinja=jinja_of(roles) if roles else _JINJA[name], roles=roles)
