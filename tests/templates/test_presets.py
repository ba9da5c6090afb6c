"""What a preset makes of a conversation, letter by letter. test_chat_templates.py compares with the runtime that
serves."""

import pytest

from reconciler.templates.lint import lint
from reconciler.templates.presets import PRESETS, preset
from tests.chat import render

ASK = [{"role": "user", "content": "Hi"}]
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]


@pytest.mark.parametrize(
    ("name", "ask", "talk"),
    [
        (
            "chatml",
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            (
                "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
            ),
        ),
        (
            "llama3",
            (
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
            (
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        (
            "phi3",
            "<|user|>\nHi<|end|>\n<|assistant|>\n",
            (
                "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
                "<|user|>\nBye<|end|>\n<|assistant|>\n"
            ),
        ),
        (
            "phi4",
            "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>",
            (
                "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|>"
                "<|im_start|>assistant<|im_sep|>Hello<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|>"
                "<|im_start|>assistant<|im_sep|>"
            ),
        ),
        (
            "phi4-mini",
            "<|user|>Hi<|end|><|assistant|>",
            "<|system|>Be kind.<|end|><|user|>Hi<|end|><|assistant|>Hello<|end|><|user|>Bye<|end|><|assistant|>",
        ),
        (
            "gemma",
            "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
            (
                "<bos><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
                "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
            ),
        ),
        ("mistral", "<s>[INST] Hi[/INST]", "<s>[INST] Hi[/INST] Hello</s>[INST] Be kind.\n\nBye[/INST]"),
    ],
)
def test_a_conversation(name: str, ask: str, talk: str) -> None:
    template = preset(name).jinja
    assert template is not None
    assert (render(template, ASK, True), render(template, TALK, True)) == (ask, talk)


def test_source_keeps_what_the_tokenizer_brings() -> None:
    assert preset("source").jinja is None


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "source"])
def test_a_preset_is_one_line_that_passes_our_own_lint(name: str) -> None:
    template = preset(name).jinja
    assert template is not None
    assert "\n" not in template
    assert lint(template.encode()) == ()
