"""YAML in, plain data out: what was written is kept, where it was written is known, what is dangerous is refused."""

import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.errors import Problem
from reconciler.manifests.loader import MAX_DOCUMENTS, Loaded, Plain, load


def loaded(text: str) -> Loaded:
    return load("a.yaml", textwrap.dedent(text).encode())


def only(text: str) -> object:
    (document,) = loaded(text).documents
    assert document.problems == ()
    return document.data


def refusals(result: Loaded) -> list[tuple[str, int, str]]:
    problems = [*result.problems, *(p for document in result.documents for p in document.problems)]
    return [(problem.code, problem.line, problem.field) for problem in problems]


@pytest.mark.parametrize(
    "written", ["no", "on", "1.10", "12:30", "014", "1_000", "~", "null", ".inf", "0x10", "2026-01-01", "<", "=", "1e3"]
)
def test_a_plain_scalar_keeps_the_text_that_was_written(written: str) -> None:
    value = only(f"name: {written}")["name"]  # type: ignore[index]
    assert (value, type(value)) == (written, Plain)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"1"', "1"),
        ("'no'", "no"),
        ("|-\n  a\n  b", "a\nb"),
        (">-\n  a\n  b", "a b"),
        ('"\\t\\u00e9\\n"', "\té\n"),
        ('"😀"', "😀"),
    ],
)
def test_a_quoted_scalar_is_text(written: str, text: str) -> None:
    value = only(f"name: {written}")["name"]  # type: ignore[index]
    assert (value, type(value)) == (text, str)


def test_a_key_that_yaml_11_reads_as_true_stays_a_word() -> None:
    assert only("on: 1\nno: 2\n") == {"on": "1", "no": "2"}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "---\n---\n"])
def test_an_empty_file_is_no_document(text: str) -> None:
    assert loaded(text) == Loaded(documents=(), problems=())


def test_windows_line_ends_and_its_byte_order_mark_change_nothing() -> None:
    text = "a: 1\nb:\n  - x\n  - |\n    two\n    lines\n"
    windows = load("a.yaml", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert windows == load("a.yaml", text.encode())


def test_every_value_knows_the_line_of_its_key() -> None:
    (document,) = loaded(
        """\
        # a comment
        metadata:
          name: >-
            folded
        spec:
          precisions:
            - int4
            - int8
          generation: {topK: 1,
            topP: 2}
        """
    ).documents
    lines = {".".join(map(str, path)): line for path, line in document.lines.items()}
    assert lines == {
        "": 2,
        "metadata": 2,
        "metadata.name": 3,
        "spec": 5,
        "spec.precisions": 6,
        "spec.precisions.0": 7,
        "spec.precisions.1": 8,
        "spec.generation": 9,
        "spec.generation.topK": 9,
        "spec.generation.topP": 10,
    }
    assert document.line(("spec", "generation", "topX")) == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\nb: *x\n", [("AnchorRefused", 1, "a"), ("AliasRefused", 2, "b")]),
        ("&x a: 1\n", [("AnchorRefused", 1, "")]),
        ("a: !!python/object:os.system ls\n", [("TagRefused", 1, "a")]),
        ("a:\n  - !mine {b: 1}\n", [("TagRefused", 2, "a[0]")]),
        ("!!map\na: 1\n", [("TagRefused", 1, "")]),
        ("%YAML 1.1\n---\na: 1\n", [("DirectiveRefused", 1, "")]),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", [("DirectiveRefused", 1, "")]),
        ("a: 1\n<<: {b: 2}\n", [("MergeKeyRefused", 2, "<<")]),
        ("? [a, b]\n: 1\n", [("ComplexKey", 1, "")]),
        ("? {a: b}\n: 1\n? [c]\n: 2\n", [("ComplexKey", 1, ""), ("ComplexKey", 3, ""), ("DuplicateKey", 3, "?")]),
        ("a: 1\nb: 2\na: 3\n", [("DuplicateKey", 3, "a")]),
        ("a: {b: 1, b: 1}\n", [("DuplicateKey", 1, "a.b")]),
        ("a: [1\n", [("YamlSyntax", 2, "")]),
        ("a: 1\n\tb: 2\n", [("YamlSyntax", 2, "")]),
        ("a: b: c\n", [("YamlSyntax", 1, "")]),
        ("a: 1\n# \u202e\n", [("ForbiddenCharacter", 2, "")]),
        ("a: \u200b1\n", [("ForbiddenCharacter", 1, "")]),
        ("a: \x1b[31m\n", [("ForbiddenCharacter", 1, "")]),
        ("a: 1\rb: 2\n", [("ForbiddenCharacter", 1, ""), ("YamlSyntax", 1, "")]),
        ('a: 1\nb: "\\u202e"\n', [("ForbiddenCharacter", 2, "b")]),
        ('a: "\\x07"\n"\\0": 1\n', [("ForbiddenCharacter", 1, "a"), ("ForbiddenCharacter", 2, "")]),
    ],
)
def test_what_a_manifest_does_not_need_is_refused(text: str, expected: list[tuple[str, int, str]]) -> None:
    assert refusals(load("a.yaml", text.encode())) == expected


