"""What is written around the weights: nothing that the allow-list does not know, and exactly one chat
template."""

import copy
import json
import re
from typing import Any

import pytest

from reconciler.backends.foundry.genai_config import check, genai_config
from reconciler.backends.foundry.served_files import kept_files, written_files
from reconciler.domain.digest import StoredFile, of_bytes
from reconciler.domain.errors import PermanentError
from reconciler.domain.manifest import Generation, Roles
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import Artifact
from reconciler.templates.chat_template import jinja_of
from reconciler.templates.presets import PRESETS, preset
from tests.converted_model import release_of

CONFIG: dict[str, Any] = {  # as onnxruntime-genai 0.14.1 writes it for Qwen2
    "model": {
        "bos_token_id": 1,
        "context_length": 4096,
        "decoder": {
            "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
            "filename": "model.onnx",
            "head_size": 16,
            "hidden_size": 64,
            "inputs": {
                "input_ids": "input_ids",
                "attention_mask": "attention_mask",
                "past_key_names": "past_key_values.%d.key",
                "past_value_names": "past_key_values.%d.value",
            },
            "outputs": {
                "logits": "logits",
                "present_key_names": "present.%d.key",
                "present_value_names": "present.%d.value",
            },
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
        },
        "eos_token_id": 258,
        "pad_token_id": 256,
        "type": "qwen2",
        "vocab_size": 320,
    },
    "search": {
        "diversity_penalty": 0.0,
        "do_sample": False,
        "early_stopping": True,
        "length_penalty": 1.0,
        "max_length": 4096,
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "past_present_share_buffer": True,
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
    },
}

LFM2 = {  # what the builder adds for a hybrid model
    "model.decoder.layer_types": ["conv", "full_attention"],
    "model.decoder.conv_cache_size": 3,
    "model.decoder.inputs.past_conv_names": "past_conv.%d",
    "model.decoder.outputs.present_conv_names": "present_conv.%d",
    "search.past_present_share_buffer": False,
}

SLIDING_WINDOW = {
    "model.decoder.sliding_window": {
        "window_size": 64,
        "slide_key_value_cache": False,
        "slide_inputs": False,
        "layers": [0, 2],
    }
}

# What the builder of onnxruntime-genai 0.18.0 writes and that of 0.14.1 does not.
LATER = {
    "model.bot_token_id": 151657,
    "model.eot_token_id": 151658,
    "model.bor_token_id": 5,
    "model.eor_token_id": 6,
    "model.decoder.inputs.past_recurrent_names": "past.%d.recurrent",
    "model.decoder.outputs.present_recurrent_names": "present.%d.recurrent",
}
SESSION = "model.decoder.session_options"
LATER_FOR_CUDA = {
    f"{SESSION}.ep.cuda.fpa_intb_gemm": "1",
    f"{SESSION}.optimization.disable_specified_optimizers": "MatMulNBitsFusion",
    f"{SESSION}.session.use_device_allocator_for_initializers": "1",
}


def edited(changes: dict[str, Any]) -> bytes:
    config = copy.deepcopy(CONFIG)
    for path, value in changes.items():
        entry = path.removeprefix(SESSION + ".")  # may have dots in its name
        *parents, last = path.split(".") if entry == path else [*SESSION.split("."), entry]
        place = config
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    return json.dumps(config).encode()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="a plain decoder"),
        pytest.param(LFM2, id="a hybrid model"),
        pytest.param(SLIDING_WINDOW, id="a sliding window"),
        pytest.param({"model.eos_token_id": [257, 258]}, id="several end tokens"),
        pytest.param(LATER, id="a later builder"),
        pytest.param(LATER_FOR_CUDA, id="a later builder, for CUDA"),
    ],
)
def test_what_the_builder_writes_passes_unchanged(changes: dict[str, Any]) -> None:
    text = edited(changes)
    assert genai_config(text, Generation()) == json.loads(text)


