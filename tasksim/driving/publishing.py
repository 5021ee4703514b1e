"""Assertions on what was published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from tasksim.driving.arguments import unknown_word
from tasksim.driving.running import Running
from tasksim.driving.wanted import UNASKED, Wanted, short
from tasksim.errors import UsageError
from tasksim.idle import TRIPS
from tasksim.kernel.loop import SECOND
from tasksim.message import KEPT
from tasksim.nearest import nearest
from tasksim.trace.pattern import identity
from tasksim.worker.publications import Publication, Publications
from tasksim.world import LEAD_NS

__all__ = ["Publishing"]

#: So many messages are shown when an assertion fails, each line of so many characters.
_SHOWN, _WIDTH = 8, 160
#: Keyword arguments of the assertions besides the conditions.
_MORE = ("tolerance", "times", "remote")


class Publishing(Running):
    """What was published, and what should have been."""

    app: Any
    _kept: Sequence[tuple[int, Any]] = ()
    _publications: Publications | None = None
    _forgotten: int = 0

    @property
    def publications(self) -> list[Publication]:
        """The messages of tasks that were published so far, in order; of very many the last 10,000."""
        world, trace = self._world, self.trace
        if self._publications is None:
            self._publications = Publications(self._kept, trace, world.amqp)
        if world.open and self._kernel.current is self._kernel.driver and world.network.latency_ns_max:
            self._kernel.park(self._kernel.now_ns + TRIPS * world.network.latency_ns_max, "what is on its way")
        epoch = (world.clocks.epoch_ns + LEAD_NS) / SECOND
        return [one for one in self._publications.all(epoch) if one.message > self._forgotten]

    def forget_published(self) -> None:
        """What was published until now counts no more: not for the assertions, and not in `publications`."""
        self._forgotten = max((one.message for one in self.publications), default=self._forgotten)

    def assert_published(
        self, task: Any = None, *, args: Any = UNASKED, kwargs: Any = UNASKED, queue: Any = UNASKED,
        eta: Any = UNASKED, countdown: Any = UNASKED, expires: Any = UNASKED, headers: Any = UNASKED,
        priority: Any = UNASKED, retries: Any = UNASKED, by: Any = UNASKED, exchange: Any = UNASKED,
        routing_key: Any = UNASKED, tolerance: float = 1.0, times: int | None = None, remote: bool = False,
        **unknown: Any,
    ) -> list[Publication]:  # fmt: skip
        """A message of this task was published, and is as said; see the API page for the conditions.

        Args:
            task: a task, its name, or a result; None for any.
            tolerance: seconds by which `eta`, `countdown` and `expires` may differ.
            times: how many such messages, exactly; None for at least one.
            remote: the task is another app's, so its name need not be known here.

        Returns:
            Those messages, in the order of publishing.

        Raises:
            AssertionError: there is none, or another number; it says what was published instead.
            UsageError: no task is called so, or a condition makes no sense.
        """
        __tracebackhide__ = True
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
            raise UsageError(f"times={times!r}: give a whole number, 0 or more")
        conditions = {
            "args": args, "kwargs": kwargs, "queue": queue, "eta": eta, "countdown": countdown, "expires": expires,
            "headers": headers, "priority": priority, "retries": retries, "by": by, "exchange": exchange,
            "routing_key": routing_key,
        }  # fmt: skip
        if unknown:
            word = next(iter(unknown))
            raise UsageError(f"{word}=: there is no such condition; {unknown_word(word, [*conditions, *_MORE])}")
        name, task_id = self._named(task)
        wanted = Wanted(name, task_id, tolerance, conditions)
        published = self.publications
        found = [one for one in published if wanted.fits(one)]
        if name is not None and not found and not remote:
            self._check_name(name, published)
        if times == 0 and not found:
            self._check_answered(wanted, published)
        self._check_kept(wanted, enough=times is None and bool(found))
        if bool(found) if times is None else len(found) == times:
            return found
        raise AssertionError(self._what_instead(wanted, published, found, times))

    def assert_not_published(self, task: Any = None, **conditions: Any) -> None:
        """No such message was published: `assert_published` with `times=0`; the conditions are the same."""
        __tracebackhide__ = True
        if "times" in conditions:
            raise UsageError("times: assert_not_published means 0 of them; ask assert_published(times=...) instead")
        self.assert_published(task, times=0, **conditions)

    def _named(self, task: Any) -> tuple[str | None, str | None]:
        if task is None:
            return None, None
        if isinstance(task, dict):
            raise UsageError(
                f"{short(task)} is a signature: ask for its task, and for its arguments by name, "
                "assert_published(task, args=..., kwargs=...)"
            )
        field, value = identity(self.trace.resolve(task))
        return (value, None) if field == "task" else (None, value)

    def _check_name(self, name: str, published: list[Publication]) -> None:
        """A name that nobody knows would never be found, and so never be missed.

        Raises:
            UsageError: neither the app nor any message has it.
        """
        if self.app is None:
            return
        names = {*self.app.tasks, *(one.task for one in published if one.task is not None)}
        if name not in names:
            tail = name.rpartition(".")[2]
            close = nearest(name, names, likeness=0.5) or min(
                (one for one in names if one.rpartition(".")[2] == tail), default=None
            )
            meant = f"did you mean {close!r}? " if close else ""
            raise UsageError(
                f"the app has no task {name!r}, and none was published; {meant}If it is a task of another app, "
                "say so with remote=True."
            )

    def _check_answered(self, wanted: Wanted, published: list[Publication]) -> None:
        """A function that only raises finds nothing, and so what should not be there would never be found.

        Raises:
            UsageError: it raised for each message that was asked about, or whatever the message is (a NameError).
        """
        told = wanted.never_answered(published)
        if told is not None:
            raise UsageError(f"{told}: so it cannot say of any message whether it was wanted; mend the function")

    def _check_kept(self, wanted: Wanted, enough: bool) -> None:
        kept = self._kept
        if enough or len(kept) < KEPT or self._publications is None:
            return
        lost = [
            event
            for event in self._publications.forgotten(kept[0][0])
            if event.message > self._forgotten and (event.task is None or wanted.is_named(event.task, event.task_id))
        ]
        if lost:
            raise UsageError(
                f"{len(lost)} messages of {wanted.task or 'tasks'} are too old to ask for: the last {KEPT} are kept. "
                "Ask earlier, or call sim.forget_published() before what you ask about."
            )

    def _what_instead(
        self, wanted: Wanted, published: list[Publication], found: list[Publication], times: int | None
    ) -> str:
        if times is None:
            lines = [f"{wanted} was not published"]
        elif times == 0:
            lines = [f"{wanted} was published {_times(len(found))}, and should not have been"]
        else:
            lines = [f"{wanted} was published {_times(len(found))}, wanted {_times(times)}"]
        lines += [f"  {_cut(str(one))}" for one in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more")
        if len(found) < (1 if times is None else times):
            lines += self._others(wanted, [one for one in published if not wanted.fits(one)])
            lines += self._world.databases.waiting_for_commit()
        return "\n".join(lines)

    def _others(self, wanted: Wanted, others: list[Publication]) -> list[str]:
        if not others:
            return [] if self.publications else ["nothing was published at all"]

        def distance(one: Publication) -> tuple[float, int]:
            if wanted.task is None or one.task == wanted.task:
                return 0, len(wanted.apart(one))
            return 2 - SequenceMatcher(None, wanted.task, one.task or "").ratio(), len(wanted.apart(one))

        nearest = sorted(others, key=distance)
        lines = ["what was published instead, the nearest first:"]
        for one in nearest[:_SHOWN]:
            lines.append(f"  {_cut(str(one))}")
            if wanted.is_named(one.task, one.id):
                lines += [f"      {line}" for line in wanted.apart(one)]
        rest = Counter(one.task for one in nearest[_SHOWN:])
        if rest:
            lines.append(f"  and {', '.join(f'{count} of {task}' for task, count in rest.most_common(_SHOWN))}")
        return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _cut(line: str) -> str:
    """A line that is too long loses its middle: the arguments are long, and the id stands at the end."""
    half = (_WIDTH - 5) // 2
    return line if len(line) <= _WIDTH else f"{line[:half]} ... {line[-half:]}"
