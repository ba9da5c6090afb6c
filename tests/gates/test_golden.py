"""Which answers pass, and which patterns and schemas are not even taken."""

import json
import time

import pytest

from reconciler.gates.prompts import LONGEST_PATTERN, GoldenPrompt, passes, pattern_refusal, schema_refusal

CITY = json.dumps({"type": "object", "required": ["city"], "properties": {"city": {"type": "string", "minLength": 2}}})


@pytest.mark.parametrize(
    ("check", "expected", "right", "wrong"),
    [
        ("exact", "Paris.", "  Paris.\n", "Paris"),
        ("contains", "Paris", "It is Paris, I think.", "It is paris."),
        ("regex", "^[Pp]aris\\.?$", "paris", "It is Paris"),
        ("jsonSchema", CITY, '{"city": "Rom"}', '{"city": "R"}'),
        ("jsonSchema", CITY, '{"city": "Rom", "more": 1}', "[]"),
        ("jsonSchema", CITY, ' {"city": "Rom"} ', '{"city": 7}'),
        ("jsonSchema", '{"type": "integer", "minimum": 3}', "3", "true"),
        ("jsonSchema", '{"type": "array", "items": {"enum": ["a"]}, "maxItems": 2}', '["a", "a"]', '["b"]'),
        ("jsonSchema", '{"additionalProperties": false, "properties": {"a": {}}}', '{"a": 1}', '{"b": 1}'),
        ("jsonSchema", "{}", "null", "no JSON"),
        ("jsonSchema", "{}", "0", "NaN"),
        ("jsonSchema", '{"const": 1}', "1.0", "true"),
        ("jsonSchema", '{"enum": [false, [1]]}', "[1]", "0"),
        ("jsonSchema", '{"enum": [{"a": [1]}]}', '{"a": [1]}', '{"a": [true]}'),
        ("contains", "\u6771\u4eac", "\u6771\u4eac\u3067\u3059", "\u4eac\u6771"),
        ("jsonSchema", "{}", "1", "[" * 100_000),
    ],
)
def test_an_answer(check: str, expected: str, right: str, wrong: str) -> None:
    case = GoldenPrompt(messages=(("user", "q"),), check=check, expected=expected)
    assert passes(case, right)
    assert not passes(case, wrong)


@pytest.mark.parametrize(
    "pattern",
    ["(", "x" * (LONGEST_PATTERN + 1), "(?(1)a|b)*", "[", "a{9,1}", "a(?=b)", "(a)\\1", "\\pL{900}", "\ud800"],
)  # fmt: skip
def test_patterns_that_are_not_taken(pattern: str) -> None:
    assert pattern_refusal(pattern)


@pytest.mark.parametrize(
    "pattern", ["Paris|Rome", "^\\s*4\\d{0,3}$", "(?i)yes", "a.*b", "(ab){1,3}", "[a-z]+", "\u6771."]
)
def test_patterns_that_are(pattern: str) -> None:
    assert pattern_refusal(pattern) is None


@pytest.mark.parametrize("pattern", [".*.*=x", "(=+)+$x", "(=|==)*x", "(?:={2,}x){3,}", "=*=*=*x"])
def test_no_pattern_keeps_an_answer_busy(pattern: str) -> None:
    assert pattern_refusal(pattern) is None
    started = time.process_time()
    case = GoldenPrompt(messages=(), check="regex", expected=pattern)
    assert not passes(case, "=" * 1_000_000)
    assert time.process_time() - started < 1


def test_an_answer_that_is_no_text_is_only_no_match() -> None:
    case = GoldenPrompt(messages=(), check="regex", expected="^a.c$")
    assert passes(case, "a\ud800c")
    assert not passes(case, "\ud800")


@pytest.mark.parametrize(
    "schema",
    [7, {"type": "thing"}, {"$ref": "#"}, {"items": {"pattern": "a"}}, {"minimum": "1"}, {"required": "a"},
     {"properties": {"a": {"oneOf": []}}}, {"additionalProperties": {}}],
)  # fmt: skip
def test_schemas_that_would_be_half_ignored(schema: object) -> None:
    assert schema_refusal(schema)