# As Olive's recipes write it.
LENGTHS = '{"NPU":{"MAX_PROMPT_LEN":"4096","MIN_RESPONSE_LEN":"128"}}'
OPENVINO = {"device_type": "NPU", "enable_causallm": "True", "load_config": LENGTHS}
QNN = {
    "backend_path": "QnnHtp.dll",
    "htp_performance_mode": "burst",
    "htp_graph_finalization_optimization_mode": "3",
    "soc_model": "60",
}


@pytest.mark.parametrize(
    ("name", "options", "provider"),
    [
        ("cuda", {"enable_cuda_graph": "0", "enable_skip_layer_norm_strict_mode": "1"}, "CUDAExecutionProvider"),
        ("dml", {"enable_graph_capture": "1"}, "DmlExecutionProvider"),
        ("DML", {}, "DmlExecutionProvider"),
        ("webgpu", {"enableGraphCapture": "0", "multiRotaryCacheConcatOffset": "4096"}, "WebGpuExecutionProvider"),
        ("webgpu", {"forceCpuNodeNames": "/model/embed_tokens/Gather"}, "WebGpuExecutionProvider"),
        ("WebGPU", {"validationMode": "basic"}, "WebGpuExecutionProvider"),
        (
            "NvTensorRtRtx",
            {"enable_cuda_graph": "1", "multi_rotary_cache_concat_offset": "4096"},
            "NvTensorRTRTXExecutionProvider",
        ),
        ("nvtensorrtrtx", {}, "NvTensorRTRTXExecutionProvider"),
        ("OpenVINO", OPENVINO, "OpenVINOExecutionProvider"),
        ("OpenVINO", {"device_type": "GPU"}, "OpenVINOExecutionProvider"),
        ("openvino", {"load_config": '{ "NPU": { "MIN_RESPONSE_LEN": 512 } }'}, "OpenVINOExecutionProvider"),
        ("qnn", QNN, "QNNExecutionProvider"),
        ("QNN", {"backend_type": "htp", "vtcm_mb": "8"}, "QNNExecutionProvider"),
        ("VitisAI", {}, "VitisAIExecutionProvider"),
    ],
)
def test_a_published_folder_for_a_provider_passes_unchanged(name: str, options: dict[str, str], provider: str) -> None:
    levels = {f"{SESSION}.graph_optimization_level": "ORT_DISABLE_ALL"}
    text = edited({f"{SESSION}.provider_options": [{name: options}], **levels})
    assert genai_config(text, Generation(), provider) == json.loads(text)


REFUSED = {
    "a native library": ("model.decoder.session_options.custom_ops_library", "/tmp/evil.so"),
    "a key at the top": ("custom_ops_library", "evil.so"),
    "a provider that loads a library": (
        "model.decoder.session_options.provider_options",
        [{"qnn": {"backend_path": "evil.so"}}],
    ),
    "an optimization that is none": ("model.decoder.session_options.graph_optimization_level", "ORT_ENABLE_EVIL"),
    "a provider that is not verified": ("model.decoder.session_options.provider_options", [{"cuda": {}}]),
    "a provider that the runtime does not read so": ("model.decoder.session_options.provider_options", [{"CUDA": {}}]),
    "a provider that is not there": ("model.decoder.session_options.provider_options", [{"": {}}]),
    "session entries": ("model.decoder.session_options.config_entries", {"session.x": "y"}),
    "a second model": ("model.vision", {"filename": "vision.onnx"}),
    "a pipeline": ("model.decoder.pipeline", [{"a": {"filename": "a.onnx"}}]),
    "a model elsewhere": ("model.decoder.filename", "../other/model.onnx"),
    "an absolute model": ("model.decoder.filename", "/etc/model.onnx"),
    "a model on another drive": ("model.decoder.filename", "C:model.onnx"),
    "a template for old runtimes": ("model.chat_template", "{{ messages }}"),
    "a number as text": ("model.context_length", "4096"),
    "a flag for a number": ("search.top_k", True),
    "no end token": ("model.eos_token_id", None),
    "an object for a word": ("model.type", {"a": 1}),
    "a word for an object": ("model.decoder", "model.onnx"),
    "no context": ("model.context_length", 0),
}


