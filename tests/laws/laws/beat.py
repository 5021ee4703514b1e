"""S58: when beat sends."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab, schedule
from hypothesis import strategies as st

from tasksim.events import BeatSent
from tests.laws import draw, history
from tests.laws.base import law
from tests.laws.history import same
from tests.laws.worlds import START, Setup, World

#: Beat reads its schedule for the first time so long before the start.
FIRST = -2.0
#: Most seconds that it sleeps, and how much too early it may wake.
SLEEP, EARLY = 300.0, 0.011


def sent(world: World, entry: str = "entry") -> list[float]:
    """When it sent what this entry says."""
    return [event.time for event in world.trace.where(BeatSent, entry=entry)]


def near(found: list[float], expected: list[float], late: float = 0.05) -> None:
    """These moments, hardly early and hardly late."""
    told = f"sent at {found}\n  but by the law at {expected}"
    assert len(found) == len(expected), told
    for one, due in zip(found, expected, strict=True):
        assert due - EARLY <= one <= due + late, told


def due(last: float, every: float, until: float) -> list[float]:
    """The moments of an interval, counted from its last run, up to the end."""
    moments = []
    while last + every < until:
        last += every
        moments.append(last)
    return moments


@law("S58", setup=draw.setups(workers=1), every=st.sampled_from([7.0, 30.0, 90.0]), down=st.sampled_from([20.0, 65.5]),
     gone=st.sampled_from([3.0, 41.0, 400.0]), how=st.sampled_from(["stop", "kill", "kill, all saved"]),
     examples=24)  # fmt: skip
def law_s58_beat_sends_one_run_for_any_number_of_missed_ones(
    setup: Setup, every: float, down: float, gone: float, how: str
) -> None:
    entry = {"entry": {"task": "act", "schedule": every}}
    sync = {"beat_sync_every": 1} if how == "kill, all saved" else {}
    with World(setup, options={"beat": True}, beat_schedule=entry, **sync) as world:
        world.task()
        world.sim.run(until=down)
        if how == "stop":
            world.sim.stop_beat()
        else:
            world.sim.kill(beat="beat")
        back, end = down + gone, down + gone + 100.5
        world.sim.start_beat(at=back)
        world.sim.run(until=end)
        before = due(FIRST, every, down)
        # The file is written at the first run, then every 180 s: of later runs a killed beat knows nothing.
        known = before if how != "kill" else before[:1]
        last = known[-1] if known else FIRST
        missed = last + every <= back
        after = [back, *due(back, every, end)] if missed else due(last, every, end)
        near(sent(world), before + after, late=0.2)
        world.sim.stop_beat()
        world.run()
        same(len(world.trace.starts), len(before + after), "runs")
        history.all_settled(world)


@law("S58", setup=draw.setups(workers=0), zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
     utc=st.booleans(), hour=st.integers(0, 23), minute=st.sampled_from([0, 17]), examples=15)  # fmt: skip
def law_s58_a_crontab_is_read_in_the_timezone_of_the_app(
    setup: Setup, zone: str, utc: bool, hour: int, minute: int
) -> None:
    entry = {"entry": {"task": "act", "schedule": crontab(hour=hour, minute=minute)}}
    settings: dict[str, Any] = {"beat_schedule": entry, "timezone": zone, "enable_utc": utc}
    with World(setup, options={"beat": True}, beat_max_loop_interval=7200, **settings) as world:
        world.task()
        world.sim.run(until=2 * 86_400.0)
        days = [(START + datetime.timedelta(days=day)).astimezone(ZoneInfo(zone)) for day in range(-1, 4)]
        moments = [day.replace(hour=hour, minute=minute, second=0) for day in days]
        expected = sorted((moment - START).total_seconds() for moment in moments)
        near(sent(world), [moment for moment in expected if FIRST < moment < 2 * 86_400.0])


@law("S58", setup=draw.setups(workers=0), at=st.sampled_from([10.0, 250.0, 299.0]),
     jump=st.sampled_from([1_500.0, 7_200.0]), longest=st.sampled_from([None, 40.0]), examples=15)  # fmt: skip
def law_s58_beat_wakes_each_five_minutes_at_least_and_sees_what_time_it_is(
    setup: Setup, at: float, jump: float, longest: float | None
) -> None:
    entry = {"entry": {"task": "act", "schedule": schedule(1_200.0)}}
    settings: dict[str, Any] = {} if longest is None else {"beat_max_loop_interval": longest}
    with World(setup, options={"beat": True}, beat_schedule=entry, **settings) as world:
        world.task()
        world.sim.jump_clock(jump, at=at)
        world.sim.run(until=1_000.0)
        # It sleeps from its start on, each time as long.
        asleep = SLEEP if longest is None else longest
        wakes = next(moment for moment in due(FIRST, asleep, 1_000.0) if moment > at)
        near(sent(world), [wakes], late=0.2)
