# ruff: noqa: E501 - a table
"""Every bad input that the design names, with the tests that show what becomes of it. docs/bad-inputs.md is made of this.

A test is `file::function`; `manifests::group::case` and `folders::case` are rows of the tables beside this file, whose
codes are read from there. Other codes are written here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_GIT = "tests/sources/test_git_source.py::test_"
_SERVED = "tests/backends/test_served_files.py::test_"
_CONVERTER = "tests/conversion/test_converter.py::test_"
_ARTIFACT = "tests/bad_inputs/test_artifacts.py::test_a_tensor_that_lies_elsewhere_is_refused"
_ENVIRONMENT = (
    "tests/bad_inputs/test_environment.py::test_plan_status_and_apply_are_as_always_and_umask_000_opens_nothing"
)
_DAEMON = "tests/bad_inputs/test_environment.py::test_the_daemon_runs_in_all_of_them_at_once"
_KEPT = "tests/manifests/test_loader.py::test_a_plain_scalar_keeps_the_text_that_was_written"
_FACE = "tests/daemon/test_face.py::test_"
_BAD_GATES = "tests/bad_inputs/test_gates.py::test_"
_ATTACKS = "tests/attacks/test_"
_FUZZ = "tests/fuzz/test_fuzz.py::test_"
_REGISTRY = "tests/registry/test_"
_PLAN = "tests/planner/test_plan.py::test_what_is_not_done_is_held_with_its_reason"


@dataclass(frozen=True)
class Item:
    group: str
    what: str
    tests: tuple[str, ...]
    codes: str = ""  # "" when the tables say them


def _rows(group: str, table: str, *cases: str) -> Iterator[Item]:
    """`what=case` where the names differ."""
    for written in cases:
        what, _, case = written.partition(" = ")
        yield Item(group, what, (f"{table}::{case or what}",))


def _one(group: str, what: str, codes: str, *tests: str) -> Item:
    return Item(group, what, tests, codes)


def _environments(*names: str) -> Iterator[Item]:
    for name in names:
        yield _one("Environment", name, "as always", _ENVIRONMENT, _DAEMON)


def _gates(*written: str) -> Iterator[Item]:
    for what, _, codes in (one.partition(" = ") for one in written):
        yield _one("Gates", what, codes, f"{_BAD_GATES}what_is_written_wrongly_is_one_problem_each")


def _candidates(*written: str) -> Iterator[Item]:
    """Each is tried once and remembered; what hangs is killed."""
    for what, _, codes in (one.partition(" = ") for one in written):
        more = (f"{_BAD_GATES}what_hung_was_killed",) if codes == "RuntimeHung" else ()
        yield _one(
            "Gates",
            what,
            codes,
            f"{_BAD_GATES}what_never_passes_is_tried_once_told_once_and_not_served",
            f"{_BAD_GATES}what_is_beside_them_is_served_and_twenty_more_passes_do_nothing",
            *more,
        )


ITEMS = (
    *_rows(
        "YAML", "manifests::yaml", "merge bomb", "alias bomb", "10^5 nested brackets = 100,000 nested brackets", "1,000 nested maps",
        "recursive alias", "duplicate key", "`!!python/object` = python object", "`%YAML 1.1` = YAML 1.1 directive", "complex key",
        "UTF-16", "Latin-1", "control characters, raw = raw control characters", "control characters, escaped = escaped control characters",
        "100 MB file", "20 MB scalar", "20,000 documents", "200,000 keys",
    ),
    _one("YAML", "`name: no`, `on:`, `version: 1.10`, `12:30`, `014`, `1_000`, `~` stay text", "none", _KEPT,
         "tests/bad_inputs/test_manifests.py::test_text_that_yaml_likes_to_change_is_not_changed"),
    *_rows("YAML", "manifests::values", "`.inf` in a number = infinity", "`.nan` in a number = not a number", "unknown field", "wrong case",
           "wrong type", "unknown kind", "null required"),
    _one("YAML", "empty file, CRLF", "none", "tests/bad_inputs/test_manifests.py::test_what_is_not_wrong_is_not_said"),
    *_rows("Names", "manifests::names", "../../etc", "/x", "..", 'empty = ""', "a/b", r"a\b = 'a\b'", "a:b = 'a:b'", "con", "nul", "com1",
           "trailing dot = a.", "-rf", "$(id)", "too long = " + "a" * 41, "the same name twice"),
    _one("Names", "a name Foundry Local uses itself", "InvalidValue, NameTaken", "manifests::names::phi-4-generic-cpu", _PLAN),
    *_rows("Paths", "manifests::paths", "template outside the allowed roots = template outside", "source outside the allowed roots = source above the repository",
           "symlinked manifest", "symlinked folder", "gitlink", "FIFO", "device", "hard link to a host file", "sparse 1 TiB file"),
    _one("Manifests", "documents of other programs, a kustomization, files in `.reconcilerignore`", "DocumentsLeftOut, none",
         "tests/sources/test_foreign_documents.py::test_documents_of_other_programs",
         "tests/sources/test_foreign_documents.py::test_files_that_are_ignored"),
    _one("Manifests", "what might be one of ours under another apiVersion", "UnknownApiVersion, NotAManifest",
         "tests/sources/test_foreign_documents.py::test_what_might_be_ours_stays_a_problem"),
    _one("Manifests", "a list of ignored files that is none", "IgnoreInvalid",
         "tests/sources/test_foreign_documents.py::test_a_list_that_is_wrong_ignores_nothing"),
    _one("Manifests", "fields that Kubernetes has: `metadata.namespace`, `status`", "UnknownField",
         "tests/manifests/test_schema.py::test_what_people_know_from_kubernetes"),
    _one("Manifests", "a thousand of them that share a source that is not there", "SourceUnreadable",
         "tests/reports/test_by_cause.py::test_a_thousand_manifests_that_share_a_bad_source"),
    *_rows("Policies", "manifests::policies", "a licence that is on no list", "a licence of the hub without LicenseRef",
           "an expression in the place of a licence", "a licence of 120 brackets", "allow and deny", "neither allow nor deny", "nothing allowed",
           "an unknown gate", "a source with a scheme", "a size without a unit", "signatures of nothing", "a selector that no label fits",
           "a rule that is misspelt", "an exception from a policy"),
    _one("Policies", "one that cannot be read, whatever is wrong with it", "as above; it denies",
         "tests/manifests/test_policies.py::test_a_policy_that_cannot_be_read_closes",
         "tests/engine/test_policies.py::test_a_broken_policy_harms_itself_and_closes"),
    _one("Policies", "a licence in a model card that is no expression, or ends the parser", "PolicyDenied",
         "tests/domain/test_policy.py::test_licenses"),
    _one("Git", "`ext::sh -c ...`, `--upload-pack=x`, `ssh://-oProxyCommand=x`, `git://`, URL with a password", "GitUrl",
         f"{_GIT}an_address_that_git_could_misread_is_refused"),
    _one("Git", "branch `-f`, `+main`, `a..b`, `HEAD`", "GitBranch", f"{_GIT}a_branch_that_is_no_plain_name_is_refused"),
    _one("Git", "a pack that inflates", "FileTooLarge, GitTooLarge", f"{_GIT}what_is_no_plain_small_manifest_is_one_problem",
         f"{_GIT}output_and_disk_of_a_command_are_bounded"),
    _one("Git", "a pack of some hundred bytes whose deltas stand for a gibibyte", "FetchFailed",
         f"{_ATTACKS}git.py::test_a_pack_of_some_bytes_that_inflates_to_a_gibibyte"),
    _one("Git", "10^10 paths", "TooManyFiles", f"{_GIT}what_is_no_plain_small_manifest_is_one_problem"),
    _one("Git", "empty repository", "BranchMissing", f"{_GIT}an_empty_repository_is_an_error_with_a_hint"),
    _one("Git", "branch deleted", "BranchMissing", f"{_GIT}a_deleted_branch_is_said_and_the_accepted_commit_stays"),
    _one("Git", "force push", "HistoryRewritten", f"{_GIT}rewritten_history_is_refused_until_the_operator_allows_it"),
    *_rows("Templates", "manifests::templates", "`{{ ''.__class__ }}` = class", "`lipsum.__globals__` = globals", "nested range loops",
           "9**9**9", "300 nested ifs", "`{% include %}` = include", "65 KiB", "missing `messages` = missing messages"),
    _one("Model files", "external data `../secret`, `/etc/passwd`, `C:\\x`, negative offsets", "ConversionFailed", _ARTIFACT),
    *_rows("Model files", "folders", "overlapping offsets = tensors that overlap", "header of 2^63 = a header of 2^63 bytes",
           "header beyond the file = weights cut in the header", "pickle only = pickles only", "GGUF only",
           "an ONNX model", "an index that leads out", "an index that names a pickle", "a tensor of an unknown type",
           "weights linked from outside", "a pipe instead of weights", "a sparse terabyte", "a header of 25 MB"),
    _one("Model files", "a tokenizer that the runtime cannot load: Unigram, WordPiece, a possessive quantifier", "TokenizerUnsupported",
         "tests/gates/test_tokenizer.py::test_what_cannot_be_read_is_known_before"),
    _one("Model files", "a tokenizer that the runtime reads otherwise", "GateFailed",
         "tests/gates/test_tokenizer.py::test_what_is_read_otherwise_is_shown"),
    _one("Model files", "no end token anywhere", "EndTokenMissing",
         "tests/sources/test_model_folder.py::test_a_source_without_any_end_token_is_refused"),
    _one("Model files", "`task: embeddings` of a graph that gives no `hidden_states`", "EmbeddingOutputMissing",
         "tests/manifests/test_task_rules.py::test_a_graph_without_hidden_states_embeds_nothing"),
    _one("Model files", "a tokenizer beside an adapter, with a token beyond the base's vocabulary", "AdapterTokensForeign",
         "tests/cli/test_validate.py::test_what_a_fine_tune_was_trained_with_goes_before_its_base"),
    _one("Model files", "`custom_ops_library` and other keys of genai_config.json that run something", "GenaiConfigRefused",
         f"{_SERVED}anything_else_is_refused_by_name"),
    _one("Model files", "options of a provider that name libraries, directories or files", "GenaiConfigRefused",
         f"{_SERVED}options_of_a_provider_have_values_that_are_known"),
    _one("Model files", "a part of a graph that was compiled, and names a file elsewhere", "CompiledRefused",
         "tests/bad_inputs/test_ready_onnx.py::test_what_is_compiled_in_a_way_that_is_not_known_has_one_code"),
    _one("Model files", "`.so`, `.dll`, `.py`, `.pkl`, `.bin` in what a converter made", "ConversionFailed",
         "tests/host/test_cage.py::test_only_plain_files_of_an_artifact_are_taken"),
    _one("Model files", "`auto_map`", "CustomCodeIgnored", "tests/sources/test_model_folder.py::test_custom_code_is_left_behind_with_a_warning",
         "tests/conversion/test_conversion.py::test_custom_code_is_never_run", f"{_SERVED}tokenizer_config_loses_its_template_and_nothing_else"),
    _one("Model files", "a converter that exits 0 with missing, empty or truncated output, or is OOM-killed", "ConversionFailed, ConverterLost",
         f"{_CONVERTER}a_lie_is_found_out", f"{_CONVERTER}a_dead_worker_fails_its_conversion_and_is_replaced"),
    _one("Model files", "NaN", "ConversionFailed", "tests/conversion/test_conversion.py::test_what_olive_would_swallow_is_said"),
    _one("Model files", "a converter that hangs", "ConversionTimedOut",
         f"{_CONVERTER}a_hanging_converter_is_ended_in_time_and_the_next_finds_a_worker"),
    _one("Model files", "a converter that prints 10 GB", "ConversionTimedOut", f"{_CONVERTER}a_converter_that_prints_much_fills_no_disk",
         f"{_CONVERTER}a_converter_that_prints_endlessly_is_ended_in_time"),
    _one("Output", "`::stop-commands::`, ESC sequences", "escaped", "tests/domain/test_escape.py::test_a_message_begins_no_command",
         "tests/diff/test_comment.py::test_hostile_text_is_no_command_of_the_workflow",
         "tests/bad_inputs/test_model_folders.py::test_no_name_in_a_folder_can_begin_a_line"),
    _one("Output", "`@everyone`, images, `<!--`, code-fence breaks, `|` in tables", "escaped",
         "tests/diff/test_comment.py::test_hostile_text_does_not_escape_the_comment",
         "manifests::values::a value that talks to GitHub and the terminal"),
    *_environments("HOME unset", "umask 000", "GIT_DIR set", "PYTHONPATH set", "no UTF-8 locale", "TMPDIR on another file system"),
    _one("Prune rails", "an empty declaration", "NothingDeclared", _PLAN),
    _one("Prune rails", "an unreadable manifest", "ManifestsUnreadable", _PLAN),
    _one("Prune rails", "more than half, or more than five, at once", "ConfirmationNeeded",
         "tests/planner/test_plan.py::test_six_models_at_once_want_a_confirmation_even_out_of_twenty", _PLAN),
    *_gates("a gate file that is missing = PathMissing", "a gate file above the repository = PathOutside", "a gate file that is a folder = PathKind",
            "a gate file of ten thousand lines = Unreadable, GoldenPrompts", "an invalid regex = PatternRefused",
            "an empty gate list written on purpose = GatesEmpty, InvalidValue", "more right answers than golden prompts = GateUnreachable",
            "a huge `maxTokens`, `.nan` or `.inf` as a bar = InvalidValue"),
    *_candidates("a bar that can never be met = GateFailed", "a golden prompt longer than the context = GateFailed",
                 "a template that fails to render = TemplateRefused", "a runtime that hangs while loading = RuntimeHung"),
    _one("Since then", "a lock file that is none, is huge, lies about names", "LockInvalid",
         "tests/manifests/test_lock_file.py::test_a_lock_that_is_none_is_refused_with_one_line"),
    _one("Since then", "a hostile inventory", "InventoryInvalid",
         "tests/fleet/test_inventory.py::test_a_hostile_inventory_is_one_clear_error"),
    _one("Since then", "a machine configuration that is wrong, or that others can write", "NotTrusted, as in manifests",
         "tests/manifests/test_machine_config.py::test_what_is_wrong_is_said_with_its_place",
         "tests/cli/test_configuration.py::test_what_others_can_write_is_not_believed"),
    _one("Since then", "a pattern of a gate: slow by design, too large, or not RE2", "PatternRefused",
         f"{_FUZZ}a_pattern_with_many_ways_to_match_ends_soon", "tests/gates/test_golden.py::test_patterns_that_are_not_taken"),
    _one("Since then", "a schema of a gate: references, 900 levels, wrong kinds", "SchemaRefused",
         "tests/gates/test_golden.py::test_schemas_that_would_be_half_ignored", f"{_FUZZ}a_schema_of_many_levels_is_not_taken"),
    _one("Since then", "a recording that is none, or whose head claims what is not there", "RecordingRefused",
         "tests/gates/test_recording.py::test_what_is_not_heard_is_refused",
         "tests/gates/test_recording.py::test_a_head_is_never_an_error_whatever_it_claims"),
    _one("Since then", "a file of golden prompts that is none", "GoldenPrompts",
         "tests/manifests/test_gate_rules.py::test_a_file_of_golden_prompts_is_judged_line_by_line"),
    _one("Since then", "a bad nodeSelector", "InvalidValue", "tests/manifests/test_selector.py::test_a_bad_selector_is_one_clear_problem"),
    _one("Since then", "nonsense, floods and slow clients at the daemon's address", "400, 408, 413, 429, 431",
         f"{_FACE}nonsense_harms_nobody", f"{_FACE}a_client_that_speaks_a_byte_at_a_time_is_cut_off",
         f"{_FACE}a_body_that_is_too_long_or_of_unknown_length", f"{_FACE}hooks_come_at_a_rate", f"{_FUZZ}a_header_of_spaces_takes_no_time"),
    _one("Since then", "paths, smuggled requests and replays at the daemon's address", "202, 400, 404, 429",
         f"{_ATTACKS}face.py::test_no_path_leads_anywhere", f"{_ATTACKS}face.py::test_one_connection_is_one_request",
         f"{_ATTACKS}face.py::test_a_hook_that_was_overheard_costs_a_look_and_no_more"),
    _one("Since then", "a hub whose listings, answers or files have no end", "HubInvalid, DigestMismatch",
         f"{_ATTACKS}hub.py::test_a_listing_without_an_end", f"{_ATTACKS}hub.py::test_an_answer_that_does_not_fit",
         f"{_ATTACKS}hub.py::test_a_file_that_unpacks_to_more_than_was_said"),
    _one("Since then", "a hub that sends us, or the token, elsewhere", "HubUnreachable, FetchFailed",
         f"{_ATTACKS}hub.py::test_the_token_does_not_follow_a_listing_to_another_host",
         f"{_ATTACKS}hub.py::test_the_token_does_not_follow_a_redirect_to_another_host",
         f"{_ATTACKS}hub.py::test_a_redirect_to_what_is_no_web_address"),
    _one("Since then", "a registry whose blobs are cut, truncated, longer, swapped, slow or without end", "DigestMismatch, RegistryUnreachable",
         f"{_REGISTRY}lies.py::test_a_cut_goes_on_where_it_stopped", f"{_REGISTRY}lies.py::test_other_bytes_are_deleted_and_named",
         f"{_REGISTRY}lies.py::test_another_size_is_refused_before_it_comes", f"{_REGISTRY}lies.py::test_a_trickle_is_given_up_and_kept"),
    _one("Since then", "a registry that sends us, or the password, elsewhere", "RegistryDenied, RegistryUnreachable",
         f"{_REGISTRY}lies.py::test_a_password_does_not_follow_a_redirect_to_another_host",
         f"{_REGISTRY}lies.py::test_a_password_goes_to_no_token_server_without_tls",
         f"{_REGISTRY}lies.py::test_an_upload_elsewhere_gets_no_password"),
    _one("Since then", "a server of Git LFS that lacks objects, answers nonsense, or sends us or the token elsewhere", "LfsLacks, LfsDenied, LfsBusy, LfsUnsupported, LfsRefused, DigestMismatch",
         f"{_REGISTRY}lfs.py::test_what_is_refused_is_one_error_that_says_why",
         f"{_REGISTRY}lfs.py::test_a_token_and_the_headers_of_an_answer_go_to_their_hosts_alone",
         f"{_REGISTRY}lfs.py::test_a_server_elsewhere_names_no_address_of_this_machine",
         f"{_REGISTRY}lfs.py::test_other_bytes_are_refused_and_not_kept"),
    _one("Since then", "an artifact in a registry with paths that lead out, code, other media types, absurd sizes", "ArtifactRefused",
         f"{_REGISTRY}artifact.py::test_a_path_that_means_harm_is_refused", f"{_REGISTRY}artifact.py::test_another_form_is_refused_in_words",
         f"{_REGISTRY}transfer.py::test_an_image_is_no_artifact"),
    _one("Since then", "a build that is unsigned, signed by another key, over other bytes, or about another artifact, key or recipe", "Untrusted",
         "tests/registry/test_signatures.py::test_what_is_not_said_by_a_builder_of_this_artifact",
         "tests/engine/test_trust.py::test_what_nobody_trusted_signed_is_not_offered"),
    _one("Since then", "a key of builders that is none, of another kind, locked, or writable by others", "KeyUnusable",
         "tests/registry/test_signatures.py::test_keys_that_cannot_be_used"),
    _one("Since then", "an archive with builds that nobody trusted signed", "Untrusted",
         "tests/operations/test_air_gap.py::test_what_nobody_trusted_signed_is_left_out"),
    _one("Since then", "a tag in a registry that leads to another build", "ArtifactRefused",
         f"{_REGISTRY}transfer.py::test_a_tag_that_leads_to_another_build_is_refused"),
    _one("Since then", "names of files and of catalog entries with escapes, line ends, no UTF-8", "escaped",
         f"{_ATTACKS}names.py::test_what_is_printed_stays_ours"),
    _one("Since then", "a webhook without its secret, or with another's", "403", f"{_FACE}only_the_secrets_holder_wakes_the_loop"),
)  # fmt: skip
