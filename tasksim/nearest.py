"""Which known word was meant by one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest"]


def nearest(word: object, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known word that is most like this one, whatever the case of their letters.

    Args:
        likeness: from 0 to 1; None is given where nothing is as like as that (difflib, `cutoff`).
    """
    folded = {one.lower(): one for one in sorted(known)}
    close = get_close_matches(str(word).lower(), sorted(folded), n=1, cutoff=likeness)
    return folded[close[0]] if close else None
