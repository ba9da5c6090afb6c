"""From parsed manifests to what this machine should serve: looks at each source folder (headers and remembered digests
only), asks whether the tool chain converts it rightly, and predicts the bytes."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from reconciler.conversion.architectures import refusal
from reconciler.conversion.disk import predict_bytes, predict_peak_bytes
from reconciler.conversion.memory import predict_memory
from reconciler.conversion.needs import predict_needs
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import Problem, unless_we_fail
from reconciler.domain.machine.precision_choice import Capacity, Choosing
from reconciler.domain.manifest import Model, variant_name
from reconciler.domain.policy.policy import Policy, PolicyResult
from reconciler.domain.release import Recipe
from reconciler.domain.sources.locked import Fetch, LockedSource
from reconciler.domain.sources.model_config import boundaries
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.targets.tasks import CHAT
from reconciler.engine import model_against_source as complaints
from reconciler.engine.policies import PolicyJudge, denied, said, without_refused_choices
from reconciler.engine.recipes import adapted, original_identity, recipe_of, release_of, template_of
from reconciler.engine.source_trust import SourceTrust
from reconciler.host.stamps import StampBook, Unhashed
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.selector import mismatch
from reconciler.planner.precision_choice import chosen_for
from reconciler.sources.cache import OnDisk, SourceCache
from reconciler.sources.protocol import CachedSource, ModelFolders, unseen

PRECISIONS = "spec.precisions"
ORIGINAL = "original"  # an option of the recipe of a ready ONNX model

# Bytes of an artifact, of disk at the peak of its conversion, and of memory there at each precision it could have.
Predicted = tuple[int, int, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The desired state, and what is wrong with the manifests. `sources` are the inspected folders by build key: what a
    conversion starts from; `policies` what each rule of each policy says, also of what it takes."""

    desired: Desired
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    sources: dict[str, "Source"]
    policies: tuple[PolicyResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the converter is given for one build key; `files` are those that are taken as they are, and `original` is
    what they are compared with."""

    recipe: Recipe
    path: str
    adapter: str | None
    files: tuple[StoredFile, ...] = ()
    remote: LockedSource | None = None
    original: SourceModel | None = None  # what a ready one is compared with


def resolve(
    parsed: Parsed,
    stamps: StampBook,
    held: Container[str] = (),
    labels: Mapping[str, str] | None = None,
    cache: SourceCache | None = None,
    trust: SourceTrust | None = None,
    *,
    policies: Sequence[Policy] = (),
) -> Resolution:
    """From the folders on this disk. `cache` is where this machine keeps what was fetched; `trust` judges what is to be
    converted here, `policies` are those of its configuration."""
    looked = OnDisk(Unhashed.empty(), cache)
    return resolve_in(OnDisk(stamps, cache), parsed, held, labels, trust, policies=policies, half_read_in=looked)


def resolve_in(
    folders: ModelFolders,
    parsed: Parsed,
    held: Container[str] = (),
    labels: Mapping[str, str] | None = None,
    trust: SourceTrust | None = None,
    *,
    policies: Sequence[Policy] = (),
    half_read_in: ModelFolders | None = None,
) -> Resolution:
    """Never raises for a bad source: it becomes a problem, and its variants stay declared (nothing prunes them).

    `held` are build keys whose artifacts are there: what they would cost is not worked out. `labels` are the
    machine's: a model for others is not declared here, and its source is not looked at. None: any machine.
    `half_read_in`: where the sources of models with a problem are looked at, for what is wrong with them beside it.
    """
    policies = (*policies, *parsed.policies)
    judge = PolicyJudge(policies, folders.card, trust) if policies else None
    resolver = _Resolver(folders, held, trust, judge, labels)
    elsewhere = _not_selected(parsed.models, labels)
    models = [model for model in parsed.models if model.name not in elsewhere]
    desired = Desired(
        revision=parsed.revision,
        wanted=tuple(wanted for model in models for wanted in resolver.model(model)),
        declared=frozenset(variant_name(m.name, p) for m in models for p in m.precisions),
        complete=not parsed.problems,
        confirmed=frozenset(parsed.confirmed),
        suspended=frozenset(model.name for model in parsed.models if model.suspend),
        locked_sources=frozenset(one.digest for model in models for one in model.remotes),
        source_digests=frozenset(model.remote.digest for model in models if model.remote is not None),
        unresolved=resolver.unresolved,
        not_selected=elsewhere,
        choosing=resolver.choosing,
    )
    desired, found = without_refused_choices(desired, resolver.policies)
    return with_policies(
        Resolution(
            desired=denied(desired, found),
            problems=(*parsed.problems, *resolver.problems, *_beside(parsed, half_read_in or folders, labels)),
            warnings=(*parsed.warnings, *resolver.warnings),
            sources=resolver.sources,
        ),
        found,
    )


def with_policies(resolution: Resolution, results: Sequence[PolicyResult]) -> Resolution:
    """With what these results refuse and doubt, among problems and warnings."""
    refused = list(said(results))
    return replace(
        resolution,
        problems=(*resolution.problems, *(problem for is_refused, problem in refused if is_refused)),
        warnings=(*resolution.warnings, *(problem for is_refused, problem in refused if not is_refused)),
        policies=(*resolution.policies, *results),
    )


def with_choices(resolution: Resolution, capacity: Capacity) -> Resolution:
    """With the one precision that a machine takes of each model that says `precisions: auto`."""
    before = resolution.desired
    desired = chosen_for(before, capacity)
    none_fits = {problem for name, problem in desired.unresolved.items() if name not in before.unresolved}
    problems = (*resolution.problems, *sorted(none_fits, key=lambda one: (one.file, one.line)))
    return replace(resolution, desired=desired, problems=problems)


def _not_selected(models: Iterable[Model], labels: Mapping[str, str] | None) -> dict[str, str]:
    if labels is None:
        return {}
    selected = [(model.name, model.node_selector) for model in models if model.node_selector is not None]
    return {name: why for name, selector in selected if (why := mismatch(selector, labels))}


def _beside(parsed: Parsed, folders: ModelFolders, labels: Mapping[str, str] | None) -> list[Problem]:
    """What is wrong with the sources of models that have another problem already."""
    resolver = _Resolver(folders, (), None, None, labels)
    elsewhere = _not_selected(parsed.half_read, labels)
    for model in parsed.half_read:
        if model.name not in elsewhere:
            resolver.model(model)
    return resolver.problems


class _Resolver:
    """Looks at each folder once in a pass, and judges each recipe once, however many models name it."""

    def __init__(
        self,
        folders: ModelFolders,
        held: Container[str],
        trust: SourceTrust | None,
        policies: PolicyJudge | None,
        labels: Mapping[str, str] | None,
    ) -> None:
        self._folders = folders
        self._trust = trust
        self._policies = policies
        self._labels = labels
        self._held = held
        self._folder = cache(folders.source)
        self._cached = cache(folders.locked)
        self._judged: dict[object, tuple[Recipe, str | None]] = {}
        self._predicted: dict[str, Predicted] = {}  # by build key
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.sources: dict[str, Source] = {}
        self.unresolved: dict[str, Problem] = {}  # by variant
        self.policies: list[PolicyResult] = []
        self.choosing: dict[str, Choosing] = {}

    def model(self, model: Model) -> list[DesiredRelease]:
        before = len(self.problems)
        # A mistake of ours harms the model that brings it up, and no other.
        wanted = unless_we_fail(partial(self._model, model), partial(self._unread, model))
        resolved = {one.release.precision for one in wanted}
        if model.chooses and resolved:
            self.choosing[model.name] = _choosing(model, resolved)
        for precision in model.precisions:
            if precision not in resolved and not (model.chooses and resolved):
                self.unresolved[variant_name(model.name, precision)] = self.problems[before]
        return wanted

    def _unread(self, model: Model, message: str) -> list[DesiredRelease]:
        self.problems.append(complaints.unexpected(model, message))
        return []

    def _model(self, model: Model) -> list[DesiredRelease]:
        if model.remote is None:
            return self._inspected(model, self._folder(model.source_path, ready=model.ready))
        if not model.remote.files:
            self.problems.append(complaints.not_locked(model, model.remote))
            self._judge_by_policies(model, unseen(model.remote))
            return []
        cached = self._cached(model.remote)
        wanted = self._inspected(model, cached.model or unseen(model.remote), _fetch(model.remote, cached))
        self.warnings += complaints.moved_upstream(model, model.remote)
        return wanted

    def _inspected(self, model: Model, source: SourceModel, fetch: Fetch | None = None) -> list[DesiredRelease]:
        self._judge_by_policies(model, source)
        adapter = self._folders.adapter(model.adapter_path) if model.adapter_path else None
        problems = [complaints.of_folder(model, problem) for problem in source.problems]
        if adapter:
            field = "spec.source.adapter"
            problems += [complaints.of_folder(model, problem, field) for problem in adapter.problems]
            problems += complaints.foreign_adapter(model, adapter, source)
            problems += complaints.unembedded_tokens(model, adapter, source)
        problems += complaints.no_embedding(model, source)
        problems += complaints.other_task(model, source)
        template = template_of(model, source, adapter)
        if template is None and not problems:
            problems.append(complaints.no_template(model))
        problems += complaints.unrenderable(model, template) if template else []
        problems += complaints.too_long(model, source)
        problems += complaints.other_provider(model, source)
        problems += complaints.compiled_beforehand(model, source)
        problems += [] if problems else self._distrusted(model)
        original, original_problems = self._original(model)
        problems += original_problems
        self.problems += problems
        if problems or template is None:
            return []
        served, merged = adapted(source, adapter)
        wanted = self._variants(model, served, merged, template, fetch, original)
        if model.original is not None and original is not None:
            lacking = _fetch(model.original, self._cached(model.original))
            wanted = [replace(one, original=lacking) for one in wanted]
        return wanted

    def _original(self, model: Model) -> tuple[SourceModel | None, list[Problem]]:
        """What a ready model is compared with; where it was never here, it stands for what will come."""
        field = "spec.source.original"
        if model.original is not None:
            if not model.original.files:
                return None, [replace(complaints.not_locked(model, model.original), field=f"{field}.huggingface")]
            found = self._cached(model.original).model or unseen(model.original)
        elif model.original_path:
            found = self._folder(model.original_path)
        else:
            return None, []
        return found, [complaints.of_folder(model, one, field) for one in found.problems]

    def _judge_by_policies(self, model: Model, source: SourceModel) -> None:
        if self._policies is not None:
            self.policies += self._policies.of_model(model, source)

    def _distrusted(self, model: Model) -> list[Problem]:
        """What is only doubted becomes a warning."""
        found = list(self._trust.of_model(model)) if self._trust is not None else []
        refused: list[Problem] = []
        for field, doubt in found:
            problem = complaints.untrusted(model, field, doubt.message, doubt.hint)
            # guard: a source that is not trusted is not converted
            (refused if doubt.enforced else self.warnings).append(problem)
        return refused

    def _variants(
        self,
        model: Model,
        source: SourceModel,
        adapter: str | None,
        template: str,
        fetch: Fetch | None,
        original: SourceModel | None,
    ) -> list[DesiredRelease]:
        wanted = []
        refused: list[Problem] = []
        for precision in model.precisions:
            recipe, reason = self._judge(model, source, adapter, precision)
            if original is not None:
                recipe = replace(recipe, options={**recipe.options, ORIGINAL: original_identity(model, original)})
            if reason is not None:
                refused.append(complaints.unsupported(model, precision, reason))
                continue
            wanted.append(self._wanted(model, source, recipe, template, fetch))
            if fetch is None or fetch.known:
                self.sources[recipe.build_key] = Source(
                    recipe=recipe,
                    path=source.path,
                    adapter=model.adapter_path,
                    files=source.files if recipe.as_is else (),
                    remote=model.remote,
                    original=original,
                )
        self.problems += [] if model.chooses and wanted else refused  # what may be chosen is no promise
        self.warnings += [complaints.of_folder(model, warning) for warning in source.warnings]
        if wanted and self._labels is not None:
            self.warnings += complaints.absent_provider(model, wanted[0].release.recipe.target, self._labels)
        if model.task != CHAT:  # no conversation, and no answer to leave room for
            return wanted
        self.warnings += complaints.short_context(model, source)
        if source.looked_at:
            self.warnings += complaints.foreign_template(model, source)
            self.warnings += complaints.unending_template(model, source, template)
        return wanted

    def _judge(
        self, model: Model, source: SourceModel, adapter: str | None, precision: str
    ) -> tuple[Recipe, str | None]:
        """The recipe, and why it cannot be converted rightly, if so."""
        key = (model.source_path, source.ready, source.digest, adapter, precision, model.quantization, model.target)
        if key not in self._judged:
            recipe = recipe_of(model, source, adapter, precision)
            converted = source.known and not source.ready
            unfit = converted and refusal(source.config, precision, model.target, recipe.options)
            self._judged[key] = recipe, unfit or None
        return self._judged[key]

    def _wanted(
        self, model: Model, source: SourceModel, recipe: Recipe, template: str, fetch: Fetch | None
    ) -> DesiredRelease:
        predicted, peak, memory = self._predict(model, source, recipe)
        return DesiredRelease(
            release=release_of(model, recipe, template),
            source_bytes=source.weight_bytes,
            predicted_bytes=predicted,
            peak_bytes=peak,
            boundaries=boundaries(source.config),
            memory_bytes=memory,
            suspended=model.suspend,
            protected=model.prune_disabled,
            gates=model.gates,
            retain_for=model.retain_for,
            history_limit=model.revision_history_limit,
            delete_first=model.delete_first,
            depends_on=model.depends_on,
            retry_limit=model.retry.limit,
            source_is_here=model.remote is not None or bool(source.path),
            needs=predict_needs(source, recipe) if model.chooses else None,
            fetch=fetch,
        )

    def _predict(self, model: Model, source: SourceModel, recipe: Recipe) -> Predicted:
        """Nothing for an artifact that is held, and for a source that was never here."""
        if recipe.build_key in self._held or not source.looked_at:
            return 0, 0, {}
        if recipe.as_is:
            taken = sum(file.size for file in source.files)
            return taken, taken, {}
        if recipe.build_key not in self._predicted:
            memory = predict_memory(source, recipe)
            fitting = [name for name in memory if self._judge(model, source, recipe.adapter, name)[1] is None]
            disk = predict_bytes(source, recipe), predict_peak_bytes(source, recipe)
            self._predicted[recipe.build_key] = *disk, {name: memory[name] for name in fitting}
        return self._predicted[recipe.build_key]


def _choosing(model: Model, resolved: Container[str]) -> Choosing:
    return Choosing(
        file=model.file,
        line=model.line_of(PRECISIONS),
        allowed=model.precisions,
        ruled_out={one: "cannot be converted rightly" for one in model.precisions if one not in resolved},
    )


def _fetch(source: LockedSource, cached: CachedSource) -> Fetch | None:
    if cached.whole:
        return None
    known = cached.model is not None
    return Fetch(source=source, missing=cached.missing, damaged=cached.damaged, known=known)
