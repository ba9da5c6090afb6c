"""Foreign text can be shown anywhere and acts nowhere."""

import json

import pytest

from reconciler.domain.text.escape import for_annotation, for_json, for_markdown, for_terminal, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nü 日本語", "a\tb\nü 日本語"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202eevil", "\\u202eevil"),
        ("a\u2028b", "a\\u2028b"),
        ("\udcff.onnx", "\\udcff.onnx"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_what_a_terminal_would_act_on_or_cannot_encode_is_escaped(text: str, shown: str) -> None:
    assert for_terminal(text) == shown
    for_terminal(text).encode()
    for_markdown(text).encode()
    for_annotation(text).encode()


@pytest.mark.parametrize("text", ["ü 日本語\n\t\\", "\x1b[2J\x7f\x85", "\u202e\u2028", "\udcff"])
def test_json_means_the_same(text: str) -> None:
    shown = for_json(json.dumps({"a": [text]}, ensure_ascii=False, indent=1))
    assert json.loads(shown) == {"a": [text]}
    assert for_terminal(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    "text", ["www.evil.com", "see WWW.evil.com", "(www.evil.com)", "https://evil.com", "https://www.evil.com"]
)
def test_no_address_becomes_a_link(text: str) -> None:
    shown = for_markdown(text)
    assert "www." not in shown.lower()
    assert "://" not in shown
    assert shown.replace("\u2060", "").replace("\\", "") == text


def test_an_annotation_stays_one_command() -> None:
    assert for_annotation("a\r\n::stop-commands::x%") == "a\\x0d%0A::stop-commands::x%25"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x85", "\u2028", "\u2029"])
def test_a_message_is_one_line_whatever_it_quotes(end: str) -> None:
    shown = one_line(f"  a{end}::stop-commands::x{end}")
    assert len(shown.splitlines()) == 1
    assert shown.startswith("a")


def test_a_message_begins_no_command() -> None:
    assert one_line("\n::error::x") == "error::x"


def test_a_message_ends() -> None:
    assert one_line("x" * 300) == "x" * 300
    assert one_line("x" * 10_000_000) == "x" * 297 + "..."
    assert len(one_line("\x1b" * 10_000)) == 300
