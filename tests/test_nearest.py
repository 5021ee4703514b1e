"""Which known word was meant."""

from __future__ import annotations

from tasksim.nearest import nearest


def test_the_nearest_word_is_found_whatever_the_case() -> None:
    assert nearest("strated", ["Started", "Stopped"]) == "Started"
    assert nearest("TASK_ACK_LATE", ["task_acks_late", "TASK_OTHER"]) == "task_acks_late"
    assert nearest("broker_ulr", ["BROKER_URL", "broker_url"]) == "broker_url"


def test_a_word_that_is_like_none_has_no_nearest_one() -> None:
    assert nearest("zebra", ["Started", "Stopped"]) is None
    assert nearest("start", ["Started"], likeness=0.9) is None
    assert nearest("start", []) is None
