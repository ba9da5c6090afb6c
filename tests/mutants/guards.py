"""The guards that trust rests on, each with what takes it out and the tests that must then fail.

`old` stands exactly once in the file; a guard that was rewritten is said by `tests/mutants/test_mutants.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    guard: str
    file: str
    old: str
    new: str
    tests: str  # for pytest, separated by spaces


def _(guard: str, file: str, old: str, new: str, tests: str) -> Mutant:
    return Mutant(guard, f"reconciler/{file}", old, new, tests)


_LOADER = "tests/manifests/test_loader.py"
_BAD = "tests/bad_inputs/test_manifests.py"
_FOLDERS = "tests/bad_inputs/test_model_folders.py"
_GIT = "tests/sources/test_git_source.py"
_DISK = "tests/sources/test_manifests.py"
_PLAN = "tests/planner/test_plan.py"
_SERVED = "tests/backends/test_served_files.py"
_STORE = "tests/store/test_artifact_store.py"
_DURABLE = "tests/host/test_durable.py"
_FACE = "tests/daemon/test_face.py"
_LINT = "tests/templates/test_template_lint.py"
_ESCAPE = "tests/domain/test_escape.py"
_FUZZ = "tests/fuzz/test_fuzz.py"
_VERIFY = "tests/operations/test_verify.py"
_LOCK = "tests/manifests/test_hub_lock.py"
_GATES = "tests/gates/test_gates.py"
_GOLDEN = "tests/gates/test_golden.py"
_TOLD = "tests/fleet/test_inventory_gates.py"
_ENDURANCE = "tests/gates/test_endurance.py"
_FOREIGN = "tests/faults/test_foreign.py"

MUTANTS = (
    # YAML
    _(
        "an alias is refused",
        "manifests/loader.py",
        "if isinstance(event, yaml.AliasEvent):",
        "if False:",
        _LOADER,
    ),
    _("an anchor is refused", "manifests/loader.py", "event.anchor is not None", "False", _LOADER),
    _("a tag is refused", "manifests/loader.py", 'getattr(event, "tag", None) is not None', "False", _LOADER),
    _(
        "a merge key is refused",
        "manifests/loader.py",
        'if key == "<<" and not event.style:',
        "if False:",
        _LOADER,
    ),
    _("a duplicate key is refused", "manifests/loader.py", "if key in entries:", "if False:", _LOADER),
    _(
        "nesting is counted",
        "manifests/loader.py",
        "if len(path) > MAX_DEPTH:",
        "if len(path) > 500:",
        _LOADER,
    ),
    _("values are counted", "manifests/loader.py", "if self.nodes > MAX_NODES:", "if False:", _LOADER),
    _(
        "documents are counted",
        "manifests/loader.py",
        "if (count := count + 1) > MAX_DOCUMENTS:",
        "if False:",
        _LOADER,
    ),
    _(
        "a directive is refused",
        "manifests/loader.py",
        "if start.version or start.tags:",
        "if False:",
        _LOADER,
    ),
    # Paths
    _(
        "a path stays in the repository",
        "manifests/paths.py",
        "if not _allowed(path, written, context):\n        message",
        "if False:\n        message",
        "tests/manifests/test_parse.py",
    ),
    _(
        "a link does not lead out",
        "manifests/paths.py",
        "if not _allowed(place.path, written, context):",
        "if False:",
        _DISK,
    ),
    _(
        "an absolute path is for the operator",
        "manifests/paths.py",
        "context.roots if posixpath.isabs(written) else",
        "",
        "tests/manifests/test_parse.py",
    ),
    _(
        "a linked manifest is not read",
        "sources/manifests.py",
        "if stat.S_ISLNK(status.st_mode):",
        "if False:",
        _DISK,
    ),
    _(
        "a device is not opened",
        "sources/manifests.py",
        "if not stat.S_ISREG(status.st_mode):",
        "if False:",
        _DISK,
    ),
    _("a hard link is not read", "sources/manifests.py", "if status.st_nlink > 1:", "if False:", _DISK),
    _(
        "a large manifest is not read",
        "sources/manifests.py",
        "if status.st_size > limit:",
        "if False:",
        _DISK,
    ),
    _(
        "a linked folder is not entered",
        "sources/manifests.py",
        "elif entry.is_symlink() and entry.is_dir():",
        "elif False:",
        _DISK,
    ),
    # git
    _(
        "ext:: is refused",
        "sources/git/address.py",
        'if "::" in url:',
        "if False:",
        f"{_GIT}::test_the_command_line_refuses_with_64",
    ),
    _(
        "only https and ssh",
        "sources/git/address.py",
        'if scheme not in ("https", "ssh"):',
        "if False:",
        f"{_GIT}::test_an_address_that_git_could_misread_is_refused",
    ),
    _(
        "no password in a URL",
        "sources/git/address.py",
        "if parts.password is not None or",
        "if",
        f"{_GIT}::test_an_address_that_git_could_misread_is_refused",
    ),
    _(
        "no token in a URL",
        "sources/git/address.py",
        'or _TOKEN.match(parts.username or "")',
        "",
        f"{_GIT}::test_an_address_that_git_could_misread_is_refused",
    ),
    _(
        "a branch is a plain name",
        "sources/git/address.py",
        "not _BRANCH.fullmatch(name)\n        or",
        "",
        f"{_GIT}::test_a_branch_that_is_no_plain_name_is_refused",
    ),
    _(
        "only descendants",
        "sources/git/mirror.py",
        "return code == 0\n\n    def unsigned",
        "return True\n\n    def unsigned",
        f"{_GIT}::test_rewritten_history_is_refused_until_the_operator_allows_it",
    ),
    _(
        "signatures decide by exit code",
        "sources/git/mirror.py",
        'self._git.code("verify-commit", one) != 0',
        'self._git.code("verify-commit", one) > 99',
        f"{_GIT}::test_commits_are_followed_as_their_signatures_allow",
    ),
    _(
        "a link in git is no manifest",
        "sources/git/manifests.py",
        "if entry.kind == LINK:\n        return _link",
        "if False:\n        return _link",
        f"{_GIT}::test_what_is_no_plain_small_manifest_is_one_problem",
    ),
    _(
        "a submodule is no folder",
        "sources/git/manifests.py",
        "if entry.kind == REPOSITORY:\n        message",
        "if False:\n        message",
        f"{_GIT}::test_what_is_no_plain_small_manifest_is_one_problem",
    ),
    _(
        "redirects are not followed",
        "sources/git/runner.py",
        '"http.followRedirects": "false"',
        '"http.followRedirects": "true"',
        f"{_GIT}::test_redirects_are_not_followed",
    ),
    # Model folders
    _(
        "weights do not lie outside",
        "sources/folder/files.py",
        "if os.path.islink(path) and not _stays_inside(self.path, path):",
        "if False:",
        _FOLDERS,
    ),
    _(
        "a sparse file is no model",
        "sources/folder/files.py",
        "status.st_size >= SPARSE_FROM and",
        "False and",
        _FOLDERS,
    ),
    _(
        "a header ends inside its file",
        "sources/folder/safetensors_header.py",
        "if size < LENGTH_BYTES or length > size - LENGTH_BYTES:",
        "if False:",
        _FOLDERS,
    ),
    _(
        "tensors do not overlap",
        "sources/folder/safetensors_header.py",
        "if begin < position:",
        "if False:",
        _FOLDERS,
    ),
    _(
        "a tensor has the size of its shape",
        "sources/folder/safetensors_header.py",
        "if end - begin != needed:",
        "if False:",
        _FOLDERS,
    ),
    _(
        "tensors are counted",
        "sources/folder/safetensors_header.py",
        "if tensors > MAXIMUM_TENSORS:",
        "if False:",
        _FOLDERS,
    ),
    # The lock file and the hub
    _(
        "a locked file has a safe name",
        "manifests/hub_lock.py",
        "if not isinstance(path, str) or not is_safe(path):",
        "if False:",
        _LOCK,
    ),
    _("a source is locked once", "manifests/hub_lock.py", "if source.key in entries:", "if False:", _FUZZ),
    _(
        "bytes from the hub match their digest",
        "sources/hub/fetch.py",
        'return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256',
        "return True",
        "tests/sources/test_hub.py",
    ),
    # Templates
    _(
        "no dunder attributes",
        "templates/lint.py",
        'if name.startswith("__") else ""',
        'if False else ""',
        _LINT,
    ),
    _(
        "no include",
        "templates/lint.py",
        "case nodes.Include() | nodes.Import() | nodes.FromImport() | nodes.Extends():",
        "case nodes.Extends():",
        _LINT,
    ),
    _("no powers", "templates/lint.py", "case nodes.Pow():", "case nodes.FloorDiv():", _LINT),
    _(
        "no range in a range",
        "templates/lint.py",
        "case nodes.For() if counting and _is_range(node.iter):",
        "case nodes.For() if False:",
        _LINT,
    ),
    # What is served
    _(
        "keys of genai_config.json by allow-list",
        "backends/foundry/genai_config.py",
        "if key not in allowed:",
        "if False:",
        _SERVED,
    ),
    _(
        "no code in a served folder",
        "backends/foundry/served_files.py",
        "if not path.endswith(_SERVED_ENDINGS) or not _stays_inside(path):",
        "if False:",
        _SERVED,
    ),
    _(
        "no auto_map is served",
        "backends/foundry/served_files.py",
        '{"chat_template", "auto_map"}',
        '{"chat_template"}',
        _SERVED,
    ),
    _(
        "no code in an artifact",
        "store/tree.py",
        'not name.endswith(CODE) and ".so." not in name',
        "True",
        _STORE,
    ),
    _("no link in an artifact", "store/tree.py", "elif stat.S_ISREG(kind):", "elif True:", _STORE),
    _(
        "only a digest names a blob",
        "store/modelpack.py",
        "if not (is_safe_path(path) and DIGEST.fullmatch(digest)):",
        "if False:",
        _FUZZ,
    ),
    # What is deleted
    _(
        "nothing is pruned while a manifest is unreadable",
        "planner/prune.py",
        "if not desired.complete:\n        return Reason.MANIFESTS_UNREADABLE",
        "if False:\n        return Reason.MANIFESTS_UNREADABLE",
        _PLAN,
    ),
    _(
        "an empty declaration prunes nothing",
        "planner/prune.py",
        "if not desired.declared:",
        "if False:",
        _PLAN,
    ),
    _(
        "many at once want a confirmation",
        "planner/prune.py",
        "if len(gone) > MOST_UNCONFIRMED or 2 * len(gone) > len(gone | kept):",
        "if False:",
        _PLAN,
    ),
    _(
        "more than five want a confirmation",
        "planner/prune.py",
        "len(gone) > MOST_UNCONFIRMED or",
        "",
        _PLAN,
    ),
    _("what is protected stays", "planner/prune.py", "if orphan.protected:", "if False:", _PLAN),
    _(
        "what is suspended stays",
        "planner/prune.py",
        "if suspension is not None:",
        "if False:",
        "tests/cli/test_suspend.py",
    ),
    _(
        "only our folders",
        "planner/ownership.py",
        "return observed.owns(folder.marker.owner)",
        "return True",
        f"{_PLAN} tests/planner/test_plan_properties.py",
    ),
    _(
        "only our registrations",
        "planner/prune.py",
        "if observed.owns(registration.owner):",
        "if True:",
        _PLAN,
    ),
    _(
        "nothing outside trash and staging is freed",
        "host/durable.py",
        'raise ValueError(f"refusing to delete',
        'print(f"refusing to delete',
        _DURABLE,
    ),
    _(
        "an owner mark is never replaced",
        "host/owner.py",
        "if not MARK.fullmatch(mark):",
        "if False:",
        "tests/host/test_owner.py",
    ),
    _(
        "one writer",
        "host/lock.py",
        "if not _acquire(descriptor):",
        "if False:",
        "tests/host/test_lock.py",
    ),
    _(
        "a killed holder that nobody has waited for holds nothing",
        "host/lock.py",
        "return None if _has_ended(said.pid) else said",
        "return said",
        "tests/host/test_lock.py",
    ),
    _(
        "what somebody works on is no leftover",
        "operations/verify.py",
        "if not before and not self._is_at_work():",
        "if True:",
        "tests/operations/test_verify.py",
    ),
    # Whom the machine trusts
    _(
        "a configuration that others can write",
        "host/trusted_file.py",
        "if mode & stat.S_IWOTH or",
        "if",
        "tests/cli/test_configuration.py",
    ),
    _(
        "a pipe is not waited for",
        "host/reading.py",
        "if not stat.S_ISREG(status.st_mode):",
        "if False:",
        "tests/host/test_reading.py",
    ),
    _("a hook is signed", "daemon/hooks.py", "return bool(held) and all(held)", "return all(held)", _FACE),
    _(
        "every proof of a hook holds",
        "daemon/hooks.py",
        "return bool(held) and all(held)",
        "return any(held)",
        _FACE,
    ),
    _(
        "a head has an end",
        "daemon/http/handler.py",
        "if self._left < 0:",
        "if False:",
        _FUZZ,
    ),
    _("only our names are answered", "daemon/http/routes.py", "return path != HOOK", "return False", _FACE),
    # What is shown
    _(
        "control characters are shown",
        "domain/escape.py",
        "return _ACTED_ON.sub(_visible, text)",
        "return text",
        _ESCAPE,
    ),
    _(
        "no mention",
        "domain/escape.py",
        '.replace("@", "@\\u2060")',
        "",
        f"{_ESCAPE} tests/diff/test_comment.py",
    ),
    _("an annotation stays one line", "domain/escape.py", '.replace("\\n", "%0A")', "", _ESCAPE),
    _(
        "markup is text",
        "domain/escape.py",
        "return unlinked.translate(_MARKDOWN)",
        "return unlinked",
        f"{_ESCAPE} tests/diff/test_comment.py",
    ),
    # What other machines and models say
    _(
        "a field has a limit",
        "host/codec.py",
        "if not _is_line(found, text):",
        "if False:",
        "tests/fleet/test_inventory.py",
    ),
    _(
        "an unknown field is refused",
        "host/codec.py",
        'extra="forbid"',
        'extra="ignore"',
        "tests/fleet/test_inventory.py",
    ),
    _(
        "a foreign document is read strictly",
        "host/codec.py",
        ", strict=True",
        "",
        "tests/fleet/test_inventory.py",
    ),
    _(
        "a list has a limit",
        "host/codec.py",
        "if len(found) > items or not levels:",
        "if not levels:",
        "tests/fleet/test_inventory.py",
    ),
    _(
        "an answer in a report is refused",
        "fleet/inventory_form.py",
        "        if one.answers:\n",
        "        if False:\n",
        _TOLD,
    ),
    _(
        "a record of another variant is not trusted",
        "state/documents.py",
        'if self._variant and document.get("variant") != self._variant:',
        "if False:",
        "tests/state/test_records.py",
    ),
    _(
        "a pattern that compiles to too much is refused",
        "gates/golden.py",
        "options.max_mem = LARGEST_PATTERN",
        "options.max_mem = 1 << 30",
        _GOLDEN,
    ),
    # Gates: each judgement, and each number that one is made from
    _(
        "gate: a number below its bar fails",
        "domain/verdict.py",
        "good=number >= bar",
        "good=True",
        _GATES,
    ),
    _(
        "gate: a number above its bar fails",
        "domain/verdict.py",
        "good=number <= bar",
        "good=True",
        _GATES,
    ),
    _("gate: what fails rejects", "gates/judgement.py", "if verdict.rejects)", "if False)", _GATES),
    _(
        "gate: a warning does not reject",
        "gates/performance.py",
        'or self.on_fail == "reject"',
        "or True",
        _GATES,
    ),
    _(
        "gate: other texts are no fidelity",
        "gates/fidelity.py",
        "numbers.fidelity.prompts == TEXTS_DIGEST",
        "True",
        _GATES,
    ),
    _("gate: memory nobody tells", "gates/load.py", "elif not peak:", "elif False:", _GATES),
    _(
        "gate: growth nobody tells",
        "gates/endurance.py",
        "if endured.growth_bytes is None:",
        "if False:",
        _GATES,
    ),
    _(
        "gate: peak nobody tells",
        "gates/performance.py",
        "if not found:",
        "if False:",
        _GATES,
    ),
    _(
        "gate: a length that does not fit is open",
        "gates/performance.py",
        "if not tokens:",
        "if False:",
        _GATES,
    ),
    _(
        "gate: an answer that lacks leaves it open",
        "gates/prompts.py",
        "question not in known)",
        "False)",
        _GATES,
    ),
    _(
        "gate: growth is judged",
        "gates/endurance.py",
        "float(endured.growth_bytes), float(self.max_memory_growth)",
        "0.0, float(self.max_memory_growth)",
        _ENDURANCE,
    ),
    _(
        "gate: drift is judged",
        "gates/endurance.py",
        "drift = endured.drift,",
        "drift = 1.0,",
        _ENDURANCE,
    ),
    _("gate: crashes are judged", "gates/endurance.py", "float(len(crashed)), 0.0", "0.0, 0.0", _ENDURANCE),
    _(
        "gate: bad input may be left out",
        "gates/endurance.py",
        "        if self.bad_input:",
        "        if True:",
        _GATES,
    ),
    _(
        "endurance: growth is measured",
        "gates/endurance.py",
        "after - before if",
        "0 if",
        _ENDURANCE,
    ),
    _(
        "endurance: the warm-up does not count",
        "gates/endurance.py",
        "for number in range(WARM_UP):",
        "for number in range(0):",
        _ENDURANCE,
    ),
    _(
        "endurance: one length alone may drift",
        "gates/endurance.py",
        "if quarter >= FEWEST * kinds:",
        "if False:",
        _ENDURANCE,
    ),
    _(
        "endurance: like with like",
        "gates/endurance.py",
        "[(first[kind::kinds], last[kind::kinds])",
        "[(first[:], last[::kinds])",
        _ENDURANCE,
    ),
    _(
        "endurance: milliseconds are no drift",
        "gates/endurance.py",
        "LEAST = 0.02",
        "LEAST = 1e-9",
        _ENDURANCE,
    ),
    _(
        "endurance: a crash counts",
        "gates/endurance.py",
        "error.code in _CRASHES",
        "False",
        _ENDURANCE,
    ),
    _(
        "endurance: an error is none",
        "gates/endurance.py",
        "error.code in _CRASHES",
        "True",
        _ENDURANCE,
    ),
    _(
        "speed: a warm-up",
        "gates/performance.py",
        "        _ask(candidate, text, 2)\n",
        "",
        _ENDURANCE,
    ),
    _(
        "speed: the median",
        "gates/performance.py",
        "median(one.first_token_seconds for",
        "max(one.first_token_seconds for",
        _ENDURANCE,
    ),
    _("answers stay on the machine", "fleet/inventory_measured.py", "answers={}, ", "", _TOLD),
    _(
        "numbers of another runtime are not judged",
        "engine/runtime.py",
        "if digest not in outdated}",
        "if True}",
        "tests/cli/test_gate_results.py",
    ),
    _(
        "a record matches its digest",
        "host/sealed.py",
        "if data[:HEAD_LENGTH] != expected or not data.endswith(TAIL):",
        "if False:",
        "tests/state/test_records.py",
    ),
    _(
        "rot is found",
        "host/every_byte.py",
        "if self._remembered.known(path) not in (None, digest):",
        "if False:",
        _VERIFY,
    ),
    # Attacks
    _(
        "git has a bound of memory",
        "sources/git/runner.py",
        "        _bound_memory(started.proc.pid)\n",
        "",
        "tests/attacks/test_git.py",
    ),
    _(
        "the hub's token is not git's to know",
        "sources/git/runner.py",
        '    "HF_TOKEN": "",',
        "",
        "tests/host/test_arguments.py",
    ),
    _(
        "the hub's token goes to the hub alone",
        "sources/hub/worker.py",
        "if (url.scheme, url.host, url.port) != (hub.scheme, hub.host, hub.port):",
        "if False:",
        "tests/attacks/test_hub.py",
    ),
    _(
        "a listing of the hub ends",
        "sources/hub/worker.py",
        "itertools.islice(found, MOST_ENTRIES + 1)",
        "itertools.islice(found, 100 * MOST_ENTRIES)",
        "tests/attacks/test_hub.py",
    ),
    _(
        "an answer of the hub has a bound of memory",
        "sources/hub/worker.py",
        "    _bound_memory()\n    serve(",
        "    serve(",
        "tests/attacks/test_hub.py",
    ),
    _(
        "JSON acts on no terminal",
        "domain/escape.py",
        'return _ACTED_ON.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)',
        "return text",
        _ESCAPE,
    ),
    _(
        "what is printed of the hub's listing is safe to name",
        "manifests/hub_lock.py",
        "if not isinstance(path, str) or not is_safe(path):",
        "if not isinstance(path, str):",
        _LOCK,
    ),
    # What is deleted
    _(
        "a folder goes only with our mark in it",
        "engine/executor.py",
        "if marker is not None and marker.owner == machine.owner:\n        durable.free(",
        "if marker is not None:\n        durable.free(",
        _FOREIGN,
    ),
    _(
        "a link in the place of a folder is moved, not entered",
        "engine/executor.py",
        "    _clear_the_way(path, machine)\n    entry = next(",
        "    entry = next(",
        _FOREIGN,
    ),
    _(
        "a mark alone deletes nothing",
        "planner/prune.py",
        "& recorded.uncorroborated)\n    if confirm or not alone:",
        "& recorded.uncorroborated)\n    if True:",
        _FOREIGN,
    ),
    _(
        "a registration is taken away only with our mark on it",
        "engine/executor.py",
        "(r for r in machine.backend.registrations() if r.id == identity and r.owner == machine.owner), None",
        "(r for r in machine.backend.registrations() if r.id == identity), None",
        _FOREIGN,
    ),
    _(
        "what is in quarantine goes only after its time",
        "domain/quarantine.py",
        "return max(lives - held.seconds.get(name, 0.0), by_name, 0.0)",
        "return 0.0",
        "tests/engine/test_quarantine.py",
    ),
    _(
        "one look at the clock adds a day at most",
        "domain/quarantine.py",
        "step = min(max(passed, 0.0), LONGEST_STEP)",
        "step = max(passed, 0.0)",
        "tests/domain/test_quarantine.py",
    ),
    _(
        "only our own names leave quarantine",
        "domain/quarantine.py",
        "return name.isascii() and name.isdigit() and 16 <= len(name) <= 20",
        "return True",
        "tests/domain/test_quarantine.py",
    ),
    _(
        "gc enters no link",
        "operations/garbage.py",
        "if folder and not is_plain(self._machine.layout.root, path):",
        "if False:",
        "tests/operations/test_garbage.py",
    ),
    _(
        "a confirmation in git confirms only what it names",
        "planner/prune.py",
        "if confirm or gone <= desired.confirmed:",
        "if confirm or gone & desired.confirmed:",
        "tests/manifests/test_confirmation.py",
    ),
    _(
        "a confirmation names nothing that is declared",
        "manifests/confirmations.py",
        "        if name in declared:",
        "        if False:",
        "tests/manifests/test_confirmation.py",
    ),
    _(
        "what is protected makes no way",
        "planner/prune.py",
        "    if wanted.protected:",
        "    if False:",
        "tests/planner/test_plan_way.py",
    ),
    _(
        "nothing makes way where it is not declared",
        "planner/plan_delete_first.py",
        "if not (short.short_of and wanted.delete_first and mine)",
        "if not (short.short_of and mine)",
        "tests/planner/test_plan_way.py",
    ),
)
