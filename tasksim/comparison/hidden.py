"""One thing that eager mode had hidden."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "Hidden"]

#: Each kind of finding, and what eager mode does that hides it.
KINDS: dict[str, str] = {
    "function": "the function that makes the calls ends otherwise in the simulation",
    "never_run": "eager mode leaves alone what is sent by name",
    "unknown_task": "nobody looks whether a worker knows the task's name",
    "no_consumer": "nobody looks whether a worker takes from the queue",
    "raised": "an exception of the task comes out of the call",
    "outcome": "the task ends otherwise in a worker",
    "not_serializable": "results, and the arguments within a canvas, are not serialized",
    "serialization": "as above: what arrives is the very object",
    "mutated": "the task gets the caller's own objects, and the caller sees what it does to them",
    "message_size": "there is no message",
    "countdown": "countdown and eta are ignored",
    "retry_delay": "a retry runs at once",
    "expires": "expires is ignored",
    "time_limit": "time limits are ignored",
    "rate_limit": "rate limits are ignored",
    "redelivery": "nothing is acknowledged and nothing comes again",
    "ignored_result": "the result is there even where it is ignored",
    "nested": "a task that a task calls runs within it",
    "transaction": "the task runs within the caller's transaction",
    "request": "the task's request says other things",
    "context": "the task sees the caller's context variables and thread-locals",
    "process_state": "the task changes globals of the caller's process",
    "signal": "signals of publishing and of the worker are not sent",
}


@dataclass(frozen=True, slots=True)
class Hidden:
    """Something that eager mode had hidden.

    Attributes:
        kind: which sort of thing, a key of `KINDS`.
        task: the name of the task; empty where it is about no single one.
        call: which call of this task, as text; empty likewise.
        sentence: what happened in each half.
    """

    kind: str
    task: str
    call: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.call + ': ' if self.call else ''}{self.sentence}"
