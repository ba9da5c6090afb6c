"""What every page has: the policy of its own style and scripts, landmarks, and texts of others that stay texts."""

import base64
import hashlib
import re

import pytest
from markupsafe import Markup

from reconciler.reports.html.document import document, environment, fragment

NASTY = '</td><script>alert("1")</script>\x1b[2J\u202e'


def digest_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_only_the_style_of_the_page_counts_and_nothing_is_loaded() -> None:
    made = document("html/base.html.j2")
    style = re.search(r"<style>(.*)</style>", made.html, re.DOTALL)
    assert style is not None
    assert f"style-src {digest_of(style[1])};" in made.policy
    assert made.policy.startswith("default-src 'none';")
    for rule in ("script-src 'none'", "connect-src 'none'", "base-uri 'none'", "form-action 'none'"):
        assert rule in made.policy
    assert made.policy.endswith("frame-ancestors 'none'")
    assert "unsafe" not in made.policy
    assert "<script" not in made.html
    assert "connect-src 'self'" in document("html/base.html.j2", asks_its_server=True).policy


def test_the_page_carries_its_policy() -> None:
    made = document("html/base.html.j2")
    held = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made.html)
    assert held is not None
    assert Markup(held[1]).unescape() == made.policy.removesuffix("; frame-ancestors 'none'")


def test_there_is_a_way_past_the_navigation() -> None:
    html = document("html/base.html.j2").html
    assert html.index('href="#main"') < html.index("<nav") < html.index('<main id="main"')


def test_what_others_wrote_is_text_in_every_part() -> None:
    parts = environment().from_string(
        '{% import "html/parts.html.j2" as parts %}'
        "{{ parts.state(x, 'bad') }}{{ parts.table(x, [x, x], [[x, x]]) }}{{ parts.facts([(x, x)]) }}"
        "{{ parts.command(x, x) }}{{ parts.time(x) }}{{ parts.text(x, x) }}{{ parts.note(x) }}"
        "{{ parts.progress(x, 1) }}"
    )
    html = parts.render(x=NASTY)
    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;") >= 12
    assert "\\x1b[2J\\u202e" in html


def test_a_fragment_is_put_into_a_page_as_it_is() -> None:
    assert isinstance(fragment("html/base.html.j2", style="", script="", policy=""), Markup)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("its window is shut", "Its window is shut."),
        ("model.onnx.data changed", "model.onnx.data changed."),  # a name of a file stays what it is
        ("capitals-int4: no room", "capitals-int4: no room."),
        ("why?", "Why?"),
    ],
)
def test_a_sentence_begins_with_a_capital_but_where_it_begins_with_a_name(text: str, said: str) -> None:
    assert environment().from_string("{{ text | sentence }}").render(text=text) == said