SLIPS = {
    "a:\n\tb: 2\n": (2, "expected spaces, got a tab (column 1)"),
    "a: 1\n\tb: 2\n": (2, "expected spaces, got a tab (column 1)"),
    'a:\n  b: "x\nc: 1\n': (2, "expected a closing quote for the one that begins here, got none (column 6)"),
    "a: 'x\nb: 1\n": (1, "expected a closing quote for the one that begins here, got none (column 4)"),
    "a: b: c\n": (1, "expected one field on a line, got a second colon (column 5)"),
    "a: @x\n": (1, "expected a value, got @ (column 4)"),
    "a: [1\nb: 2\n": (2, "expected `,` or `]` for the [ of line 1, column 4, got something else (column 2)"),
    "a: {x: 1\nb: 2\n": (2, "expected `,` or `}` for the { of line 1, column 4, got something else (column 2)"),
    "a:\n  b: 1\n c: 2\n": (3, "expected a field, got something else (column 2)"),
    "- a\nb: 1\n": (2, "expected another `- item` of the list, got something else (column 1)"),
    "a: 1\nb\nc: 2\n": (3, "expected `name: value`, got no colon (column 1)"),
    "a: ]\n": (1, "expected a value, got a bracket that closes nothing (column 4)"),
    "a: [1, }\n": (1, "expected a value, got a bracket that closes nothing (column 8)"),
    "a:\n  foo: [1,\n": (2, "expected a closing ] for the [ that begins here, got none (column 8)"),
    "a:\n  foo: [1,": (2, "expected a closing ] for the [ that begins here, got none (column 8)"),
    "a: {b: 1,\n\n# end\n": (1, "expected a closing } for the { that begins here, got none (column 4)"),
    "a: [\n  [1], {b: [2]}, [\n": (2, "expected a closing ] for the [ that begins here, got none (column 18)"),
    "é: 1\na: [b: 1,\n": (2, "expected a closing ] for the [ that begins here, got none (column 4)"),
    "a: [1,\n---\nb: 1\n": (1, "expected a closing ] for the [ that begins here, got none (column 4)"),
}


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_of_the_hand_is_told_in_plain_words(text: str) -> None:
    (problem,) = load("a.yaml", text.encode()).problems
    assert (problem.line, problem.message) == SLIPS[text]
    assert problem.hint


@pytest.mark.parametrize("text", SLIPS)
def test_the_parser_without_a_c_library_is_told_so_too(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    (problem,) = load("a.yaml", text.encode()).problems
    assert problem.line == SLIPS[text][0]
    assert "while" not in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        ("a: 1\n".encode("utf-16"), "NotUtf8", 1),
        ("a: 1\nb: é\n".encode("latin-1"), "NotUtf8", 2),
        (b"a: \xed\xa0\x80\n", "NotUtf8", 1),
        (b"a: " + b"x" * (256 * 1024), "FileTooLarge", 0),
    ],
)
def test_bytes_that_are_no_small_utf_8_text_are_refused(data: bytes, code: str, line: int) -> None:
    assert refusals(load("a.yaml", data)) == [(code, line, "")]


