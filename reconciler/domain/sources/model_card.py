"""What the front matter of a model's README.md says of it, as Hugging Face's model cards do."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """`licenses` as they are written there, `license_name` and `license_link` for one that no list knows; `task` is the
    pipeline tag. What is not said is "" or ()."""

    licenses: tuple[str, ...] = ()
    license_name: str = ""
    license_link: str = ""
    task: str = ""
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
