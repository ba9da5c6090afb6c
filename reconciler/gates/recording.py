"""What a recording is to a model that hears: a WAV file of plain samples, as Foundry Local 2.2.1 was seen to read it.

Its head is read here, within the bytes that there are: what a chunk claims moves nothing beyond them, and which
recordings are taken does not depend on the version of Python, whose `wave` has taken other ones in each.
"""

import io
import struct
import wave
from array import array
from dataclasses import dataclass, field, replace
from math import pi, sin
from typing import Self

from reconciler.domain import digest

RATE = 16_000  # samples a second that a model hears; the runtime makes fewer of more, and never more of fewer
MOST_RATE = 384_000  # of more the runtime reads nothing
SHORTEST, WINDOW = 0.1, 30  # seconds: what is enough to be heard, and what a Whisper hears of any recording
WIDTH = 2  # bytes of a sample

_HEAD = struct.Struct("<HHIIHH")
_PLAIN, _EXTENSIBLE = 1, 0xFFFE
_EXTENDED = 40  # bytes of a `fmt ` that says at its end what its samples are
_KIND_OF = bytes.fromhex("000000001000800000aa00389b71")  # what follows the two bytes of the kind there


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The bytes of a recording. It is known by their digest alone, so comparing two reads neither."""

    digest: str
    data: bytes = field(compare=False, repr=False)

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(digest=digest.of_bytes(data), data=data)

    def without_data(self) -> Self:
        """The same, for what only has to know which recording it is."""
        return replace(self, data=b"")


@dataclass(frozen=True, kw_only=True)
class Sound:
    """What the head of a WAV file says of its samples, and the bytes of them that are there: no more than the file
    has, whatever its head claims. `kind` is 1 for plain samples (PCM); `frame` are bytes for one sample of each
    channel."""

    kind: int
    channels: int
    rate: int
    frame: int
    bits: int
    size: int


def sound_of(recording: bytes) -> Sound | None:
    """None for what is no WAV file, and for one whose head leads to no samples."""
    if recording[:4] != b"RIFF" or recording[8:12] != b"WAVE":
        return None
    at, head = 12, b""
    while at + 8 <= len(recording):
        name, size = recording[at : at + 4], int.from_bytes(recording[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            return _sound(head, min(size, len(recording) - at))
        if name == b"fmt ":
            head = recording[at : at + min(size, _EXTENDED)]
        at += size + size % 2  # a chunk of an odd size is followed by a byte that fills it up
    return None


def refused_recording(recording: bytes) -> str:
    """What was expected instead of a recording that a model cannot hear; "" for one that it can."""
    sound = sound_of(recording)
    if sound is None or sound.kind != _PLAIN:
        return "a WAV file of plain samples (PCM), got something else"
    if sound.bits != 8 * WIDTH or sound.channels not in (1, 2):
        return f"one or two channels of 16 bits, got {sound.channels} of {sound.bits}"
    if sound.frame != sound.channels * WIDTH:
        return f"{sound.channels * WIDTH} bytes for each moment of its sound, got {sound.frame}"
    if not RATE <= sound.rate <= MOST_RATE:
        bound = f"at least {RATE:,}" if sound.rate < RATE else f"at most {MOST_RATE:,}"
        return f"{bound} samples a second, got {sound.rate:,}"
    if (seconds := _seconds(sound)) < SHORTEST:
        return f"at least {SHORTEST:g} s of sound, got {seconds:.2f} s"
    return ""


def unheard(recording: bytes) -> str:
    """What is not heard of a recording, in words; "" where all of it is, or where its length is not known."""
    sound = sound_of(recording)
    seconds = _seconds(sound) if sound is not None and sound.kind == _PLAIN else 0.0
    return f"of {seconds:.0f} s only the first {WINDOW} are heard" if seconds > WINDOW else ""


def a_tone(seconds: float = 1.0, frequency: float = 440.0) -> bytes:
    """A recording that says nothing: to see that a model hears at all."""
    samples = array("h", (int(8_000 * sin(2 * pi * frequency * at / RATE)) for at in range(int(RATE * seconds))))
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(WIDTH)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return made.getvalue()


def _sound(head: bytes, size: int) -> Sound | None:
    if len(head) < _HEAD.size:
        return None
    kind, channels, rate, _, frame, bits = _HEAD.unpack_from(head)
    if kind == _EXTENSIBLE and head[26:] == _KIND_OF:
        kind = int.from_bytes(head[24:26], "little")
    return Sound(kind=kind, channels=channels, rate=rate, frame=frame, bits=bits, size=size)


def _seconds(sound: Sound) -> float:
    """0 where the head makes no length of it."""
    return sound.size / (sound.rate * sound.frame) if sound.rate and sound.frame else 0.0