def test_a_message_never_shows_more_than_a_bounded_part_of_the_file() -> None:
    result = load("a.yaml", f"? {'k' * 5000}\n: &{'a' * 5000} 1\n? {'k' * 5000}\n: !{'t' * 5000} 2\n".encode())
    problems = [*result.problems, *(p for document in result.documents for p in document.problems)]
    assert len(problems) >= 2
    assert all(len(str(problem)) < 250 for problem in problems)


def test_a_refused_document_does_not_hide_the_others_in_its_file() -> None:
    result = loaded("a: &x 1\n---\nb: 2\n---\nc: !!x 3\n---\nd: \x07\n---\ne: 5\n")
    assert [document.problems == () for document in result.documents] == [False, True, False, False, True]
    assert result.problems == ()


def test_a_syntax_error_hides_only_what_comes_after_it() -> None:
    result = loaded("a: 1\n---\nb: &x 2\nc: ]\n---\nd: 4\n")
    assert [document.data for document in result.documents] == [{"a": "1"}]
    assert refusals(result) == [("AnchorRefused", 3, "b"), ("YamlSyntax", 4, "")]


def test_as_many_documents_as_allowed_are_read() -> None:
    result = loaded("---\na: 1\n" * (MAX_DOCUMENTS + 1))
    assert len(result.documents) == MAX_DOCUMENTS
    assert refusals(result) == [("TooManyDocuments", 2 * MAX_DOCUMENTS + 1, "")]


@pytest.mark.parametrize(("depth", "code"), [(16, []), (17, ["TooDeep"])])
def test_nesting_is_counted(depth: int, code: list[str]) -> None:
    assert [c for c, _, _ in refusals(loaded("[" * depth + "x" + "]" * depth))] == code


@pytest.mark.parametrize("nested", ["[" * 2000, "{" * 2000, "- " * 2000, "{a: " * 2000])
def test_a_nesting_beyond_the_parsers_own_limit_is_our_limit_too(nested: str) -> None:
    """PyYAML 6.0.4 has one, and meets it before it gives an event beyond ours."""
    found = refusals(loaded(f"ok: 1\n---\nb: &x 2\nc:\n- {nested}"))
    assert [code for code, _, _ in found if code != "ComplexKey"] == ["AnchorRefused", "TooDeep"]
    assert found[-1][1] == 5


@pytest.mark.parametrize(("count", "code"), [(4999, []), (5000, ["TooManyNodes"])])
def test_values_are_counted(count: int, code: list[str]) -> None:
    assert [c for c, _, _ in refusals(loaded("[" + "x," * count + "]"))] == code


def test_python_without_libyaml_reads_the_same() -> None:
    program = """
import sys
sys.modules["yaml._yaml"] = None
from reconciler.manifests.loader import load
text = 'a: &x 1\\n---\\nb: {c: [1, "no"]}\\nd: "\\\\x07"\\n---\\n%s' % ("[" * 99)
print(load("a.yaml", text.encode()))
"""
    pure = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    text = 'a: &x 1\n---\nb: {c: [1, "no"]}\nd: "\\x07"\n---\n' + "[" * 99
    assert pure.strip() == str(load("a.yaml", text.encode()))


PIECES = st.sampled_from(
    [
        *"[]{}:,-?|>&*!%@`'\"#\n\t ~<",
        "a: ",
        "- ",
        "---\n",
        "...\n",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "\\x",
        "\u202e",
        "\r\n",
        "é",
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=60).map("".join).map(str.encode), st.binary(max_size=300)))
def test_whatever_comes_the_loader_answers_with_documents_and_problems(data: bytes) -> None:
    result = load("a.yaml", data)
    for problem in (*result.problems, *(p for document in result.documents for p in document.problems)):
        assert isinstance(problem, Problem)
        assert problem.message.isprintable()
        assert 0 <= problem.line <= data.count(b"\n") + data.count(b"\r") + 2
