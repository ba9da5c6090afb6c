"""Which recordings are taken, by their head alone: as Foundry Local 2.2.1 was seen to hear them, or not."""

import random
import struct

import pytest

from reconciler.gates.recording import a_tone, refused_recording, sound_of, unheard
from tests.fuzz.mutate import mutated

PLAIN, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
NO_WAV = "a WAV file of plain samples"


def chunk(name: bytes, data: bytes, claims: int | None = None) -> bytes:
    return name + struct.pack("<I", len(data) if claims is None else claims) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes, claims: int | None = None) -> bytes:
    inner = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(inner) if claims is None else claims) + inner


def form(kind: int = PLAIN, channels: int = 1, rate: int = 16_000, bits: int = 16, frame: int | None = None) -> bytes:
    frame = channels * ((bits + 7) // 8) if frame is None else frame
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, min(rate * frame, 1 << 31), frame, bits))


def extended(kind: int = PLAIN) -> bytes:
    """What writers of several channels or more than 16 bits write: the kind stands at the end."""
    head = struct.pack("<HHIIHH", EXTENSIBLE, 1, 16_000, 32_000, 2, 16) + struct.pack("<HHI", 22, 16, 4)
    return chunk(b"fmt ", head + struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71"))


def head_of(*, extended: bool = False) -> bytes:
    """As far as its samples; for the fuzzer."""
    return riff(_EXTENDED if extended else form(), chunk(b"LIST", b"INFO"), b"data\xff\0\0\0")


_EXTENDED = extended()
SECOND = chunk(b"data", bytes(32_000))
STREAMED = 0xFFFF_FFFF  # what a writer says that cannot go back

TAKEN = {
    "as a model hears": riff(form(), SECOND),
    "a tone": a_tone(),
    "of a compact disc": riff(form(rate=44_100, channels=2), chunk(b"data", bytes(176_400))),
    "the other way to write the same": riff(extended(), SECOND),
    "notes before the sound": riff(form(), chunk(b"LIST", b"INFOodd"), SECOND),
    "something behind it": riff(form(), SECOND) + b"more",
    "streamed": riff(form(), chunk(b"data", bytes(32_000), STREAMED), claims=STREAMED),
    "a length of nothing around it": riff(form(), SECOND, claims=0),
    "cut off": riff(form(), SECOND)[:20_000],
}
REFUSED = {
    "too few samples": (riff(form(rate=8_000), SECOND), "at least 16,000 samples a second, got 8,000"),
    "no samples a second": (riff(form(rate=0), SECOND), "at least 16,000 samples a second, got 0"),
    "more than the runtime reads": (riff(form(rate=400_000), chunk(b"data", bytes(200_000))), "at most 384,000"),
    "8 bits": (riff(form(bits=8), SECOND), "16 bits, got 1 of 8"),
    "9 bits": (riff(form(bits=9), SECOND), "16 bits, got 1 of 9"),
    "24 bits": (riff(form(bits=24), SECOND), "16 bits, got 1 of 24"),
    "many channels": (riff(form(channels=6), SECOND), "one or two channels"),
    "no channel": (riff(form(channels=0), SECOND), "one or two channels"),
    "moments of no size": (riff(form(frame=0), SECOND), "2 bytes for each moment of its sound, got 0"),
    "moments of another size": (riff(form(frame=4), SECOND), "2 bytes for each moment of its sound, got 4"),
    "nothing": (riff(form(), chunk(b"data", b"")), "0.1 s of sound, got 0.00 s"),
    "nothing, streamed": (riff(form(), chunk(b"data", bytes(32_000), 0)), "0.1 s of sound, got 0.00 s"),
    "a moment": (riff(form(), chunk(b"data", bytes(1_600))), "0.1 s of sound, got 0.05 s"),
    "cut off at once": (riff(form(), SECOND)[:60], "0.1 s of sound"),
    "broken numbers": (riff(form(kind=FLOAT), SECOND), NO_WAV),
    "the other way to write them": (riff(extended(FLOAT), SECOND), NO_WAV),
    "one that says not what it holds": (riff(form(kind=EXTENSIBLE), SECOND), NO_WAV),
    "sound before its head": (riff(SECOND, form()), NO_WAV),
    "no head": (riff(SECOND), NO_WAV),
    "half a head": (riff(chunk(b"fmt ", bytes(14)), SECOND), NO_WAV),
    "no sound": (riff(form()), NO_WAV),
    "notes longer than the file": (riff(form(), chunk(b"LIST", b"abcd", 0xFF_FFFF), SECOND), NO_WAV),
    "nothing but notes longer than the file": (riff(chunk(b"LIST", b"abcd", 0xFF_FFFF)), NO_WAV),
    "a head longer than the file": (riff(chunk(b"fmt ", b"abcd", STREAMED)), NO_WAV),
    "another kind": (b"ID3" + bytes(100), NO_WAV),
    "text": (b"hello", NO_WAV),
    "empty": (b"", NO_WAV),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_heard_is_taken(case: str) -> None:
    assert (refused_recording(TAKEN[case]), unheard(TAKEN[case])) == ("", "")


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_heard_is_refused(case: str) -> None:
    recording, why = REFUSED[case]
    assert why in refused_recording(recording)
    assert unheard(recording) == ""


def test_a_long_recording_is_heard_in_part() -> None:
    long = bytes(32_000 * 31)
    assert unheard(riff(form(), chunk(b"data", long))) == "of 31 s only the first 30 are heard"
    assert unheard(riff(form(), chunk(b"data", long, STREAMED))) == "of 31 s only the first 30 are heard"
    assert unheard(riff(form(bits=24), chunk(b"data", long))) == ""


def test_a_head_is_never_an_error_whatever_it_claims() -> None:
    seeds = [head_of() + bytes(8), head_of(extended=True) + bytes(8)]
    heads = [mutated(seeds, random.Random(number)) for number in range(3_000)]
    for seed in seeds:
        for at in range(len(seed) - 3):
            for claim in (0, 1, 0xFF_FFFF, 0x7FFF_FFFF, STREAMED):
                heads.append(seed[:at] + struct.pack("<I", claim) + seed[at + 4 :])
    for head in heads:
        sound = sound_of(head)
        assert sound is None or sound.size <= len(head)
        assert (refused_recording(head) + unheard(head)).isprintable()
    assert 1_000 < sum(sound_of(head) is not None for head in heads) < len(heads)
