"""The memory of a parse gives back exactly what was remembered, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.bars import (
    CHECKS,
    EnduranceGate,
    FidelityGate,
    Gates,
    GoldenPrompt,
    LoadGate,
    PerformanceGate,
    PromptsGate,
)
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Generation, Model, Quantization, Roles, Target, Template
from reconciler.manifests.parsed import Inputs, Parsed, Place, recall, remember

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE_INT = st.none() | st.integers(0, 99)
MAYBE_FLOAT = st.none() | st.floats(0, 2)
GENERATION = st.builds(
    Generation,
    max_length=MAYBE_INT,
    temperature=MAYBE_FLOAT,
    top_p=MAYBE_FLOAT,
    top_k=MAYBE_INT,
    repetition_penalty=MAYBE_FLOAT,
    no_repeat_ngram_size=MAYBE_INT,
    random_seed=MAYBE_INT,
)
GATES = st.builds(
    Gates,
    fidelity=st.builds(FidelityGate, min_top1_agreement=MAYBE_FLOAT, max_mean_kl=MAYBE_FLOAT, skip=TEXT),
    load=st.builds(LoadGate, max_memory=MAYBE_INT),
    prompts=st.none()
    | st.builds(
        PromptsGate,
        cases=st.lists(
            st.builds(
                GoldenPrompt,
                messages=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
                check=st.sampled_from(CHECKS),
                expected=TEXT,
            ),
            max_size=2,
        ).map(tuple),
        min_pass=st.integers(1, 9),
    ),
    performance=st.none()
    | st.builds(
        PerformanceGate,
        prompt_lengths=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        max_time_to_first_token=MAYBE_FLOAT,
        on_fail=TEXT,
    ),
    endurance=st.none() | st.builds(EnduranceGate, requests=st.integers(8, 99), bad_input=st.booleans()),
)
TEMPLATE = st.builds(
    Template,
    origin=TEXT,
    jinja=st.none() | TEXT,
    roles=st.none() | st.builds(Roles, system=TEXT, user=TEXT, assistant=TEXT, prompt=TEXT),
)
MODEL = st.builds(
    Model,
    name=TEXT,
    file=TEXT,
    line=st.integers(1, 9999),
    lines=st.dictionaries(TEXT, st.integers(1, 9999), max_size=3),
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    annotations=st.dictionaries(TEXT, TEXT, max_size=3),
    source_path=TEXT,
    adapter_path=st.none() | TEXT,
    precisions=st.lists(TEXT, max_size=3).map(tuple),
    quantization=st.builds(
        Quantization,
        block_size=st.integers(),
        symmetric=st.booleans(),
        accuracy_level=MAYBE_INT,
        algorithm=TEXT,
    ),
    target=st.builds(Target, device=TEXT, execution_provider=TEXT),
    template=TEMPLATE,
    generation=GENERATION,
    gates=GATES,
    suspend=st.booleans(),
)
PROBLEM = st.builds(
    Problem, code=TEXT, file=TEXT, line=st.integers(0, 9), field=TEXT, message=TEXT, hint=TEXT
)
PARSED = st.builds(
    Parsed,
    revision=TEXT,
    models=st.lists(MODEL, max_size=2).map(tuple),
    problems=st.lists(PROBLEM, max_size=2).map(tuple),
    warnings=st.lists(PROBLEM, max_size=2).map(tuple),
    templates=st.lists(TEMPLATE, max_size=2).map(tuple),
)
INPUTS = st.builds(
    Inputs,
    base=TEXT,
    prefix=TEXT,
    roots=st.lists(TEXT, max_size=2).map(tuple),
    manifests=st.dictionaries(TEXT, TEXT, max_size=3),
    places=st.dictionaries(TEXT, st.builds(Place, path=TEXT, kind=TEXT), max_size=3),
    templates=st.dictionaries(TEXT, st.none() | TEXT, max_size=3),
)
SOME = Inputs(base="/b", prefix="m", roots=("/r",), manifests={"a.yaml": "sha256:1"})


@given(PARSED, INPUTS)
def test_what_is_remembered_is_recalled_exactly(parsed: Parsed, inputs: Inputs) -> None:
    assert recall(remember(parsed, inputs)) == (parsed, inputs)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", b"null\n{}\n", b"\xff\xfe", b"[" * 100_000])
def test_other_bytes_are_no_memory(data: bytes) -> None:
    assert recall(data) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_no_memory(position: int, flip: int) -> None:
    data = bytearray(remember(Parsed(revision="r"), SOME))
    data[position % len(data)] ^= flip
    assert recall(bytes(data)) in (None, (Parsed(revision="r"), SOME))  # the last byte is only a line end


def test_the_revision_names_the_declarations_and_not_where_they_lie() -> None:
    elsewhere = Inputs(base="/other", prefix="x", roots=("/s",), manifests=SOME.manifests)
    changed = Inputs(base="/b", prefix="m", roots=("/r",), manifests={"a.yaml": "sha256:2"})
    template = Inputs(
        base="/b", prefix="m", roots=(), manifests=SOME.manifests, templates={"/b/t": "sha256:3"}
    )
    assert elsewhere.revision == SOME.revision
    assert len({SOME.revision, changed.revision, template.revision}) == 3