@pytest.mark.parametrize(("path", "value"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_by_name(path: str, value: object) -> None:
    with pytest.raises(PermanentError) as caught:
        genai_config(edited({path: value}), Generation())
    assert caught.value.code == "GenaiConfigRefused"
    assert path in str(caught.value)


# As Olive's recipe for Phi 3.5 on QNN has them, shortened.
STAGES: dict[str, dict[str, Any]] = {
    "embedding": {"filename": "embeddings.onnx", "inputs": ["input_ids"], "outputs": ["hidden"]},
    "prompt-processor": {
        "filename": "context_ctx.onnx",
        "session_options": {"log_id": "x", "provider_options": [{"qnn": QNN}], "intra_op_num_threads": 2},
        "inputs": ["past_key_values.0.key", "hidden", "past_seq_len", "total_seq_len"],
        "outputs": ["present.0.key", "last"],
        "run_on_token_gen": False,
        "reset_session_idx": 2,
    },
    "transformer-head": {"filename": "lm_head.onnx", "inputs": ["last"], "outputs": ["logits"], "is_lm_head": True},
}


def pipeline(
    changes: dict[str, Any] | None = None,
    stages: list[dict[str, Any]] | None = None,
    decoder: dict[str, Any] | None = None,
) -> bytes:
    """`changes` are of the graph for prompts."""
    changed = {**STAGES, "prompt-processor": STAGES["prompt-processor"] | (changes or {})}
    config = json.loads(
        edited(
            {
                "model.type": "decoder-pipeline",
                "model.decoder.pipeline": [changed] if stages is None else stages,
                "model.decoder.inputs.past_sequence_length": "past_seq_len",
                "model.decoder.inputs.total_sequence_length": "total_seq_len",
            }
        )
    )
    del config["model"]["decoder"]["filename"]
    config["model"]["decoder"] |= decoder or {}
    return json.dumps(config).encode()


def test_a_pipeline_passes_and_each_graph_can_be_profiled() -> None:
    given = json.loads(pipeline())
    found = genai_config(pipeline(), Generation(), "QNNExecutionProvider")
    for stage in given["model"]["decoder"]["pipeline"][0].values():
        stage["inherit_session_options"] = True
    assert found == given


def asking(**options: object) -> dict[str, Any]:
    return {"session_options": {"provider_options": [options]}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (pipeline({"filename": "../x.onnx"}), "pipeline.prompt-processor.filename: unexpected"),
        (pipeline({"session_options": {"custom_ops_library": "x.so"}}), "custom_ops_library: not on the list"),
        (pipeline({"run_options": {"qnn.lora_config": "/x"}}), "run_options: not on the list"),
        (pipeline({"inputs": "input_ids"}), "inputs: unexpected"),
        (pipeline(asking(QNN={"op_packages": "x.so"})), "because it names libraries"),
        (pipeline(asking(QNN={}, cuda={})), "expected one provider"),
        (pipeline(asking(OpenVINO={})), "not OpenVINO"),
        (
            pipeline({"session_options": {"provider_options": [{"QNN": {}}, {"qnn": {}}]}}),
            "expected each provider once",
        ),
        (pipeline(decoder=asking(QNN={})), "got both"),
        (pipeline(stages=[STAGES, STAGES]), "expected each graph once"),
        (pipeline(stages=[]), "expected of a model of type"),
        (pipeline(stages=[{"a": "model.onnx"}]), "pipeline.a: expected an object"),
        (pipeline().replace(b"decoder-pipeline", b"qwen2"), "expected of a model of type"),
        (pipeline().replace(b'"pipeline": [', b'"filename": "model.onnx", "pipeline": ['), "without a filename"),
    ],
)
def test_a_pipeline_is_checked_graph_by_graph(text: bytes, why: str) -> None:
    with pytest.raises(PermanentError, match=re.escape(why)):
        check(json.loads(text))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("QNN", {"backend_path": "C:/QnnHtp.dll"}),
        ("QNN", {"backend_path": "QnnHtp.dll\n"}),
        ("QNN", {"backend_path": "./libQnnHtp.so"}),
        ("QNN", {"backend_type": "saver"}),
        ("QNN", {"qnn_saver_path": "QnnSaver.dll"}),
        ("QNN", {"op_packages": "Add:evil.so:Interface"}),
        ("QNN", {"profiling_file_path": "/etc/cron.d/x"}),
        ("QNN", {"soc_model": "60;x"}),
        ("OpenVINO", {"device_type": "HETERO:NPU,CPU"}),
        ("OpenVINO", {"device_type": "AUTO"}),
        ("OpenVINO", {"cache_dir": "cache"}),
        ("OpenVINO", {"load_config": "/etc/openvino.json"}),
        ("OpenVINO", {"load_config": '{"GPU":{"CONFIG_FILE":"kernels.xml"}}'}),
        ("OpenVINO", {"load_config": '{"NPU":{"MAX_PROMPT_LEN":"1","CACHE_DIR":"/x"}}'}),
        ("OpenVINO", {"load_config": {"NPU": {}}}),
        ("VitisAI", {"config_file": "vaip_llm.json"}),
        ("VitisAI", {"external_ep_libray": "evil.dll"}),
        ("RyzenAI", {}),
        ("MIGraphX", {}),
    ],
)
def test_options_of_a_provider_have_values_that_are_known(name: str, options: dict[str, object]) -> None:
    with pytest.raises(PermanentError, match=f"provider_options: {'[.]'.join((name, *options))}: (not|unexpected)"):
        check(json.loads(edited({f"{SESSION}.provider_options": [{name: options}]})))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_configuration_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        genai_config(text, Generation())
    assert caught.value.code == "GenaiConfigRefused"


