"""A candidate that would fail its users fails here first, in the runtime's own words."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from reconciler.backends.foundry.decoding import LAST_PLACES
from reconciler.backends.foundry.foundry import DEFAULT_LIMITS, Foundry, TimeLimits
from reconciler.backends.foundry.genai_config import genai_config
from reconciler.backends.foundry.index import read_index
from reconciler.domain.errors import ReconcilerError, RehearsalFailed, RuntimeUnavailable
from reconciler.domain.manifest import Generation
from reconciler.domain.measured import Measured, Measurements, Numbers
from reconciler.domain.verdict import SUCCESSFUL
from reconciler.gates.decoding import DEFAULT_BARS
from reconciler.gates.load import LoadGate, fell_back
from reconciler.gates.runtime import Rehearsal
from reconciler.host import cage
from tests.backends.test_serving_foundry import runtimes, stop_children
from tests.converted_model import converted_model
from tests.tiny_models import CHATML
from tests.waiting import cpu_seconds, until

NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{{ '' }}{% endfor %}{% endfor %}" + CHATML
BUSY = 2.0  # CPU seconds


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted_model(tmp_path_factory)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsal") / "catalog"


@pytest.fixture(scope="module")
def rehearsal(catalog: Path) -> Iterator[Rehearsal]:
    """Warm for all candidates of this module, as it is for all of a pass."""
    with start(catalog) as one:
        yield one


def start(catalog: Path, limits: TimeLimits = DEFAULT_LIMITS) -> Rehearsal:
    scratch = catalog.parent
    return Rehearsal(
        Foundry(
            str(catalog),
            scratch=str(scratch / "scratch"),
            log=str(scratch / "log"),
            limits=limits,
            confined=True,  # as in a pass
        )
    )


def rehearse(rehearsal: Rehearsal, folder: str, name: str) -> Measurements:
    *_, measured = rehearsal.prove(folder, name, [LoadGate()], Measured(release="", build_key=""))
    assert measured.load is not None
    assert measured.released is not None
    verdicts = {one.measure: one for one in LoadGate().judge(Numbers(precision="int4", measured=measured))}
    assert verdicts["keptMemory"].status == SUCCESSFUL
    return measured.load


def ask_for(folder: Path, options: list[object]) -> None:
    """Another execution provider."""
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    config["model"]["decoder"]["session_options"]["provider_options"] = options
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("provider", ["cuda", "webgpu", "DML", "NvTensorRtRtx", "OpenVINO", "qnn", "VitisAI"])
def test_what_is_made_for_other_hardware_waits_for_it(rehearsal: Rehearsal, candidate: Path, provider: str) -> None:
    """A person can bring that without any change in git: it is tried again."""
    ask_for(candidate, [{provider: {}}])
    with pytest.raises(RuntimeUnavailable) as caught:
        rehearse(rehearsal, str(candidate), "elsewhere:1")
    assert caught.value.code == "ProviderMissing"
    assert "nodeSelector" in caught.value.hint


def test_the_runtime_tells_which_providers_compute(catalog: Path, candidate: Path, tmp_path: Path) -> None:
    with Foundry(str(tmp_path / "catalog"), scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log")) as runtime:
        (found,) = runtime.providers("none:1", str(candidate))
        assert found.provider == "CPUExecutionProvider"
        assert found.operators > found.heavy > 0
        assert not list((tmp_path / "scratch").rglob("run_*.json"))
    assert fell_back("WebGpuExecutionProvider", (found,)).startswith("it is made for WebGpuExecutionProvider")


@pytest.fixture
def candidate(tmp_path: Path, model: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "candidate"))


def only_last(path: Path) -> None:
    """The graph gives the logits after the last token alone, as OpenVINO's models do."""
    import onnx

    graph = onnx.load(path, load_external_data=False)
    for node in graph.graph.node:
        node.output[:] = [name.replace("logits", "all_logits") for name in node.output]
    for name, value in {"begin": -1, "end": 1 << 62, "axis": 1}.items():
        graph.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
    graph.graph.node.append(onnx.helper.make_node("Slice", ["all_logits", "begin", "end", "axis"], ["logits"]))
    (logits,) = (one for one in graph.graph.output if one.name == "logits")
    logits.type.tensor_type.shape.dim[1].dim_value = 1
    onnx.save(graph, path)


