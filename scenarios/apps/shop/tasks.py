"""The tasks of the shop, and how an order goes through them."""

from collections.abc import Sequence

from celery import chain, group
from celery.result import AsyncResult

from shop import gateway, invoices, mail, stock
from shop.celery import app
from shop.gateway import GatewayTimeout
from shop.mail import MailServerDown


@app.task(
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(GatewayTimeout,),
    retry_backoff=True,
    retry_jitter=False,
    max_retries=5,
)
def charge(order: int) -> str:
    """Charge an order. May run again after a worker's death, so it charges under a key."""
    gateway.charge(order, key=f"order-{order}")
    return "paid"


@app.task
def reserve_stock(item: str, count: int = 1) -> int:
    """Take an item off the shelf; returns how many are left."""
    stock.take(item, count)
    return stock.left(item)


@app.task
def release_stock(items: Sequence[str]) -> None:
    """Put the items of an order that failed back on the shelf."""
    for item in items:
        stock.put_back(item)


@app.task(bind=True, default_retry_delay=180)
def send_mail(self, order: int, subject: str) -> str:  # type: ignore[no-untyped-def]
    """Send a mail; if the server is down, try again three minutes later."""
    try:
        mail.send(order, subject)
    except MailServerDown as error:
        raise self.retry(exc=error) from error
    return subject


@app.task(acks_late=True, reject_on_worker_lost=True, default_retry_delay=10)
def render_invoice(order: int) -> str:
    """Render an order's invoice. May run again after a worker's death; a file is written once however often."""
    return invoices.render(order)


@app.task
def nightly_report() -> int:
    """Mail the day's number of charges to the owner; sent by beat."""
    mail.send(0, f"charges today: {len(gateway.charges)}")
    return len(gateway.charges)


def place_order(order: int, items: Sequence[str]) -> AsyncResult:
    """Reserve all items, then charge, then confirm; if the charge or the mail fails, the items go back."""
    reserve = group(reserve_stock.si(item) for item in items)
    pay = charge.si(order)
    confirm = send_mail.si(order, "your order is on its way")
    undo = release_stock.si(list(items))
    pay.link_error(undo)
    return chain(reserve, pay, confirm).apply_async()
