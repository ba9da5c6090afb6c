"""From a declared template, in whichever form, to the one Jinja text that the runtime will render."""

import posixpath

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Roles, Template
from reconciler.domain.text.quoting import shown
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.fixture_rules import fixtures_of
from reconciler.manifests.loader import Path
from reconciler.manifests.paths import ParseContext, PathRefused, locate
from reconciler.manifests.schema import JinjaTemplate, Manifest, RolesTemplate
from reconciler.templates.chat_template import jinja_of
from reconciler.templates.lint import Finding, lint


def template_of(
    form: RolesTemplate | JinjaTemplate | None,
    origin: str,
    declaration: Declaration[Manifest],
    path: Path,
    context: ParseContext,
    findings: ProblemLog,
) -> Template | None:
    """None when something is wrong with it, and then `findings` says what. `path` is where the form stands; of a form
    that was refused the file is judged all the same."""
    if isinstance(form, RolesTemplate):
        roles = Roles(**form.roles.model_dump(exclude_none=True))
        text = jinja_of(roles)
        fixtures = fixtures_of(form, text, declaration, path, context, findings)
        return Template(origin=origin, jinja=text, roles=roles, fixtures=fixtures) if fixtures is not None else None
    place = (*path, "jinja")
    written = declaration.text(*place)
    jinja = _file(written, declaration, place, context, findings) if written is not None else None
    if jinja is None:
        return None
    fixtures = fixtures_of(form, jinja, declaration, path, context, findings) if form is not None else ()
    return Template(origin=origin, jinja=jinja, fixtures=fixtures) if fixtures is not None else None


def _file(
    written: str, declaration: Declaration[Manifest], path: Path, context: ParseContext, findings: ProblemLog
) -> str | None:
    try:
        data = context.read(locate(written, declaration.name, "file", context))
    except PathRefused as refused:
        findings.add(declaration.problem(path, refused.code, str(refused), refused.hint))
        return None
    if data is None:
        findings.add(declaration.problem(path, "Unreadable", f"expected a small plain file, got {shown(written)}"))
        return None
    return _linted(data, context.shown(posixpath.join(posixpath.dirname(declaration.name), written)), findings)


def _linted(data: bytes, file: str, findings: ProblemLog) -> str | None:
    found = lint(data)
    for finding in found:
        findings.add(_problem(finding, file), serious=finding.serious)
    return None if any(finding.serious for finding in found) else data.decode("utf-8").removesuffix("\n")


def _problem(finding: Finding, file: str) -> Problem:
    return Problem(code=finding.code, file=file, line=finding.line, message=finding.message, hint=finding.hint)
