"""Nothing is served before it has proved itself: a model that answers well at int8 and badly at int4."""

import json
import shutil
from array import array
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.manifest import Roles
from reconciler.domain.plain_data import as_dict
from reconciler.templates.chat_template import jinja_of
from reconciler.templates.renderer import Renderer
from tests.chat import render as hugging_face
from tests.e2e.asking import asking
from tests.machine import TestMachine, tree
from tests.trust import FULL

pytestmark = pytest.mark.slow

CITIES = {"Slovenia": "Ljubljana", "France": "Paris", "Italy": "Rome", "Japan": "Tokyo"}
# One weight in each block of 32 so much larger: 4 bits then say nothing of the others, 8 bits say enough.
SPREAD = 64.0


def golden(bars: str = "") -> str:
    """Fidelity would find it too; here the golden prompts are to."""
    skip = "fidelity: {skip: the prompts decide}"
    return f"  gates: [{skip}, prompts: {{file: golden.jsonl, maxTokens: 16, {bars}}}]\n"


def write_golden(machine: TestMachine) -> None:
    lines = [
        json.dumps({"prompt": f"What is the capital of {country}?", "contains": city})
        for country, city in CITIES.items()
    ]
    lines.append(json.dumps({"prompt": "What is the capital of Spain?", "regex": "."}))  # even nonsense passes
    machine.manifests.mkdir(parents=True, exist_ok=True)
    (machine.manifests / "golden.jsonl").write_text("\n".join(lines) + "\n")


