"""The example is one that the program takes."""

from pathlib import Path

from reconciler.manifests.machine.config import parse_config

EXAMPLE = Path(__file__).parents[2] / "packaging" / "config.yaml"


def test_the_example_of_a_machine_is_a_valid_one() -> None:
    config, problems = parse_config(EXAMPLE.read_bytes(), "config.yaml")
    assert problems == ()
    assert config is not None
    assert config.repository is not None
