"""Write a chat template in the other form, where both mean exactly the same."""

import argparse
import json
import os
import sys
from dataclasses import replace
from typing import Any

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.manifests import load_folder
from reconciler.cli.output import show, show_problems
from reconciler.domain.errors import ManifestsInvalid, PermanentError, Problem, UsageError
from reconciler.domain.manifest import Template
from reconciler.domain.plain_data import as_dict
from reconciler.domain.text.quoting import printable
from reconciler.engine.resolve import resolve
from reconciler.host.reading import read_whole
from reconciler.host.stamps import Unhashed
from reconciler.manifests.parsed import Parsed
from reconciler.operations.templates import special_names
from reconciler.reports.view import FORMAT_VERSION
from reconciler.templates.lint import TEMPLATE_BYTES, lint
from reconciler.templates.presets import PRESETS, preset
from reconciler.templates.role_form import RoleForm, roles_of
from reconciler.templates.role_trace import NotExact

LONGEST_SETTINGS = 1 << 20
_SHARED = "PromptTemplate "  # begins the origin of a template that is a manifest of its own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="WHAT", help="a Jinja file, a preset, a declared model or PromptTemplate")
    parser.add_argument(
        "--to",
        choices=("roles", "jinja"),
        required=True,
        help="Foundry's own form, one pattern for each role, or Jinja",
    )
    for name in ("bos", "eos"):
        parser.add_argument(
            f"--{name}-token",
            metavar="TEXT",
            help=f"value of {name}_token in a Jinja template (default: that of the model's tokenizer)",
        )
    options.add_manifests(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    given = {"bos_token": arguments.bos_token, "eos_token": arguments.eos_token}
    found, tokens = _find(arguments)
    tokens |= {name: text for name, text in given.items() if text is not None}
    jinja = found.jinja or ""
    view, text = _roles(found, tokens) if arguments.to == "roles" else ({"jinja": jinja}, jinja + "\n")
    view = {"formatVersion": FORMAT_VERSION, "template": found.origin, **view}
    show(view, arguments.output, text=lambda _: text)
    return OK


def _find(arguments: argparse.Namespace) -> tuple[Template, dict[str, str]]:
    """The template, with the name or file that was asked for as its origin, and the special tokens of its model."""
    what = arguments.what
    if os.path.isfile(what):
        return Template(origin=what, jinja=_read(what)), {}
    if what == "source":
        raise UsageError("source is each model's own template", hint="name the model")
    found, tokens = (preset(what), {}) if what in PRESETS else _declared(what, load_folder(arguments))
    return replace(found, origin=what), tokens


def _read(file: str) -> str:
    """Read a template file, and report its problems as `validate` does."""
    with open(file, "rb") as opened:
        data = opened.read(TEMPLATE_BYTES + 1)
    found = [
        (one.serious, Problem(code=one.code, file=file, line=one.line, message=one.message, hint=one.hint))
        for one in lint(data)
    ]
    show_problems((problem for serious, problem in found if not serious), "warning")
    if errors := tuple(problem for serious, problem in found if serious):
        raise ManifestsInvalid(errors)
    return data.decode("utf-8").removesuffix("\n")


def _declared(name: str, parsed: Parsed) -> tuple[Template, dict[str, str]]:
    models = {model.name: model for model in parsed.models}
    resolution = resolve(parsed, Unhashed.empty())
    for release in (wanted.release for wanted in resolution.desired.wanted):
        if name in (release.model, release.template_origin.removeprefix(_SHARED)):
            model = models[release.model]
            if not release.template:
                hint = "its source is on the hub: `reconciler explain` shows its template after it was fetched"
                raise PermanentError(f"the template of {name} is not known", hint=hint, code="SourceMissing")
            tokens = _tokens(model.source_path) if model.source_path else {}
            return replace(model.template, jinja=release.template), tokens
    for shared in parsed.templates:  # that no model refers to
        if shared.origin == _SHARED + name:
            return shared, {}
    if resolution.problems:
        raise ManifestsInvalid(resolution.problems)
    declared = sorted({*models, *(shared.origin.removeprefix(_SHARED) for shared in parsed.templates)})
    hint = f"presets: {', '.join(PRESETS[:-1])}; declared: {', '.join(declared) or 'nothing'}"
    raise PermanentError(f"no file, preset, model or PromptTemplate is {name}", hint=hint, code="NotDeclared")


def _tokens(folder: str) -> dict[str, str]:
    try:
        return special_names(read_whole(os.path.join(folder, "tokenizer_config.json"), LONGEST_SETTINGS))
    except OSError:
        return {}


def _roles(found: Template, tokens: dict[str, str]) -> tuple[dict[str, Any], str]:
    try:
        form = RoleForm(roles=found.roles) if found.roles else roles_of(found.jinja or "", tokens)
    except NotExact as refused:
        where = f"{found.origin}:{refused.line}" if refused.line else found.origin
        hint = refused.hint or "leave it in Jinja: what is served is the same"
        raise PermanentError(
            f"{where}: it has no role form that means exactly the same: {refused}", hint=hint, code="TemplateNotExact"
        ) from None
    for note in form.notes:
        sys.stderr.write(f"note: {note}\n")
    roles = {role: text for role, text in as_dict(form.roles).items() if text}
    # For `spec` of a PromptTemplate.
    lines = [f"  {role}: {printable(json.dumps(text, ensure_ascii=False))}\n" for role, text in roles.items()]
    return {"roles": roles, "notes": list(form.notes)}, "roles:\n" + "".join(lines)
