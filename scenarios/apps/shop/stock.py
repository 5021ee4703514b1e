"""The shelves: how many of each item there are."""

FULL = 10

_taken: dict[str, int] = {}


class OutOfStock(Exception):
    """There are not enough of an item."""


def left(item: str) -> int:
    """How many of an item are on the shelf."""
    return FULL - _taken.get(item, 0)


def take(item: str, count: int = 1) -> None:
    """Take items off the shelf."""
    if count > left(item):
        raise OutOfStock(f"{item}: {left(item)} left, {count} wanted")
    _taken[item] = _taken.get(item, 0) + count


def put_back(item: str, count: int = 1) -> None:
    """Put items back."""
    _taken[item] = _taken.get(item, 0) - count


def reset() -> None:
    """Fill the shelves."""
    _taken.clear()