def in_two(folder: Path) -> None:
    """A pipeline of two graphs, the second with settings of its own."""
    import onnx
    from onnx.utils import Extractor

    config = json.loads((folder / "genai_config.json").read_text())
    decoder = config["model"]["decoder"]
    whole = onnx.load(folder / decoder.pop("filename"))
    (middle,) = (node.output[0] for node in whole.graph.node if "input_ids" in node.input and "Gather" in node.op_type)
    shape = ["batch_size", "sequence_length", decoder["hidden_size"]]
    whole.graph.value_info.append(onnx.helper.make_tensor_value_info(middle, onnx.TensorProto.FLOAT, shape))
    inputs = [middle, *(one.name for one in whole.graph.input if one.name != "input_ids")]
    parts = {"first": (["input_ids"], [middle]), "second": (inputs, [one.name for one in whole.graph.output])}
    extractor = Extractor(whole)
    for name, (taken, given) in parts.items():
        onnx.save(extractor.extract_model(taken, given), folder / f"{name}.onnx")
    stages = {
        name: {"filename": f"{name}.onnx", "inputs": taken, "outputs": given} for name, (taken, given) in parts.items()
    }
    stages["second"]["session_options"] = {"log_id": "second", "provider_options": []}
    decoder["pipeline"], config["model"]["type"] = [stages], "decoder-pipeline"
    served = genai_config(json.dumps(config).encode(), Generation())
    (folder / "genai_config.json").write_text(json.dumps(served))


