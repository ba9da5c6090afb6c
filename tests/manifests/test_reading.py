"""One file by itself, and a reader that is used again."""

from reconciler.manifests.documents.reading import FileReader

ONE = b"""apiVersion: reconciler.foundry/v1alpha1
kind: PromptTemplate
metadata: {name: short}
spec: {jinja: "{{ messages[0].content }}"}
"""


def test_the_same_bytes_under_the_same_name_are_read_once() -> None:
    reader = FileReader()
    first = reader.read("manifests/one.yaml", "one.yaml", ONE)
    assert reader.read("manifests/one.yaml", "one.yaml", bytes(bytearray(ONE))) is first
    assert first.documents[0].manifest is not None


def test_other_bytes_or_another_name_are_read_again() -> None:
    reader = FileReader()
    reader.read("manifests/one.yaml", "one.yaml", ONE)
    changed = reader.read("manifests/one.yaml", "one.yaml", ONE.replace(b"jinja", b"jinjo"))
    assert [(one.file, one.line) for one in changed.documents[0].problems] == [("manifests/one.yaml", 4)]
    moved = reader.read("manifests/two.yaml", "two.yaml", ONE.replace(b"jinja", b"jinjo"))
    assert {one.file for one in moved.documents[0].problems} == {"manifests/two.yaml"}
