"""The guards that trust rests on, each with the tests that must fail without it.

`# guard: NAME` in the source says where a guard stands (tests/mutants/tags.py). It is left out, or, where a third value
is given here, that stands instead.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    guard: str
    tests: str  # for pytest, separated by spaces
    instead: str = ""


_ = Mutant

_LOADER = "tests/manifests/test_loader.py"
_BAD = "tests/bad_inputs/test_manifests.py"
_FOLDERS = "tests/bad_inputs/test_model_folders.py"
_READY = "tests/bad_inputs/test_ready_onnx.py"
_GIT = "tests/sources/test_git_source.py"
_DISK = "tests/sources/test_manifests.py"
_PLAN = "tests/planner/test_plan.py"
_SERVED = "tests/backends/test_served_files.py"
_STORE = "tests/store/test_artifact_store.py"
_DURABLE = "tests/host/test_durable.py"
_DROPPED = "tests/backends/test_dropped_folders.py"
_FACE = "tests/daemon/test_face.py"
_LINT = "tests/templates/test_template_lint.py"
_ESCAPE = "tests/domain/test_escape.py"
_FUZZ = "tests/fuzz/test_fuzz.py"
_VERIFY = "tests/operations/test_verify.py"
_LOCK = "tests/manifests/test_lock_file.py"
_TOKENS = (
    "tests/gates/test_tokenizer.py::test_a_difference_rejects_and_names_the_shortest_text"
    " tests/gates/test_tokenizer.py::test_other_texts_are_no_measurement"
)
_REPORTS = "tests/machine_reports/test_verify.py"
_ROLLOUT = "tests/planner/test_rollout.py"
_ROLLOUT_GATE = "tests/engine/test_rollout_gate.py"
_GATES = "tests/gates/test_gates.py"
_REFERENCE = "tests/gates/test_reference.py"
_GOLDEN = "tests/gates/test_golden.py"
_TOLD = "tests/fleet/test_inventory_gates.py"
_EMBEDDINGS = "tests/gates/test_embeddings_gate.py"
_SPEECH = "tests/gates/test_speech_gate.py"
_ENDURANCE = "tests/gates/test_endurance.py"
_ARCHIVE = "tests/registry/test_archive.py"
_LIES = "tests/registry/test_lies.py"
_LFS = "tests/registry/test_lfs.py"
_FOREIGN = "tests/faults/test_foreign.py"
_SIGNED = "tests/registry/test_signatures.py"
_SOURCES = "tests/engine/test_source_trust.py"
_TRUST = "tests/engine/test_trust.py"
_AIR_GAP = "tests/operations/test_air_gap.py::test_what_nobody_trusted_signed_is_left_out"
_TRAFFIC = "tests/engine/test_traffic.py"

_POLICIES = "tests/manifests/test_policies.py"

MUTANTS = (
    _("what might be a manifest is not left out", "tests/sources/test_foreign_documents.py"),
    # policies
    _("a policy that cannot be read closes", _POLICIES),
    _("what a policy denies is not served", "tests/planner/test_plan_policy.py"),
    # YAML
    _("an alias is refused", _LOADER),
    _("an anchor is refused", _LOADER),
    _("a tag is refused", _LOADER),
    _("a merge key is refused", _LOADER),
    _("a duplicate key is refused", _LOADER),
    _("nesting is counted", _LOADER),
    _("values are counted", _LOADER),
    _("documents are counted", _LOADER),
    _("a directive is refused", _LOADER),
    # Paths
    _("a path stays in the repository", "tests/manifests/test_parse.py"),
    _("a link does not lead out", _DISK),
    _(
        "an absolute path is for the operator",
        "tests/manifests/test_parse.py",
        "roots = (context.checkout, *context.roots)",
    ),
    _("a linked manifest is not read", _DISK),
    _("a device is not opened", _DISK),
    _("a hard link is not read", _DISK),
    _("a large manifest is not read", _DISK),
    _("a linked folder is not entered", _DISK),
    # git
    _("ext:: is refused", f"{_GIT}::test_the_command_line_refuses_with_64"),
    _("only https and ssh", f"{_GIT}::test_an_address_that_git_could_misread_is_refused"),
    _("no password in a URL", f"{_GIT}::test_an_address_that_git_could_misread_is_refused"),
    _("no token in a URL", f"{_GIT}::test_an_address_that_git_could_misread_is_refused"),
    _("a branch is a plain name", f"{_GIT}::test_a_branch_that_is_no_plain_name_is_refused"),
    _("only descendants", f"{_GIT}::test_rewritten_history_is_refused_until_the_operator_allows_it", "return True"),
    _("signatures decide by exit code", f"{_GIT}::test_commits_are_followed_as_their_signatures_allow", 'return ""'),
    _("what we failed to read frees nothing", f"{_GIT}::test_a_read_in_which_we_fail_frees_nothing"),
    _("a link in git is no manifest", f"{_GIT}::test_what_is_no_plain_small_manifest_is_one_problem"),
    _("a submodule is no folder", f"{_GIT}::test_what_is_no_plain_small_manifest_is_one_problem"),
    _("redirects are not followed", f"{_GIT}::test_redirects_are_not_followed", '"true"'),
    # Model folders
    _("weights do not lie outside", _FOLDERS),
    _("a sparse file is no model", _FOLDERS),
    _("a pointer is not the file", _FOLDERS),
    _("a header ends inside its file", _FOLDERS),
    _("gate: what is made for a GPU does not run on the CPU", "tests/gates/test_provider.py"),
    _("no other provider is served than the release is for", _SERVED),
    _("what the configuration names is a graph", _READY),
    _("an empty file is no model", _READY),
    _("weights stay in the folder", _READY),
    _("the graph's weights are all there", _READY),
    _("the place of a tensor is a number", _READY),
    _("an attribute counts once", _READY),
    _("what was compiled is for the provider that computes it", _READY),
    _("what is compiled names no file by a way that is not known", _READY),
    _("OpenVINO's model is called as its graph is", _READY),
    _("a binary lies in the folder", _READY),
    _("OpenVINO computes nothing by the CPU that is made for the NPU", _READY),
    _("an option of a provider has a value that is known", _SERVED),
    _("each graph of a pipeline has its own settings", _SERVED),
    _("the graphs of a pipeline are for one provider", _SERVED),
    _("each provider is asked for once in a session", _SERVED),
    _("a graph that is apart from its decoder's provider is not moved to it", _SERVED),
    _("what is compiled is served for its provider alone", _SERVED, "takes = True"),
    _("what ends as a pickle is locked for a ready model alone", "tests/manifests/test_lock_file.py"),
    _("what is taken is what the plan saw", "tests/sources/test_ready_onnx.py"),
    _("a job's answer is not trusted", "tests/conversion/test_converter.py::test_a_lie_is_found_out"),
    _("what is converted asks for the provider of its recipe", "tests/conversion/test_checks.py"),
    _("rounded weights are read by an operator that the provider has", "tests/conversion/test_checks.py"),
    _("no base is served in the name of an adapter", "tests/conversion/test_checks.py"),
    _("only what lacks its provider is pushed without being loaded", "tests/operations/test_builder.py"),
    _("what was neither compared nor loaded is not pushed", "tests/operations/test_builder.py"),
    _("tensors do not overlap", _FOLDERS),
    _("a tensor has the size of its shape", _FOLDERS),
    _("tensors are counted", _FOLDERS),
    # Archives
    _("an archive holds plain files with names of their own", _ARCHIVE, "plain = True"),
    _("a document of an archive matches its digest", _ARCHIVE),
    _("a blob of an archive has the declared size", _ARCHIVE),
    _("an archive holds nothing that no document names", _ARCHIVE),
    _("a file of an archive stays in its folder", _ARCHIVE, "safe = True"),
    _("a blob of an archive matches its digest", _ARCHIVE, "is_right = True"),
    _(
        "a file of an artifact has one name on every system",
        f"{_ARCHIVE} tests/registry/test_artifact.py",
        "return True",
    ),
    _("a file of an archive matches its digest", _ARCHIVE),
    # OCI registries
    _("bytes from a registry match their digest", _LIES, "is_right = True"),
    _("a manifest matches its digest", _LIES),
    _("a blob of another size", _LIES),
    _("a small blob matches its digest", _LIES),
    _("a password goes to its own host", _LIES, 'own = {"Authorization": authorization} if authorization else {}'),
    _("no password to a token server over a readable connection", _LIES),
    _("the head of an answer comes soon", _LIES),
    _("a small answer comes soon", _LIES),
    _("a trickle is no download, over many connections neither", _LIES),
    _("a registry that always begins anew is given up", _LIES),
    _("a challenge is answered to the registry itself", _LIES, "is_ours = True"),
    _(
        "no password over a readable connection",
        "tests/registry/test_access.py",
        "return any(place.host == host for place in places)",
    ),
    _("a password that names no host is for a configured registry", "tests/registry/test_access.py"),
    _("a file of a registry that is not locked is the manifest's", "tests/registry/test_model_source.py"),
    _("a build key names its recipe", "tests/registry/test_artifact.py"),
    _("a tag is no proof", "tests/registry/test_transfer.py"),
    # Git LFS
    _("other secrets go to their own host too", _LFS, "more = secrets"),
    _("nobody elsewhere sends us to ourselves", _LFS, "return False"),
    _("a redirect from elsewhere does not lead to this machine", _LFS),
    _("an address that is named is read alike by all who read it", _LFS),
    _("a pinned host is trusted by its own certificates alone", _LFS),
    _("the token of a repository goes to its server alone", _LFS, "is_ours = True"),
    _("an object comes over TLS", _LFS),
    _("a server elsewhere names no address of this machine", _LFS),
    _("a header of an answer is one line", _LFS),
    _("what Git LFS keeps has the rule of its folder", _SOURCES),
    # Signed builds
    _("what only names a key is not signed by it", _SIGNED),
    _("a signature covers every byte", _SIGNED, "return True"),
    _("only a statement counts", _SIGNED),
    _("only a trusted key counts", _SIGNED, "signer = next(iter(self.counting), None)"),
    _("a key counts until its last day", _SIGNED, "True"),
    _("only a provenance counts", _SIGNED),
    _("a statement is about this artifact", _SIGNED),
    _("a statement is about this build key", _SIGNED),
    _("a statement has this recipe", _SIGNED),
    _("numbers count for their build key", "tests/engine/test_registries.py", "fits = True"),
    _("what is revoked is refused", _TRUST, 'named = ""'),
    _("what is refused is not offered", _TRUST),
    _("where a stored artifact comes from is not forgotten", _TRUST, "dropped = others[:-ORIGINS_KEPT]"),
    _("numbers are signed too", _TRUST),
    _("reference answers are those that were signed", _TRUST, "True"),
    _("a reference counts for its build key", _REFERENCE, "return found"),
    _("a reference has its places within its text", _REFERENCE),
    _("a token that the model does not know is not read", _REFERENCE, "return True"),
    _("what comes from elsewhere keeps to the strictest rule", _TRUST, "return NO_RULE"),
    _("a stored artifact keeps to the policy of today", _TRUST, "True"),
    _("what is refused does not serve anew", "tests/planner/test_plan_trust.py", "refused = False"),
    _("an archive brings nothing that is refused", _AIR_GAP, "return False"),
    _("numbers of an archive are signed too", _AIR_GAP),
    # Signed sources
    _("what decides a conversion is signed", _SOURCES),
    _("only a model signature counts for a model", _SOURCES),
    _("the list of files is the one that its subject names", _SOURCES),
    _("a file that was not signed is refused", _SOURCES),
    _("a file has the digest that was signed", _SOURCES),
    _("a signed file is not taken away", _SOURCES),
    _("a source is signed by a key that counts", _SOURCES, "True"),
    _("weights come after their signature", _SOURCES),
    _("a source that no rule covers is refused", _SOURCES, "otherwise = NO_RULE"),
    _("a source that is not trusted is not converted", _SOURCES, "self.warnings.append(problem)"),
    _("each registry has a rule of trust", "tests/manifests/test_machine_config.py"),
    _("a claim runs out", "tests/registry/test_claims.py", "return claim"),
    # The lock file and the hub
    _("a locked file has a safe name", _LOCK),
    _("a source is locked once", _FUZZ),
    _("facts are of the locked bytes", "tests/cli/test_lock.py"),
    _("the facts of a source are those of a model", "tests/cli/test_lock.py"),
    _("bytes from the hub match their digest", "tests/sources/test_hub.py", "return True"),
    # Templates
    _("no dunder attributes", _LINT, 'return ""'),
    _("no include", _LINT),
    _("no powers", _LINT),
    _("no range in a range", _LINT),
    # What is served
    _("keys of genai_config.json by allow-list", _SERVED),
    _("what a graph for chat is given beside it is refused", _READY),
    _("what hears runs on the CPU", _READY),
    _("what hears follows one beam", _READY),
    _("a step that the runtime takes is one of Whisper's", _READY),
    _("no code in a served folder", _SERVED),
    _(
        "no auto_map is served",
        _SERVED,
        'return {key: value for key, value in config.items() if key != "chat_template"}',
    ),
    _("no code in an artifact", _STORE, "return encodable and is_safe_path(path)"),
    _("no link in an artifact", _STORE, "True"),
    _("only a digest names a blob", _FUZZ),
    # What is deleted
    _("nothing is pruned while a manifest is unreadable", _PLAN),
    _("an empty declaration prunes nothing", _PLAN),
    _("many at once want a confirmation", _PLAN),
    _("more than five want a confirmation", _PLAN),
    _("another precision serves until one that is declared does", "tests/planner/test_precision_choice.py"),
    _(
        "an outgoing precision makes way only where no other one comes",
        "tests/planner/test_plan_way.py",
        "others = [other.variant for other in outgoing if other.model == model]",
    ),
    _("what is protected stays", _PLAN),
    _("no provider is downloaded", "tests/backends/test_provider_libraries.py"),
    _("what is suspended stays", "tests/cli/test_suspend.py"),
    _("only our folders", f"{_PLAN} tests/planner/test_plan_properties.py", "return True"),
    _("only our registrations", _PLAN, "True"),
    _("what others put into our folder stays", _DROPPED, "True"),
    _("our folders are no links", _DROPPED),
    _("a folder without our mark is another's", _DROPPED),
    _("another's name stays in its runtime", "tests/backends/test_together.py", "True"),
    _("no two runtimes on one cache", "tests/manifests/test_machine_config.py"),
    _("nothing outside trash and staging is freed", _DURABLE),
    _("an owner mark is never replaced", "tests/host/test_owner.py"),
    _("one writer", "tests/host/test_lock.py"),
    _("a killed holder that is not reaped yet holds nothing", "tests/host/test_lock.py", "return written"),
    _("what another process works on is no leftover", "tests/operations/test_verify.py", "True"),
    # Whom the machine trusts
    _("a configuration that others can write", "tests/cli/test_configuration.py"),
    _("a pipe is not waited for", "tests/host/test_reading.py"),
    _("a hook is signed", _FACE, "return all(held)"),
    _("every proof of a hook holds", _FACE, "return any(held)"),
    _("a head has an end", _FUZZ),
    _("only our names are answered", _FACE, "return False"),
    _("another site gets nothing of the page", "tests/daemon/test_page.py", "False"),
    _("streams leave threads to others", "tests/daemon/test_page.py", "False"),
    _("the page is for this machine only", "tests/daemon/test_page.py", "address is None"),
    # What is shown
    _("a drawing holds shapes and text only", "tests/daemon/test_page_source.py", "return kept"),
    _("control characters are shown", _ESCAPE, "return text"),
    _("a page shows control characters", "tests/reports/test_html.py", "return held"),
    _(
        "no mention",
        f"{_ESCAPE} tests/diff/test_comment.py",
        r'unlinked = _WWW.sub("\\1\u2060.", line.replace("://", ":\u2060//"))',
    ),
    _("an annotation stays one line", _ESCAPE, r'return for_terminal(text).replace("%", "%25").replace("\r", "%0D")'),
    _("markup is text", f"{_ESCAPE} tests/diff/test_comment.py", "return unlinked"),
    # What other machines and models say
    _("a field has a limit", "tests/fleet/test_inventory.py"),
    _(
        "an unknown field is refused",
        "tests/fleet/test_inventory.py",
        'config = ConfigDict(extra="ignore", allow_inf_nan=False, ser_json_inf_nan="constants")',
    ),
    _(
        "a foreign document is read strictly",
        "tests/fleet/test_inventory.py",
        'return self._checked(lambda: self._adapter.validate_json(b"[%s]" % data))',
    ),
    _("a list has a limit", "tests/fleet/test_inventory.py"),
    _("an answer in a report is refused", _TOLD),
    _("a record of another variant is not trusted", "tests/state/test_records.py"),
    _("a pattern that compiles to too much is refused", _GOLDEN, "options.max_mem = 1 << 30"),
    # Gates: each judgement, and each number that one is made from
    _("gate: a number below its bar fails", _GATES, "return compared(gate, measure, number, bar, message, good=True)"),
    _("gate: a number above its bar fails", _GATES, "return compared(gate, measure, number, bar, message, good=True)"),
    _("gate: what fails rejects", _GATES, "return ()"),
    _("gate: a warning does not reject", _GATES, "True"),
    _("gate: other texts are no fidelity", _GATES, "return numbers.fidelity is not None"),
    _("gate: a text that is read otherwise fails", _TOKENS, 'verdict = compared("", "", 0.0, 0.0, "", good=True)'),
    _("gate: other texts are no tokenizer", _TOKENS, "return found"),
    _("gate: another method is no reference", _REFERENCE, "found is None"),
    _("gate: another method is no decoding", "tests/gates/test_decoding.py", "return found"),
    _("gate: unknown memory is open", _GATES),
    _("gate: unknown growth is open", _GATES),
    _("gate: an unknown peak is open", _GATES),
    _("gate: a length that does not fit is open", _GATES),
    _("gate: an answer that lacks leaves it open", _GATES, "return ()"),
    _("gate: a cosine that lacks leaves it open", _EMBEDDINGS, "return False"),
    _("gate: an embedding of another length fails", _EMBEDDINGS, "return compared('', '', 0.0, 0.0, '', good=True)"),
    _("gate: an embedding is a direction, and each has the same length", _EMBEDDINGS),
    _("gate: a cosine below its bar fails", _EMBEDDINGS, "short = False"),
    _("gate: the nearest text is the one that was named", _EMBEDDINGS, "True"),
    _("gate: two texts have two embeddings", _EMBEDDINGS),
    _("gate: a recording that was not heard leaves it open", _SPEECH, "return False"),
    _("gate: other words fail", _SPEECH, "right = True"),
    _("what the SDK threw away comes again", "tests/sources/test_catalog_download.py"),
    _("what the SDK tells of late is no download that began anew", "tests/sources/test_catalog_download.py"),
    _(
        "a model goes not on without its gates where another was told what is wrong with them",
        "tests/manifests/test_gate_rules.py",
    ),
    _("the runtime computes with a Whisper's numbers only", _READY),
    _("a tokenizer without added tokens lacks those that ask", _READY),
    _("golden files are bounded together", "tests/manifests/test_gate_rules.py"),
    _("what a file manager writes is no damage", "tests/backends/test_serving_folder.py", "True"),
    _("a copy is read, whatever its stamp says", _DROPPED),
    _("gate: growth is judged", _ENDURANCE, "growth, bar = 0.0, float(self.max_memory_growth)"),
    _("gate: drift is judged", _ENDURANCE, "drift = 1.0, self.max_latency_drift"),
    _("gate: crashes are judged", _ENDURANCE),
    _("gate: bad input may be left out", _GATES, "True"),
    _("endurance: growth is measured", _ENDURANCE, "0 if before and after else None"),
    _("endurance: the warm-up does not count", _ENDURANCE),
    _("endurance: one length alone may drift", _ENDURANCE),
    _("endurance: like with like", _ENDURANCE, "pairs += [(first, last[kind::kinds]) for kind in range(kinds)]"),
    _("endurance: milliseconds are no drift", _ENDURANCE, "LEAST = 1e-9"),
    _("endurance: a crash counts", _ENDURANCE, "return False"),
    _("endurance: an error is none", _ENDURANCE, "return True"),
    _("speed: a warm-up", _ENDURANCE),
    _("speed: the median", _ENDURANCE, "max(one.first_token_seconds for one in tries)"),
    _("answers stay on the machine", _TOLD, "one.answers"),
    _("gate: numbers that are not there prove nothing", "tests/engine/test_registries.py"),
    _("numbers count for the artifact that they are about", "tests/engine/test_registries.py", "fits = True"),
    _("numbers of other bytes are forgotten", "tests/engine/test_gate_passes.py", "releases = held.releases"),
    _("numbers of another runtime are not judged", "tests/cli/test_gate_results.py", "kept = dict(known.releases)"),
    _("a record matches its digest", "tests/state/test_records.py"),
    _("rot is found", _VERIFY),
    # Attacks
    _("git has a bound of memory", "tests/attacks/test_git.py"),
    _("the hub's token is not git's to know", "tests/host/test_arguments.py"),
    _("the hub's token goes to the hub alone", "tests/attacks/test_hub.py"),
    _(
        "a listing of the hub ends",
        "tests/attacks/test_hub.py",
        "entries = list(itertools.islice(found, 100 * MOST_ENTRIES))",
    ),
    _("an answer of the hub has a bound of memory", "tests/attacks/test_hub.py"),
    _("JSON acts on no terminal", _ESCAPE, "return text"),
    _("what is printed of the hub's listing is safe to name", _LOCK),
    # What is deleted
    _("a folder goes only with our mark in it", _FOREIGN, "marker is not None"),
    _("a link in the place of a folder is moved, not entered", _FOREIGN),
    _("a mark alone deletes nothing", _FOREIGN),
    _(
        "a registration is taken away only with our mark on it",
        _FOREIGN,
        "registered = any(r.id == identity for r in machine.backend.registrations())",
    ),
    _("what is in quarantine goes only after its time", "tests/engine/test_quarantine.py", "return 0.0"),
    _("one look at the clock adds a day at most", "tests/domain/test_quarantine.py", "step = max(passed, 0.0)"),
    _("only our own names leave quarantine", "tests/domain/test_quarantine.py", "return True"),
    _("gc enters no link", "tests/operations/test_garbage.py"),
    _(
        "a confirmation in git confirms only what it names",
        "tests/manifests/test_confirmation.py",
        "confirm or gone & desired.confirmed",
    ),
    _("a confirmation names nothing that is declared", "tests/manifests/test_confirmation.py"),
    _("what is protected makes no way", "tests/planner/test_plan_way.py"),
    _(
        "nothing makes way where it is not declared",
        "tests/planner/test_plan_way.py",
        "not (short.short_of and going) or why_artifacts_stay(self.desired, observed)",
    ),
    # Reports of machines
    _("a report that travels has a limit", _REPORTS),
    _("a report that is worth more stays", "tests/operations/test_fleet.py", "worse, better = other, one"),
    _("data of a page cannot end its element", "tests/reports/test_fleet_view.py"),
    _("a report's signature is about its bytes", _REPORTS),
    _("a report counts by its machine's own key", _REPORTS, "True"),
    _("an old report is not taken for a new one", _REPORTS),
    _("only a statement about a report counts", _REPORTS),
    _("what a manifest embeds matches its digest", "tests/machine_reports/test_places.py"),
    # Rollouts
    _("a later ring begins nothing", _ROLLOUT),
    _("one machine's clock opens no ring", _ROLLOUT),
    _("an aborted release goes no further", _ROLLOUT),
    _("what has stopped once stays stopped", _ROLLOUT),
    _("who refuses is read, drawn or not", _ROLLOUT_GATE, "refusing = ()"),
    _("who says to refuse it and was not read opens no ring", _ROLLOUT),
    _("a look is about the release", _ROLLOUT_GATE, "is_about = True"),
    _("only a verified report counts", _ROLLOUT_GATE, "is_verified = True"),
    _("a report speaks for its own machine", "tests/engine/test_ring_reader.py"),
    _("going back to what served here waits for no ring", _ROLLOUT_GATE, "return True"),
    # When, and how much
    _("nothing comes beyond the daily budget", _TRAFFIC),
    _("a download ends with its window", _TRAFFIC),
    _("what serves changes in its window only", "tests/planner/test_plan_windows.py", "True"),
)