def damage(folder: Path) -> None:
    """The same function in fp32: some columns of the weights are made larger, and what they are multiplied with
    smaller. Rounded in blocks, the large column decides the step for its whole block."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    tensors: dict[str, Any] = json.loads(data[8:begin])

    def scale(name: str, factor: float) -> None:
        low, high = (begin + offset for offset in tensors[name]["data_offsets"])
        numbers = array("f", bytes(data[low:high]))
        for place in range(0, len(numbers), 32):
            numbers[place] *= factor
        data[low:high] = numbers.tobytes()

    for layer in ("model.layers.0", "model.layers.1"):
        for norm, readers in (
            ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
        ):
            scale(f"{layer}.{norm}.weight", 1 / SPREAD)
            for reader in readers:
                scale(f"{layer}.{reader}.weight", SPREAD)
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    """Serves the sound model at both precisions; then git asks for the damaged one."""
    machine = TestMachine(folder=tmp_path_factory.mktemp("gates"))
    machine.give_model(capitals)
    write_golden(machine)
    machine.declare(precisions="int8, int4", more=golden())
    done = machine.run("apply")
    assert done.code == 0, done.err
    damage(machine.folder / "fleet" / "model")
    return machine


def condition(machine: TestMachine, variant: str, kind: str) -> dict[str, str]:
    views = machine.run("status", "-o", "json").json()["variants"]
    found = next(view for view in views if view["variant"] == variant)
    return next(one for one in found["conditions"] if one["type"] == kind)


def failures(machine: TestMachine) -> list[dict[str, Any]]:
    lines = (machine.root / "records" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == "verify.failed"]


def test_the_bad_int4_is_rejected_and_the_old_one_answers(machine: TestMachine) -> None:
    before = tree(machine.root / "served" / "capitals-int4")
    with (
        asking(machine, "capitals-int4", "What is the capital of Slovenia?") as client,
        asking(machine, "capitals-int8", "What is the capital of Slovenia?") as other,
    ):
        done = machine.run("apply")
    assert done.code == 3, done.err
    assert client.failures == other.failures == []
    assert client.releases == ["capitals-int4:1"]
    assert other.releases == ["capitals-int8:1", "capitals-int8:2"]
    assert {"Ljubljana" in said for _, said in (*client.answers, *other.answers)} == {True}
    assert machine.run("apply").code == 3  # nobody holds the old one in memory any more
    assert set(machine.index()) == {"capitals-int8:2", "capitals-int4:1"}
    assert tree(machine.root / "served" / "capitals-int4") == before
    (event,) = failures(machine)
    assert (event["variant"], event["code"]) == ("capitals-int4", "GateFailed")
    assert "at least 5 wanted" in event["message"]
    assert "Ljubljana" in machine.run("ask", "capitals-int4", "What is the capital of Slovenia?").out


def test_more_passes_try_nothing(machine: TestMachine) -> None:
    """Twenty of them where conversions are played: tests/bad_inputs/test_gates.py."""
    before = (machine.root / "records" / "events.jsonl").read_bytes()
    for _ in range(20 if FULL else 4):
        done = machine.run("apply")
        assert done.code == 3, done.err
    assert (machine.root / "records" / "events.jsonl").read_bytes() == before
    assert machine.plan() == []
    verified, ready = (condition(machine, "capitals-int4", kind) for kind in ("Verified", "Ready"))
    assert (verified["status"], verified["reason"]) == ("False", "GateFailed")
    assert "at least 5 wanted" in ready["message"]
    assert "capitals-int4:1 still serves" in ready["message"]


def test_the_numbers_are_shown(machine: TestMachine) -> None:
    held = machine.run("plan", "-o", "json").json()["held"]
    assert [(one["variant"], one["reason"]) for one in held] == [("capitals-int4", "GateFailed")]
    gates = machine.run("plan", "-o", "json").json()["gates"]
    passed = {one["variant"]: (one["status"], one["number"], one["bar"]) for one in gates if one["gate"] == "prompts"}
    assert passed["capitals-int8"] == ("Successful", 5.0, 5.0)
    assert passed["capitals-int4"][0] == "Failed"
    variants = machine.run("status", "-o", "json").json()["variants"]
    assert all(one["measured"]["load"]["tokensPerSecond"] > 0 for one in variants)


def test_a_relaxed_bar_is_accepted_without_a_measurement(machine: TestMachine) -> None:
    measured = (machine.root / "records" / "measurements.json").read_bytes()
    machine.declare(precisions="int8, int4", more=golden("minPass: 1"))
    assert [step.split()[0] for step in machine.plan()] == ["verify", "register", "retire"]
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert (machine.root / "records" / "measurements.json").read_bytes() == measured
    assert "capitals-int4:2" in machine.index()


def test_a_tightened_bar_brings_the_last_good_one_back(machine: TestMachine) -> None:
    machine.declare(precisions="int8, int4", more=golden())
    done = machine.run("apply")
    assert done.code == 3, done.err
    assert "an earlier release is served instead" in done.err + done.out
    assert set(machine.index()) == {"capitals-int8:2", "capitals-int4:3"}
    assert "Ljubljana" in machine.run("ask", "capitals-int4", "What is the capital of Slovenia?").out
    assert condition(machine, "capitals-int4", "Verified")["reason"] == "GateFailed"
    assert condition(machine, "capitals-int4", "Ready")["status"] == "False"
    before = (machine.root / "records" / "events.jsonl").read_bytes()
    assert machine.run("apply").code == 3
    assert (machine.root / "records" / "events.jsonl").read_bytes() == before


USER = {"role": "user", "content": "What is it?"}
QUESTION = "What is the capital of Slovenia?"


def roles(more: str) -> str:
    forms = as_dict(role_form(more)).items()
    return f"{{roles: {json.dumps({role: text for role, text in forms if text})}}}"


def role_form(more: str) -> Roles:
    return Roles(
        user="<|im_start|>user\n{Content}<|im_end|>\n",
        assistant="{Content}<|im_end|>\n",
        prompt=f"<|im_start|>user\n{more}{{Content}}<|im_end|>\n<|im_start|>assistant\n",
    )


def tokens(machine: TestMachine, more: str) -> int:
    """Of the question as this role form writes it, with the tokenizer that serves."""
    tokenizer = (machine.served("capitals-int8") / "tokenizer.json").read_bytes()
    with Renderer(tokenizers=True) as renderer:
        text = renderer.render(jinja_of(role_form(more)), [{"role": "user", "content": QUESTION}], {})
        found = renderer.count(text, tokenizer)
    assert found is not None
    return found


def prompt_tokens(machine: TestMachine) -> int:
    """As the runtime that serves has counted them."""
    found: int = machine.run("ask", "capitals-int8", QUESTION, "-o", "json").json()["promptTokens"]
    return found


def test_a_template_that_is_edited_in_its_role_form_only(machine: TestMachine) -> None:
    """The prompt that is served changes, the token count says so, and nobody who asks meanwhile sees a gap."""
    machine.declare(precisions="int8, int4", template=roles(""), more=golden("minPass: 1"))
    with asking(machine, "capitals-int8", QUESTION) as client:
        done = machine.run("apply")
    assert done.code == 0, done.err
    assert client.failures == []
    assert client.releases == ["capitals-int8:2", "capitals-int8:3"]
    assert {"Ljubljana" in said for _, said in client.answers} == {True}
    assert prompt_tokens(machine) == tokens(machine, "")
    none = "  gates: [fidelity: {skip: the answers will be worse}]\n"
    machine.declare(precisions="int8, int4", template=roles("x x x "), more=none)
    assert "convert" not in " ".join(machine.plan())
    assert machine.run("apply").code == 0
    assert prompt_tokens(machine) == tokens(machine, "x x x ") >= tokens(machine, "") + 3


def test_a_fixture_is_rendered_by_the_runtime_too(tmp_path: Path, capitals: Path) -> None:
    """What a fixture says of the tokenizer is believed when it is read, and found out where it is served."""
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.manifests.mkdir(parents=True)
    turn = "{{- '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' -}}"
    begin = "{{- '<|im_start|>assistant\\n' -}}"
    loop = "{%- for m in messages -%}" + turn + "{%- endfor -%}"
    (machine.manifests / "t.jinja").write_text("{{- eos_token -}}" + loop + begin)

    def template(token: str) -> str:
        text = token + r"<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
        messages = "[{role: user, content: What is it?}]"
        fixture = f'{{messages: {messages}, rendered: "{text}", eosToken: "{token}"}}'
        return f"{{jinja: t.jinja, fixtures: [{fixture}]}}"

    machine.declare(template=template("very wrong indeed"))
    done = machine.run("apply")
    assert done.code == 3, done.err
    assert "template: fixture 1 has" in done.err + done.out
    assert machine.index() == {}
    machine.declare(template=template("<|im_end|>"))
    assert machine.run("apply").code == 0
    (measured,) = json.loads((machine.root / "records" / "measurements.json").read_bytes())["body"]["measurements"]
    assert {found == expected for found, expected in measured["rendered"].values()} == {False, True}


def test_a_fixture_of_hugging_faces_text_is_found_out_by_the_runtime(tmp_path: Path, capitals: Path) -> None:
    """Right for Hugging Face, which drops the line end after a tag, with a word that the runtime understands
    differently: then only the runtime that serves tells. A fixture of the role form holds there."""
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.manifests.mkdir(parents=True)
    begin = "<|im_start|>assistant\n"
    (machine.manifests / "t.jinja").write_text(
        "{% for m in messages %}\n{{ m.content }}{{ '!' if 'zz' in m.content }}{% endfor %}"
        "{{ '<|im_start|>assistant\\n' }}"
    )

    def fixture(text: str) -> str:
        one = {"messages": [{"role": "user", "content": "What is it?"}], "rendered": text}
        return json.dumps([one])

    trimmed = f"What is it?{begin}"
    assert hugging_face((machine.manifests / "t.jinja").read_text(), [USER], True) == trimmed
    machine.declare(template=f"{{jinja: t.jinja, fixtures: {fixture(trimmed)}}}")
    assert "the runtime will, when its release is verified" in machine.run("validate").err
    done = machine.run("apply")
    assert done.code == 3, done.err
    assert "template: fixture 1 has" in done.err + done.out
    assert machine.index() == {}
    form, text = json.dumps({"prompt": f"U {{Content}}{begin}"}), f"U What is it?{begin}"
    machine.declare(template=f"{{roles: {form}, fixtures: {fixture(text)}}}")
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert "capitals-int4:1" in machine.index()
    body = json.loads((machine.root / "records" / "measurements.json").read_bytes())["body"]
    rendered = [pair for one in body["measurements"] for pair in one["rendered"].values()]
    assert sorted(found == wanted for found, wanted in rendered) == [False, True]


def test_a_gate_that_comes_later_is_measured_for_what_serves(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    assert machine.run("apply").code == 0
    served = tree(machine.root / "served")
    machine.declare(more="  gates: [prompts: {cases: [{prompt: Hello, exact: No such answer}]}, endurance: {}]\n")
    assert machine.plan() == ["measure GateUnmeasured capitals-int4"]
    done = machine.run("apply")
    assert done.code == 3, done.err
    assert "measure" in done.err
    assert "capitals-int4:1 is served, and goes on: prompts:" in done.out + done.err
    assert condition(machine, "capitals-int4", "Verified")["reason"] == "GateFailed"
    assert condition(machine, "capitals-int4", "Ready")["status"] == "True"
    before = (machine.root / "records" / "events.jsonl").read_bytes()
    assert machine.run("apply").code == 3
    assert (machine.root / "records" / "events.jsonl").read_bytes() == before
    machine.declare(more="  gates: [prompts: {cases: [{prompt: Hello, regex: .}]}, endurance: {requests: 8}]\n")
    assert machine.plan() == ["measure GateUnmeasured capitals-int4"]  # endurance only: the answer is known
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert machine.plan() == []
    assert tree(machine.root / "served") == served


def test_a_prompt_longer_than_the_context_fails_alone(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.manifests.mkdir(parents=True)
    long = json.dumps({"prompt": "What is the capital? " * 700, "contains": "Paris"})
    short = json.dumps({"prompt": "What is the capital of France?", "contains": "Paris"})
    (machine.manifests / "golden.jsonl").write_text(f"{long}\n{short}\n")
    machine.declare(more=golden())
    done = machine.run("apply")
    assert done.code == 3
    assert '1 of 2 answered rightly, at least 2 wanted; "What is the capital? What' in done.err + done.out
    machine.declare(more=golden("minPass: 1"))
    assert machine.run("apply").code == 0


def test_performance_and_endurance_in_the_real_runtime(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    shutil.copytree(capitals, tmp_path / "fleet" / "model")
    machine.declare(
        more="  gates:\n"
        "    - performance: {promptLengths: [32, 512, 100000], minTokensPerSecond: 1, maxPeakMemory: 64Gi}\n"
        "    - endurance: {requests: 16, maxLatencyDrift: 100, maxMemoryGrowth: 1Gi}\n"
    )
    done = machine.run("apply")
    assert done.code == 0, done.err
    (measured,) = json.loads((machine.root / "records" / "measurements.json").read_bytes())["body"]["measurements"]
    short, long, endless = measured["speeds"]
    assert abs(long["prompt_tokens"] - short["prompt_tokens"] - 480) < 60
    assert endless["prompt_tokens"] == 0
    assert measured["endured"]["requests"] == 16
    assert measured["endured"]["crashed"] == []
    machine.declare(more="  gates: [performance: {promptLengths: [32], minTokensPerSecond: 999999}]\n")
    done = machine.run("apply")
    assert done.code == 3
    assert "at least 999,999 wanted" in done.err + done.out
    machine.declare(more="  gates: [performance: {promptLengths: [32], minTokensPerSecond: 999999, onFail: warn}]\n")
    assert machine.run("apply").code == 0
    assert "at least 999,999 wanted (a warning)" in machine.run("plan").out


def test_a_wrong_artifact_is_found_by_the_default_gates(tmp_path: Path, capitals: Path) -> None:
    """A bar that nothing meets, and then one that all do: the number is taken once, with the conversion."""
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare(more="  gates: [fidelity: {minTop1Agreement: 1}]\n")
    done = machine.run("apply")
    assert done.code == 3
    assert "top-1 agreement" in done.err + done.out
    assert machine.index() == {}
    machine.declare(more="  gates: [fidelity: {minTop1Agreement: 0.5}]\n")
    assert [step.split()[0] for step in machine.plan()] == ["verify", "register"]
    assert machine.run("apply").code == 0
    (fidelity,) = json.loads((machine.root / "records" / "measurements.json").read_bytes())["body"]["fidelity"]
    assert fidelity["wiring_kl"] < 1e-6


def test_lost_numbers_are_taken_again_before_the_next_release(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    assert machine.run("apply").code == 0
    (machine.root / "records" / "measurements.json").unlink()
    assert machine.plan() == []
    machine.declare(more="  generation: {topK: 1}\n")
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert "convert" not in done.err
    (fidelity,) = json.loads((machine.root / "records" / "measurements.json").read_bytes())["body"]["fidelity"]
    assert fidelity["top1_agreement"] > 0.5
