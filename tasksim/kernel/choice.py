"""One root of chance with named branches: a draw more in one place does not move the others."""

from __future__ import annotations

import hashlib
import random


class Stream:
    """The draws of one subject."""

    __slots__ = ("_random", "below", "bits")

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.below = self._random.randrange
        self.bits = self._random.getrandbits

    def chance(self, probability: float) -> bool:
        """True with this probability, a number from 0 to 1."""
        return self._random.random() < probability

    def bytes(self, count: int) -> bytes:
        """So many random bytes."""
        return self._random.randbytes(count)


class Choice:
    """All chance of one simulation, drawn from its seed.

    Args:
        seed: a whole number. With 0 the world takes the first candidate wherever it could choose.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Stream] = {}

    def stream(self, subject: str) -> Stream:
        """The stream of this subject, the same one each time."""
        stream = self._streams.get(subject)
        if stream is None:
            stream = self._streams[subject] = Stream(self.derive(subject))
        return stream

    def derive(self, subject: str) -> int:
        """A seed for something of this name, independent of all others."""
        digest = hashlib.sha256(f"{self.seed}/{subject}".encode()).digest()
        return int.from_bytes(digest[:8], "big")