def test_a_pipeline_is_asked_and_each_of_its_graphs_profiled(
    rehearsal: Rehearsal, candidate: Path, tmp_path: Path
) -> None:
    with Foundry(str(tmp_path / "catalog"), scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log")) as runtime:
        whole = runtime.providers("whole:1", str(candidate))
        in_two(candidate)
        assert runtime.providers("pipeline:1", str(candidate)) == whole
        decoded, _ = runtime.decode("pipeline:1", str(candidate), {}, 0, None)
    assert decoded.positions > LAST_PLACES
    assert decoded.median_kl < DEFAULT_BARS["int4"]
    assert rehearse(rehearsal, str(candidate), "pipeline:1").completion_tokens >= 1


def test_where_there_are_the_last_logits_alone_a_few_places_are_compared(candidate: Path, tmp_path: Path) -> None:
    only_last(candidate / "model.onnx")
    with Foundry(str(tmp_path / "catalog"), scratch=str(tmp_path / "scratch"), log=str(tmp_path / "log")) as runtime:
        decoded, _ = runtime.decode("last:1", str(candidate), {}, 0, None)
    assert decoded.positions == LAST_PLACES
    assert decoded.median_kl < DEFAULT_BARS["int4"]


def test_a_whole_candidate_is_measured_and_forgotten(rehearsal: Rehearsal, catalog: Path, candidate: Path) -> None:
    measured = rehearse(rehearsal, str(candidate), "tiny-int4:1")
    assert measured.load_seconds > 0
    assert measured.first_token_seconds > 0
    assert measured.tokens_per_second > 0
    assert measured.prompt_tokens > 10
    assert measured.completion_tokens >= 1
    assert measured.peak_memory_bytes > 10 << 20
    assert measured.takes_system
    assert measured.runtime["onnxruntime-genai-core"]
    assert read_index(str(catalog)) == ()


def truncate(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, length)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def template(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def model_setting(key: str, value: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "genai_config.json").read_text())
        config["model"][key] = value
        (folder / "genai_config.json").write_text(json.dumps(config))

    return edit


FAILURES = {
    "truncated weights": (truncate("model.onnx.data", 1000), "ModelDoesNotLoad", "out of bounds"),
    "a truncated graph": (truncate("model.onnx", 1000), "ModelDoesNotLoad", "Protobuf parsing failed"),
    "no weights": (remove("model.onnx.data"), "ModelDoesNotLoad", "does not exist"),
    "no tokenizer": (remove("tokenizer.json"), "TokenizerRefused", "tokenizer.json"),
    "no tokenizer settings": (remove("tokenizer_config.json"), "TokenizerRefused", "tokenizer_config.json"),
    "no configuration": (remove("genai_config.json"), "ServedFolderMissing", "genai_config.json"),
    "a key the runtime does not know": (model_setting("later", 1), "GenaiConfigRefused", '"later"'),
    "no template": (remove("chat_template.jinja"), "TemplateRefused", "Empty chat template"),
    "an empty template": (template(""), "TemplateRefused", "Empty chat template"),
    "a template with a syntax error": (
        template("{% for m in messages %}x"),
        "TemplateRefused",
        "Invalid or unsupported chat template",
    ),
    "a template that always raises": (template("{{ raise_exception('never') }}"), "TemplateRefused", "never at row 1"),
    "a template with an unknown name": (
        template("{{ nobody.knows }}" + CHATML),
        "TemplateRefused",
        "'nobody' is not defined",
    ),
    "a template that breaks on a system message": (
        template("{% if messages[0]['role'] == 'system' %}{{ nobody.knows }}{% endif %}" + CHATML),
        "TemplateRefused",
        "'nobody' is not defined",
    ),
    "a model that says nothing": (model_setting("eos_token_id", [*range(320)]), "EmptyAnswer", "nothing"),
    "a context without room": (model_setting("context_length", 8), "PromptTooLong", "maximum context length"),
}


@pytest.mark.parametrize(("harm", "code", "words"), FAILURES.values(), ids=FAILURES)
def test_a_broken_candidate_fails_in_the_runtimes_words(
    rehearsal: Rehearsal, catalog: Path, candidate: Path, harm: Callable[[Path], object], code: str, words: str
) -> None:
    harm(candidate)
    with pytest.raises(RehearsalFailed) as caught:
        rehearse(rehearsal, str(candidate), "tiny-int4:2")
    assert caught.value.code == code
    assert str(caught.value).startswith("tiny-int4:2: ")
    assert words in str(caught.value)
    assert ".cc:" not in str(caught.value).partition("tensorprotoutils")[0]
    assert read_index(str(catalog)) == ()


def test_a_template_may_refuse_system_messages_on_purpose(rehearsal: Rehearsal, candidate: Path) -> None:
    template(NO_SYSTEM)(candidate)
    assert not rehearse(rehearsal, str(candidate), "tiny-int4:1").takes_system


def test_a_template_that_never_ends_is_killed_and_the_next_candidate_is_not_harmed(
    tmp_path: Path, candidate: Path, model: Path
) -> None:
    template(ENDLESS)(candidate)
    with start(tmp_path / "catalog", TimeLimits(load=2.0)) as rehearsal:
        runtime = rehearsal._runtime
        with pytest.raises(RehearsalFailed, match="no end of load within 2 s") as caught:  # it renders there
            rehearse(rehearsal, str(candidate), "tiny-int4:2")
        assert caught.value.code == "RuntimeHung"
        runtime.limits = DEFAULT_LIMITS  # a sound one may take as long as it likes
        assert rehearse(rehearsal, str(model), "tiny-int4:3").completion_tokens


@pytest.mark.parametrize(("ending", "error"), [(signal.SIGABRT, RehearsalFailed), (signal.SIGKILL, RuntimeUnavailable)])
def test_a_runtime_that_dies_fails_the_candidate_and_comes_back_for_the_next(
    tmp_path: Path, candidate: Path, model: Path, ending: signal.Signals, error: type[ReconcilerError]
) -> None:
    """Who kills it knows why: a want of memory may pass, so the candidate is tried again."""
    template(ENDLESS)(candidate)
    with start(tmp_path / "catalog") as rehearsal:
        rehearse(rehearsal, str(model), "tiny-int4:1")
        killer = Thread(target=kill_when_busy, args=(ending,))
        killer.start()
        with pytest.raises(error, match=ending.name) as caught:
            rehearse(rehearsal, str(candidate), "tiny-int4:2")
        killer.join()
        assert caught.value.code == "RuntimeDied"
        assert rehearse(rehearsal, str(model), "tiny-int4:3").completion_tokens


def kill_when_busy(ending: signal.Signals) -> None:
    """It renders the endless template by then: nothing else takes it so long."""
    before = {pid: cpu_seconds(pid) for pid in runtimes()}
    until(lambda: any(cpu_seconds(pid) - before.get(pid, 0.0) > BUSY for pid in runtimes()))
    stop_children(ending)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there are no namespaces elsewhere")
def test_who_reads_a_foreign_model_has_no_network_and_no_privileges(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with Foundry(str(tmp_path / "catalog"), scratch=str(tmp_path / "s"), log=log, confined=True) as runtime:
        assert runtime.list() == ()
        status = Path(f"/proc/{runtime.process}/status").read_text()
        said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert said["NoNewPrivs"] == "1"
        assert int(said["CapEff"], 16) & ~(1 << 2) == 0  # but for what lets root read
        assert Path(f"/proc/{runtime.process}/oom_score_adj").read_text() == "1000\n"
        if os.geteuid() == 0 and not cage.netns_fails():  # others may not look
            assert os.readlink(f"/proc/{runtime.process}/ns/net") != os.readlink("/proc/self/ns/net")
