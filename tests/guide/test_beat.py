"""Periodic tasks: schedules of each kind, time zones, and what becomes of beat."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedstate, schedule, solar

from tasksim import Simulation, events
from tasksim.errors import UsageError

UTC = datetime.UTC
#: A Monday; beat starts two seconds earlier.
START = datetime.datetime(2026, 11, 2, 0, 0, 2, tzinfo=UTC)
DAY = 86400.0
TUESDAY = "Tue 17 Nov 00:00:00"
EIGHT_HOURLY = ["Mon 02 Nov 08:00:00", "Mon 02 Nov 16:00:00", "Tue 03 Nov 00:00:00"]


def add_of(app: Celery) -> Any:
    @app.task(name="tasks.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    return add


def sent(when: Any, days: float, start: datetime.datetime = START, zone: str = "UTC") -> list[str]:
    """When beat alone sends what has this schedule, in this zone, as text."""
    app = Celery("proj", broker="amqp://")
    app.conf.update(timezone=zone, beat_schedule=entry(when), beat_max_loop_interval=6 * 3600)
    add_of(app)
    with Simulation(app, workers=0, beat=True, start=start) as sim:
        sim.run(until=days * DAY)
        times = [
            start + datetime.timedelta(seconds=event.time) for event in sim.trace.where(events.BeatSent, entry="entry")
        ]
    return [f"{time.astimezone(ZoneInfo(zone)):%a %d %b %H:%M:%S}" for time in times]


def entry(when: Any, **more: Any) -> dict[str, Any]:
    return {"entry": {"task": "tasks.add", "schedule": when, "args": (16, 16), **more}}


# --- what a schedule may be


def test_entries_run_every_so_many_seconds_and_a_worker_takes_them(app: Celery) -> None:
    app.conf.beat_schedule = entry(30.0, options={"queue": "periodic", "expires": 20})
    app.conf.timezone = "UTC"
    add_of(app)
    with Simulation(app, workers={"w1": {"queues": "periodic"}}, beat=True) as sim:
        sim.run(until=100)
        assert [round(one.started) for one in sim.trace.attempts] == [28, 58, 88]
        published = sim.trace.where(events.Published)[0]
        assert "periodic" in (published.exchange, published.routing_key)


def test_add_periodic_task_when_the_app_is_configured(app: Celery) -> None:
    @app.task(shared=False)
    def test(arg: str) -> str:
        return arg

    @app.on_after_configure.connect
    def setup_periodic_tasks(sender: Celery, **_: Any) -> None:
        sender.add_periodic_task(10.0, test.s("hello"), name="add every 10")
        sender.add_periodic_task(30.0, test.s("world"), expires=10)
        sender.add_periodic_task(crontab(hour=7, minute=30, day_of_week=1), test.s("Happy Mondays!"))

    with Simulation(app, beat=True, start=START + datetime.timedelta(hours=7, minutes=29)) as sim:
        sim.run(until=62)
        names = [event.entry for event in sim.trace.where(events.BeatSent)]
        assert names.count("add every 10") == 6
        assert len(names) == 6 + 2 + 1


@pytest.mark.parametrize(
    ("when", "days", "expected"),
    [
        (crontab(minute=0, hour="*/3", day_of_week="mon"), 0.3, ["Mon 02 Nov 03:00:00", "Mon 02 Nov 06:00:00"]),
        (crontab(hour=7, minute=30, day_of_week=1), 8, ["Mon 02 Nov 07:30:00", "Mon 09 Nov 07:30:00"]),
        (crontab(0, 0, day_of_month="2"), 40, ["Wed 02 Dec 00:00:00"]),
        (crontab(0, 0, day_of_month="1-7,15-21", day_of_week="tue"), 20, ["Tue 03 Nov 00:00:00", TUESDAY]),
        (crontab(0, 0, day_of_month="11", month_of_year="12"), 60, ["Fri 11 Dec 00:00:00"]),
        (crontab(0, 0, month_of_year="*/3", day_of_month="1"), 200, ["Fri 01 Jan 00:00:00", "Thu 01 Apr 00:00:00"]),
        (crontab(minute="*/15", hour="3,17"), 0.15, [f"Mon 02 Nov 03:{minute}:00" for minute in ("00", "15", "30")]),
        (schedule(datetime.timedelta(hours=8)), 1, EIGHT_HOURLY),
    ],
    ids=str,
)  # fmt: skip
def test_schedules_of_the_guides_table(when: BaseSchedule, days: float, expected: list[str]) -> None:
    assert sent(when, days) == expected


def test_a_task_runs_by_the_sun() -> None:
    pytest.importorskip("ephem")
    times = sent(solar("sunset", -37.81753, 144.96715), 3, zone="Australia/Melbourne")
    assert [one[:-3] for one in times] == ["Mon 02 Nov 19:55", "Tue 03 Nov 19:56", "Wed 04 Nov 19:57"]


class OnlyOnWorkdays(BaseSchedule):
    """Every six hours, but not at the weekend."""

    def is_due(self, last_run_at: datetime.datetime) -> schedstate:
        now = self.now()
        left = (last_run_at + datetime.timedelta(hours=6) - now).total_seconds()
        if now.weekday() >= 5:
            return schedstate(False, 3600.0)
        return schedstate(left <= 0, 6 * 3600.0 if left <= 0 else left)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnlyOnWorkdays)

    __hash__ = None

    def __reduce__(self) -> Any:
        return self.__class__, ()


def test_a_schedule_of_the_users_own() -> None:
    days = [time[:3] for time in sent(OnlyOnWorkdays(), 8)]
    assert {day: days.count(day) for day in dict.fromkeys(days)} == {"Mon": 7, "Tue": 4, "Wed": 4, "Thu": 4, "Fri": 4}


# --- time zones


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (datetime.datetime(2026, 3, 28, 12, tzinfo=UTC), ["Sun 29 Mar 07:30:00", "Mon 30 Mar 07:30:00"]),
        (datetime.datetime(2026, 10, 24, 12, tzinfo=UTC), ["Sun 25 Oct 07:30:00", "Mon 26 Oct 07:30:00"]),
    ],
    ids=["an hour less", "an hour more"],
)
def test_an_hour_of_the_day_stays_the_same_when_clocks_are_put_forward_or_back(
    start: datetime.datetime, expected: list[str]
) -> None:
    assert sent(crontab(hour=7, minute=30), 2, start, "Europe/London") == expected


def test_what_is_due_in_the_hour_that_is_left_out_and_in_the_one_that_comes_twice() -> None:
    """As Celery computes it: a time of day that does not exist is an hour later, one that is there twice is once."""
    when = crontab(hour=1, minute=30)
    spring = sent(when, 2, datetime.datetime(2026, 3, 28, 12, tzinfo=UTC), "Europe/London")
    autumn = sent(when, 2, datetime.datetime(2026, 10, 24, 12, tzinfo=UTC), "Europe/London")
    assert spring == ["Sun 29 Mar 02:30:00", "Mon 30 Mar 01:30:00"]
    assert autumn == ["Sun 25 Oct 01:30:00", "Mon 26 Oct 01:30:00"]


def test_an_interval_does_not_care_for_the_time_of_day() -> None:
    times = sent(6 * 3600.0, 1, datetime.datetime(2026, 3, 28, 18, tzinfo=UTC), "Europe/London")
    assert [time[-8:-3] for time in times] == ["23:59", "06:59", "12:59", "18:59"]


# --- what becomes of beat


def beats(sim: Simulation) -> list[int]:
    return [round(event.time) for event in sim.trace.where(events.BeatSent)]


def test_beat_is_killed_and_started_again(app: Celery) -> None:
    """Its schedule file remembers: what was due meanwhile is sent once, at once."""
    app.conf.update(beat_schedule=entry(30.0), beat_sync_every=1)
    add_of(app)
    with Simulation(app, beat=True) as sim:
        sim.kill(beat="beat", at=70)
        sim.start_beat(at=200)
        sim.run(until=270)
        assert beats(sim) == [28, 58, 200, 230, 260]


def test_a_killed_beat_forgets_what_it_had_not_written(app: Celery) -> None:
    """Its file is written every three minutes; until then a beat that is killed has never sent anything."""
    app.conf.beat_schedule = entry(30.0)
    add_of(app)
    with Simulation(app, beat=True) as sim:
        sim.kill(beat="beat", at=70)
        sim.start_beat(at=80)
        sim.run(until=100)
        assert beats(sim) == [28, 58, 80]


def test_a_beat_that_is_stopped_remembers(app: Celery) -> None:
    app.conf.beat_schedule = entry(30.0)
    add_of(app)
    with Simulation(app, beat=True) as sim:
        sim.run(until=70)
        assert sim.stop_beat() == 0
        sim.start_beat(at=80)
        sim.run(until=100)
        assert beats(sim) == [28, 58, 88]


def test_two_beats_by_mistake_send_everything_twice(app: Celery) -> None:
    app.conf.beat_schedule = entry(crontab())
    add_of(app)
    with Simulation(app, beat=True) as sim:
        sim.start_beat("beat2")
        sim.run(until=130)
        assert beats(sim) == [0, 60, 60, 120, 120]
        assert {event.process for event in sim.trace.where(events.BeatSent)} == {"beat", "beat2"}
        assert len(sim.trace.of("tasks.add").starts) == 5


def test_a_pidfile_keeps_a_second_beat_from_starting_on_the_same_host(app: Celery, tmp_path: Path) -> None:
    app.conf.beat_schedule = entry(crontab())
    add_of(app)
    pidfile = str(tmp_path / "celerybeat.pid")
    with Simulation(app) as sim:
        sim.start_beat(pidfile=pidfile, wait=True)
        sim.start_beat("beat2", pidfile=pidfile)
        sim.advance(1)
        assert [(event.process, event.exitcode) for event in sim.trace.where(events.ProcessEnded)] == [("beat2", 73)]
        sim.kill(beat="beat")
        sim.start_beat("beat2", pidfile=pidfile, wait=True)  # whose owner is gone, counts for nothing
        assert sim.stop_beat("beat2") == 0
        assert not Path(pidfile).exists()


def test_a_second_beat_of_the_same_name_is_a_mistake_of_the_test(app: Celery) -> None:
    add_of(app)
    with Simulation(app, beat=True) as sim:
        with pytest.raises(UsageError, match="beat2"):
            sim.start_beat()
        with pytest.raises(UsageError, match="there is no beat 'other'"):
            sim.kill(beat="other")


@pytest.mark.parametrize(
    ("jump", "expected"), [(7200, [60, 360, 3660, 7260, 10860]), (-7200, [60, 10860])], ids=["forward", "back"]
)
def test_the_clock_jumps(app: Celery, jump: int, expected: list[int]) -> None:
    """Beat sleeps five minutes at most; then it sees what time it is, and sends what has become due meanwhile."""
    app.conf.beat_schedule = entry(crontab(minute=1))
    add_of(app)
    with Simulation(app, workers=0, beat=True) as sim:
        before = datetime.datetime.now(UTC)
        sim.jump_clock(jump, at=100)
        sim.run(until=3 * 3600 + 100)
        assert (datetime.datetime.now(UTC) - before).total_seconds() == 3 * 3600 + 100 + jump
        assert beats(sim) == expected


def test_a_worker_that_is_down_finds_what_beat_has_sent_meanwhile(app: Celery) -> None:
    app.conf.beat_schedule = entry(crontab())
    add_of(app)
    with Simulation(app, workers=0, beat=True) as sim:
        sim.start_worker("w1", at=250)
        sim.run(until=260)
        assert len(sim.trace.of("tasks.add").starts) == 5


def test_a_minutely_schedule_takes_beat_three_steps_a_minute() -> None:
    """What makes 30 days of it run within a minute; `python -m benchmarks --only beat_month_seconds` measures it."""
    app = Celery("proj", broker="amqp://")
    app.conf.beat_schedule = entry(crontab())
    add_of(app)
    with Simulation(app, workers=0, beat=True) as sim:
        sim.run(until=59)
        before = sim._kernel.steps
        sim.run(until=59 + 6000)
        assert sim._kernel.steps - before < 100 * 3 + 50
        assert len(beats(sim)) == 101


def test_a_worker_without_heartbeats_wakes_for_its_pool_each_five_seconds_and_for_tasks() -> None:
    """What makes days of an hourly schedule cheap, with a worker; see the page of benchmarks."""
    app = Celery("proj", broker="amqp://")
    app.conf.update(broker_heartbeat=0, beat_max_loop_interval=3600, beat_schedule=entry(3600.0))
    add_of(app)
    silent = {"without_heartbeat": True, "without_gossip": True, "without_mingle": True}
    with Simulation(app, workers={"w1": silent}, beat=True, concurrency=1) as sim:
        sim.advance(60)
        before, hours = sim._kernel.steps, 12
        sim.advance(hours * 3600)
        assert len(sim.trace.starts) == hours
        assert sim._kernel.steps - before < hours * (720 + 40)
