"""Parts of the standard library that would wait, or warn, in the real world."""

from __future__ import annotations

from tasksim.patching.asyncio_loop import make_selector, write_to_self
from tasksim.patching.table import Row

ROWS: tuple[Row, ...] = (
    Row("selectors:DefaultSelector", "an event loop made inside waits in virtual time", make_selector),
    Row("asyncio.selector_events:BaseSelectorEventLoop._write_to_self", "as above: it is woken", write_to_self),
)
