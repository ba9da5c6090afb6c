"""Fixtures of a template: read, rendered in a child under limits (`ParseContext.render`), and compared."""

from collections.abc import Iterator

from reconciler.domain.manifest import Fixture
from reconciler.domain.text.quoting import shown
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.fixture_schema import FixtureManifest
from reconciler.manifests.loader import Path
from reconciler.manifests.paths import ParseContext, PathRefused, locate
from reconciler.manifests.schema import JinjaTemplate, Manifest, RolesTemplate
from reconciler.templates.rendering import NotRendered, Refusing

BEFORE, AFTER = 20, 40  # characters that are shown around the first difference


def fixtures_of(
    form: RolesTemplate | JinjaTemplate,
    jinja: str,
    declaration: Declaration[Manifest],
    path: Path,
    context: ParseContext,
    findings: ProblemLog,
) -> tuple[Fixture, ...] | None:
    """`path` is where the form stands. None when one does not come out as it says, and then `findings` says it."""
    fixtures, before = [], len(findings.problems)
    for index, written in enumerate(form.fixtures):
        place = (*path, "fixtures", index)
        text = written.rendered
        if text is None:
            text = _file(written.file or "", declaration, (*place, "file"), context, findings)
        if text is not None:
            fixtures.append(_fixture(written, text))
            _check(fixtures[-1], jinja, declaration, place, context, findings)
    return tuple(fixtures) if len(findings.problems) == before else None


def _fixture(written: FixtureManifest, text: str) -> Fixture:
    tokens = {"bos_token": written.bos_token, "eos_token": written.eos_token}
    return Fixture(
        messages=tuple((one.role, one.content) for one in written.messages),
        rendered=text,
        asked=written.add_generation_prompt,
        tokens={name: token for name, token in tokens.items() if token is not None},
    )


def _file(
    written: str, declaration: Declaration[Manifest], path: Path, context: ParseContext, findings: ProblemLog
) -> str | None:
    try:
        data = context.read(locate(written, declaration.name, "file", context))
        if data is not None:
            return data.decode("utf-8").removesuffix("\n")
    except PathRefused as refused:
        findings.add(declaration.problem(path, refused.code, str(refused), refused.hint))
        return None
    except UnicodeDecodeError:
        pass
    message = f"expected a small plain file in UTF-8, got {shown(written)}"
    findings.add(declaration.problem(path, "Unreadable", message))
    return None


def _check(
    fixture: Fixture,
    jinja: str,
    declaration: Declaration[Manifest],
    place: Path,
    context: ParseContext,
    findings: ProblemLog,
) -> None:
    try:
        found = context.render(jinja, fixture)
    except Refusing as refused:
        message = f"expected a text, but the template refuses these messages: {refused}"
        findings.add(declaration.problem((*place, "messages"), "TemplateFixture", message))
    except NotRendered as why:
        message = f"expected to render it here, but {why}; the runtime will, when its release is verified"
        findings.add(declaration.problem(place, "TemplateFixtureUnchecked", message), serious=False)
    else:
        if found != fixture.rendered:
            message = " ".join(_difference(fixture.rendered, found))
            hint = "if the template is right, the fixture is not: both are shown from before the first difference"
            findings.add(declaration.problem(place, "TemplateFixture", message, hint))


def _difference(expected: str, found: str) -> Iterator[str]:
    pairs = enumerate(zip(expected, found, strict=False))
    at = next((place for place, (a, b) in pairs if a != b), min(len(expected), len(found)))
    start = max(0, at - BEFORE)
    yield f"expected, from character {at},"
    yield f"{shown(expected[start : at + AFTER]) or 'nothing more'!r},"
    yield f"got {shown(found[start : at + AFTER]) or 'nothing more'!r}"