GENERATION = {
    "nothing declared keeps what the model brings": (Generation(), {}),
    "each default has its key": (
        Generation(
            max_length=512,
            temperature=0.7,
            top_p=0.9,
            top_k=5,
            repetition_penalty=1.1,
            no_repeat_ngram_size=3,
            random_seed=7,
        ),
        {
            "max_length": 512,
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 5,
            "repetition_penalty": 1.1,
            "no_repeat_ngram_size": 3,
            "random_seed": 7,
            "do_sample": True,
        },
    ),
    "top_k 1 is greedy": (Generation(temperature=0.7, top_k=1), {"temperature": 0.7, "top_k": 1, "do_sample": False}),
    "temperature 0 is greedy": (Generation(temperature=0.0), {"temperature": 0.0, "do_sample": False}),
    "the whole context is allowed": (Generation(max_length=4096), {"max_length": 4096}),
}


@pytest.mark.parametrize(("generation", "expected"), GENERATION.values(), ids=GENERATION)
def test_the_manifest_sets_generation_defaults(generation: Generation, expected: dict[str, object]) -> None:
    assert genai_config(edited({}), generation)["search"] == {**CONFIG["search"], **expected}


def test_more_tokens_than_the_context_holds_are_refused() -> None:
    with pytest.raises(PermanentError) as caught:
        genai_config(edited({}), Generation(max_length=4097))
    assert caught.value.code == "MaxLengthTooLarge"


def test_tokenizer_config_loses_its_template_and_nothing_else() -> None:
    tokenizer = {"chat_template": "{{ old }}", "eos_token": "<|im_end|>", "model_max_length": 10**30}
    written = written_files(release_of(), 1, edited({}), json.dumps(tokenizer).encode())
    del tokenizer["chat_template"]
    assert json.loads(written["tokenizer_config.json"]) == tokenizer


def test_the_template_is_written_with_plain_line_feeds_and_no_byte_order_mark() -> None:
    written = written_files(release_of(template="\ufeffä\r\nb\n"), 1, edited({}), None)
    assert written["chat_template.jinja"] == "ä\nb\n".encode()
    assert "tokenizer_config.json" not in written


