"""From a declared template, in whichever form, to the one Jinja text that the runtime renders; and its fixtures, each
rendered in a child under limits (`ParseContext.render`) and compared."""

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Fixture, Roles, Template
from reconciler.domain.text.quoting import shown
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.loader import Path
from reconciler.manifests.schema import FixtureManifest, JinjaTemplate, Manifest, RolesTemplate
from reconciler.templates.chat_template import jinja_of
from reconciler.templates.lint import lint
from reconciler.templates.rendering import NotRendered, RefusedByTemplate

BEFORE, AFTER = 20, 40  # characters that are shown around the first difference

Form = RolesTemplate | JinjaTemplate


def template_of(form: Form | None, origin: str, declaration: Declaration[Manifest], path: Path) -> Template | None:
    """None when something is wrong with it, which is then reported. `path` is where the form stands; of a form that was
    refused the file is judged all the same."""
    roles = Roles(**form.roles.model_dump(exclude_none=True)) if isinstance(form, RolesTemplate) else None
    jinja = jinja_of(roles) if roles else _jinja(declaration, (*path, "jinja"))
    if jinja is None:
        return None
    fixtures = _fixtures(form, jinja, declaration, path) if form is not None else ()
    return Template(origin=origin, jinja=jinja, roles=roles, fixtures=fixtures) if fixtures is not None else None


def _jinja(declaration: Declaration[Manifest], path: Path) -> str | None:
    if (found := declaration.read(path)) is None:
        return None
    data, file = found
    complaints = lint(data)
    for one in complaints:
        problem = Problem(code=one.code, file=file, line=one.line, message=one.message, hint=one.hint)
        declaration.log.add(problem, serious=one.serious)
    return None if any(one.serious for one in complaints) else data.decode("utf-8").removesuffix("\n")


def _fixtures(form: Form, jinja: str, declaration: Declaration[Manifest], path: Path) -> tuple[Fixture, ...] | None:
    """None when one does not come out as it says, which is then reported."""
    fixtures, before = [], len(declaration.log.problems)
    for index, written in enumerate(form.fixtures):
        place = (*path, "fixtures", index)
        text = written.rendered if written.rendered is not None else _rendered(declaration, (*place, "file"))
        if text is not None:
            fixtures.append(_fixture(written, text))
            _check(fixtures[-1], jinja, declaration, place)
    return tuple(fixtures) if len(declaration.log.problems) == before else None


def _rendered(declaration: Declaration[Manifest], path: Path) -> str | None:
    if (found := declaration.read(path)) is None:
        return None
    try:
        return found[0].decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        declaration.report(path, "Unreadable", f"expected a file in UTF-8, got {shown(found[1])}")
        return None


def _fixture(written: FixtureManifest, text: str) -> Fixture:
    tokens = {"bos_token": written.bos_token, "eos_token": written.eos_token}
    return Fixture(
        messages=tuple((one.role, one.content) for one in written.messages),
        rendered=text,
        asked=written.add_generation_prompt,
        tokens={name: token for name, token in tokens.items() if token is not None},
    )


def _check(fixture: Fixture, jinja: str, declaration: Declaration[Manifest], place: Path) -> None:
    try:
        found = declaration.context.render(jinja, fixture)
    except RefusedByTemplate as refused:
        message = f"expected a text, but the template refuses these messages: {refused}"
        declaration.report((*place, "messages"), "TemplateFixture", message)
    except NotRendered as why:
        message = f"expected to render it here, but {why}; the runtime will, when its release is verified"
        declaration.report(place, "TemplateFixtureUnchecked", message, serious=False)
    else:
        if found != fixture.rendered:
            message = _difference(fixture.rendered, found)
            hint = "if the template is right, the fixture is not: both are shown from before the first difference"
            declaration.report(place, "TemplateFixture", message, hint)


def _difference(expected: str, found: str) -> str:
    pairs = enumerate(zip(expected, found, strict=False))
    at = next((place for place, (a, b) in pairs if a != b), min(len(expected), len(found)))
    around = slice(max(0, at - BEFORE), at + AFTER)
    left, right = (shown(text[around]) or "nothing more" for text in (expected, found))
    return f"expected, from character {at}, {left!r}, got {right!r}"
