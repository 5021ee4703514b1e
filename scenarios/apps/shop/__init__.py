"""An order-processing shop: the small real application that the scenarios and the tutorial share.

Nothing here knows of a simulation. `gateway`, `invoices`, `stock` and `mail` stand for services outside: what they
remember is kept in their modules, and `reset()` makes all of them forget.
"""

from shop import gateway, invoices, mail, stock
from shop.celery import app as celery_app

__all__ = ["celery_app", "reset"]


def reset() -> None:
    """Begin anew: no charges, no mail, full shelves, no failures planned."""
    gateway.reset()
    invoices.reset()
    mail.reset()
    stock.reset()
