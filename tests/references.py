"""Reference answers for tests, of a vocabulary of 320 tokens."""

from reconciler.domain.reference import METHOD, Reference, ReferencePlace

LOGS = (-0.69315, -1.38629, -1.38629)  # a half, a quarter, and the rest


def reference_of(build_key: str) -> Reference:
    places = [
        ReferencePlace(place=place, tokens=(place + 1, 9), source=LOGS, built=LOGS, likeliest=place + 1)
        for place in (0, 2, 3)
    ]
    return Reference(
        build_key=build_key, method=METHOD, tokens=(5, 6, 7, 8), least=1, most=1 << 60, places=tuple(places)
    )
