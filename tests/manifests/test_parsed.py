"""What a parse depends on, and the name of what it found."""

from reconciler.manifests.parsed import Inputs

SOME = Inputs(base="/b", prefix="m", roots=("/r",), manifests={"a.yaml": "sha256:1"})


def test_the_revision_names_the_declarations_and_not_where_they_lie() -> None:
    elsewhere = Inputs(base="/other", prefix="x", roots=("/s",), manifests=SOME.manifests)
    changed = Inputs(base="/b", prefix="m", roots=("/r",), manifests={"a.yaml": "sha256:2"})
    template = Inputs(base="/b", prefix="m", roots=(), manifests=SOME.manifests, files={"/b/t": "sha256:3"})
    assert elsewhere.revision == SOME.revision
    assert len({SOME.revision, changed.revision, template.revision}) == 3
