"""What the system refuses, in words."""

import errno

from reconciler.domain.errors import refused


def test_a_file_that_another_program_holds_is_not_a_matter_of_rights() -> None:
    held, forbidden = (OSError(errno.EACCES, "Sharing violation", "a.onnx") for _ in range(2))
    held.winerror = 32  # as Windows sets it
    (of_held, of_forbidden) = map(refused, (held, forbidden))
    assert of_held is not None
    assert of_forbidden is not None
    assert (of_held.code, str(of_held)) == (of_forbidden.code, str(of_forbidden))
    assert (of_held.hint.split(":")[0], of_forbidden.hint.split("`")[1]) == (
        "another program has it open",
        "reconciler doctor",
    )
