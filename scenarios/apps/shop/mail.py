"""A stand-in for the mail server: what it accepted is in `outbox`."""

#: (order, subject) of each mail that was sent, in order.
outbox: list[tuple[int, str]] = []

_failures_left = 0


class MailServerDown(Exception):
    """The server did not take the mail."""


def send(order: int, subject: str) -> None:
    """Send the customer of an order a mail."""
    global _failures_left
    if _failures_left > 0:
        _failures_left -= 1
        raise MailServerDown(f"mail for order {order}")
    outbox.append((order, subject))


def fail(times: int) -> None:
    """Let the next mails be refused."""
    global _failures_left
    _failures_left = times


def reset() -> None:
    """Empty the outbox; the server is up."""
    global _failures_left
    _failures_left = 0
    outbox.clear()