def test_inference_model_has_foundrys_file_form() -> None:
    roles = {"system": "", "user": "U{Content}", "assistant": "A{Content}", "prompt": "P{Content}"}
    release = release_of(roles=roles, generation=Generation(temperature=0.5))
    assert json.loads(written_files(release, 3, edited({}), None)["inference_model.json"]) == {
        "Name": "tiny-int4:3",
        "Description": "tiny at int4, template: inline",
        "Version": "3",
        "PromptTemplate": {"user": "U{Content}", "assistant": "A{Content}", "prompt": "P{Content}"},
        "ModelConfig": {
            "precision": "int4",
            "context_length": 4096,
            "device": "cpu",
            "execution_provider": "CPUExecutionProvider",
            "generation": {"temperature": 0.5},
        },
    }


def test_a_template_without_roles_leaves_the_prompt_template_empty() -> None:
    written = written_files(release_of(), 1, edited({}), None)
    assert json.loads(written["inference_model.json"])["PromptTemplate"] is None


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "source"])
def test_whoever_reads_the_prompt_template_reads_the_same(name: str) -> None:
    """Foundry Local 0.x prefers it to chat_template.jinja: it says the very same, or nothing."""
    template = preset(name)
    assert template.jinja is not None
    roles = as_dict(template.roles) if template.roles else None
    written = written_files(release_of(template.jinja, roles), 1, edited({}), None)
    told = json.loads(written["inference_model.json"])["PromptTemplate"]
    assert (told is None) is (template.roles is None)
    if told is not None:
        assert jinja_of(Roles(**told)).encode() == written["chat_template.jinja"]


def artifact(*paths: str) -> Artifact:
    files = tuple(StoredFile(path=path, digest=of_bytes(path.encode()), size=1) for path in paths)
    return Artifact(digest="sha256:a", build_key="sha256:b", files=files)


def test_weights_and_tokenizer_are_served_and_all_other_templates_are_not() -> None:
    served = {
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "merges.txt",
        "tokenizer.model",
        "special_tokens_map.json",
    }
    dropped = {
        "genai_config.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "chat_template.json",
        "additional_chat_templates/tool.jinja",
        "inference_model.json",
        "release.json",
        "Release.json",  # the same file where a name's case makes no difference
        "config.json",
        "generation_config.json",
        "model_config.json",
    }
    assert {file.path for file in kept_files(artifact(*served, *dropped))} == served


@pytest.mark.parametrize("provider", ["OpenVINOExecutionProvider", "QNNExecutionProvider"])
def test_what_was_compiled_is_served_for_its_provider(provider: str) -> None:
    """For every other one a file of that name is no weight (below)."""
    served = {"model.onnx", "model.xml", "model.bin"}
    assert {file.path for file in kept_files(artifact(*served), provider)} == served
    with pytest.raises(PermanentError, match=r"model\.so"):
        kept_files(artifact(*served, "model.so"), provider)


@pytest.mark.parametrize(
    "path",
    [
        *("evil.so", "evil.dll", "evil.dylib", "modeling.py", "weights.pt", "pytorch_model.bin", "x.pkl"),
        *("x.jinja", "../model.onnx", "/etc/x.json", "a\\b.json", "C:x.json", "a//b.json", "./a.json"),
    ],
)
def test_what_could_be_code_or_lie_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(PermanentError) as caught:
        kept_files(artifact("model.onnx", path))
    assert caught.value.code == "ArtifactRefused"
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"a": NaN}', b"\xff"])
def test_a_tokenizer_config_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        written_files(release_of(), 1, edited({}), text)
    assert caught.value.code == "ArtifactRefused"


def test_a_tokenizer_config_loses_what_names_code() -> None:
    files = written_files(release_of(), 1, edited({}), b'{"auto_map": {"AutoTokenizer": ["x--evil.T", null]}, "a": 1}')
    assert json.loads(files["tokenizer_config.json"]) == {"a": 1}
