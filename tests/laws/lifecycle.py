"""What one call leaves behind, run by run: the expectation against which laws compare a trace, word by word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Task

from tests.laws import history
from tests.laws.history import same
from tests.laws.worlds import Plain, Turn, World

SETTLES = ("ack", "reject", "requeue")
#: Releases before 5.7 have one option for failures and time limits.
ACKS_FAILURES = "acks_on_failure" if hasattr(Task, "acks_on_failure") else "acks_on_failure_or_timeout"


@dataclass(frozen=True, repr=False)
class Call(Plain):
    """One call: how its runs end, and what its task's options are.

    Attributes:
        ends: how each run ends; the last is the last run.
        delay: countdown of each retry.
    """

    ends: tuple[str, ...] = ("ok",)
    seconds: float = 1.0
    delay: int = 5
    track: bool = False
    ignore_result: bool = False
    ack_failures: bool = True

    @property
    def turns(self) -> list[Turn]:
        """As told to the world."""
        return [Turn(end, self.seconds, (("countdown", self.delay),)) for end in self.ends]

    def options(self) -> dict[str, Any]:
        """Of the task."""
        return {"max_retries": None, "track_started": self.track, "ignore_result": self.ignore_result,
                ACKS_FAILURES: self.ack_failures}  # fmt: skip


def run_words(call: Call, number: int, task_id: str = "t1") -> list[str]:
    """What a pool process does in the run of this number, from 0."""
    end, stores = call.ends[number], not call.ignore_result
    begin = [f"task_prerun {_retries(call, number)}", *(["STARTED"] if call.track and stores else []), "before_start"]
    body = [*begin, "begin", "end"]
    if end == "ok":
        kept = ["SUCCESS"] if stores else []
        return [*body, *kept, "on_success", "task_success", "after_return", "task_postrun SUCCESS"]
    if end in ("raise", "other"):
        name = "Trouble" if end == "raise" else "OtherTrouble"
        kept = ["FAILURE"] if stores else []
        return [*body, *kept, "on_failure", f"task_failure {name}", "after_return", "task_postrun FAILURE"]
    if end == "retry":
        kept = ["RETRY"] if stores else []
        sent = f"publish {task_id} {_retries(call, number) + 1}"
        return [*body, sent, *kept, "on_retry", "task_retry", "task_postrun RETRY"]
    return [*body, "task_postrun IGNORED" if end == "ignore" else "task_postrun REJECTED"]


def _retries(call: Call, number: int) -> int:
    return call.ends[:number].count("retry")


def settling(call: Call, number: int, late: bool) -> list[str]:
    """What a main process does about the run of this number, from the message's arrival to its end."""
    retries, end = _retries(call, number), call.ends[number]
    waits = ["scheduled"] if number and call.delay and call.ends[number - 1] == "retry" else []
    words = [f"task_received {retries}", *waits, "accepted"]
    failed = [] if call.ignore_result else ["FAILURE"]
    if end == "reject":
        failed = [*failed, "task_failure Reject"]
        return [*words, *failed, "reject"] if late else [*words, "ack", *failed]
    if not late:
        return [*words, "ack"]
    if end == "requeue":
        return [*words, "requeue"]
    return [*words, "reject" if end in ("raise", "other") and not call.ack_failures else "ack"]


def holds(world: World, call: Call, task_id: str = "t1") -> None:
    """The trace of a call is the expected one, word by word and second by second."""
    late = world.setup.late
    found = history.runs(world, task_id)
    same(found, [run_words(call, number, task_id) for number in range(len(call.ends))], "runs")
    expected = [said for number in range(len(call.ends)) for said in settling(call, number, late)]
    words = history.mains(world, task_id)
    # A retry without a delay may be received before its predecessor is acked: acks are compared by themselves.
    same([said for said in words if said not in SETTLES], [said for said in expected if said not in SETTLES], "mains")
    same([said for said in words if said in SETTLES], [said for said in expected if said in SETTLES], "settled")
    starts = [0.0]
    for end in call.ends[:-1]:
        starts.append(starts[-1] + call.seconds + (call.delay if end == "retry" else 0))
    same(world.starts(task_id), starts, "starts")
    same([one.seen["retries"] for one in world.begins(task_id)], [_retries(call, n) for n in range(len(starts))])
    flags = [number > 0 and call.ends[number - 1] == "requeue" for number in range(len(starts))]
    same([bool(one.seen["delivery_info"]["redelivered"]) for one in world.begins(task_id)], flags, "redelivered")
    history.all_settled(world)


def acked_when(world: World, late: bool, task_id: str = "t1") -> None:
    """Each ack comes after its acceptance; before its run's end if early, after it if late."""
    said = [(place, str(history.word(event))) for place, event in history.placed(world, task_id)]
    acks = [place for place, word in said if word in SETTLES]
    accepted = [place for place, word in said if word == "accepted"]
    ends = [place for place, word in said if word.startswith("task_postrun")]
    for ack, begin, end in zip(acks, accepted, ends, strict=False):
        assert ack > begin, f"acked at event {ack}, before it was accepted at event {begin}"
        assert (ack > end) == late, f"a run {'late' if late else 'early'} acked at event {ack}, and over at event {end}"
