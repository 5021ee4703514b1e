"""Clocks: everything shows virtual time, to the simulation's thread only, and the real one again at the end."""

from __future__ import annotations

import _thread
import datetime as dt
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from time import monotonic as imported_monotonic
from time import time as imported_time
from typing import Any

import freezegun
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from kombu.asynchronous.timer import Timer

from tasksim import Simulation
from tasksim.errors import UsageError
from tasksim.kernel.agenda import FREE_LOOKS, Agenda
from tasksim.kernel.choice import Choice
from tasksim.patching import clock
from tests.scene import make_app

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
EPOCH = START.timestamp()


class LocalClass(datetime):
    """A user's own datetime."""


def default_argument(now: Callable[[], float] = time.time) -> float:
    return now()


@pytest.fixture
def sim() -> Any:
    with Simulation(make_app(), workers=0) as sim:
        yield sim


def test_the_default_start_is_shown_exactly_when_now_is_0(sim: Simulation) -> None:
    assert sim.now == 0
    assert datetime.now(UTC) == START
    assert time.time() == EPOCH


def test_the_start_is_shown_before_the_first_step_too() -> None:
    with Simulation(make_app(), workers=1):
        assert datetime.now(UTC) == START


SHOWN: list[tuple[Callable[[], Any], Any]] = [
    (time.time, EPOCH + 90),
    (time.time_ns, int(EPOCH + 90) * 10**9),
    (imported_time, EPOCH + 90),
    (default_argument, EPOCH + 90),
    (lambda: datetime.now(UTC), START + timedelta(seconds=90)),
    (lambda: datetime.now(tz=UTC), START + timedelta(seconds=90)),
    (lambda: datetime.now(timezone(timedelta(hours=2))), START + timedelta(seconds=90)),
    (lambda: datetime.now().astimezone(UTC), START + timedelta(seconds=90)),
    (datetime.utcnow, datetime(2026, 1, 1, 12, 1, 30)),
    (lambda: datetime.today().astimezone(UTC), START + timedelta(seconds=90)),
    (lambda: LocalClass.now(UTC), START + timedelta(seconds=90)),
    (lambda: type(LocalClass.now(UTC)), LocalClass),
    (date.today, datetime.fromtimestamp(EPOCH + 90).date()),
    (lambda: dt.datetime.now(UTC).isoformat(), "2026-01-01T12:01:30+00:00"),
    (lambda: time.gmtime()[:6], (2026, 1, 1, 12, 1, 30)),
    (lambda: time.mktime(time.localtime()), EPOCH + 90),
    (time.ctime, time.ctime(EPOCH + 90)),
    (time.asctime, time.asctime(time.localtime(EPOCH + 90))),
    (lambda: time.strftime("%Y-%m-%d %H:%M:%S"), time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(EPOCH + 90))),
]


@pytest.mark.parametrize(("look", "shown"), SHOWN, ids=map(str, range(len(SHOWN))))
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
def test_every_clock_shows_virtual_time(sim: Simulation, look: Callable[[], Any], shown: Any) -> None:
    sim.advance(90)
    assert look() == shown


def test_with_an_argument_the_formatters_do_as_ever(sim: Simulation) -> None:
    sim.advance(1)
    assert time.gmtime(0)[:6] == (1970, 1, 1, 0, 0, 0)
    assert time.gmtime(None)[:6] == (2026, 1, 1, 12, 0, 1)
    assert time.strftime("%Y", time.gmtime(0)) == "1970"
    assert time.asctime(time.gmtime(0)) == "Thu Jan  1 00:00:00 1970"


@pytest.mark.parametrize(
    "mistake",
    [lambda: time.gmtime("x"), lambda: time.strftime(5), lambda: time.localtime(1e30), lambda: datetime.now("x")],
)
def test_a_bad_argument_is_an_error(sim: Simulation, mistake: Any) -> None:
    with pytest.raises(SystemError):  # a TypeError or an OverflowError in life: that cannot be handed through
        mistake()
    assert sim.now == 0


def test_clocks_in_a_task_show_virtual_time() -> None:
    app = make_app()

    @app.task(shared=False, name="look")
    def look() -> list[Any]:
        before = time.monotonic()
        time.sleep(3600)
        return [datetime.now(UTC).isoformat(), time.monotonic() - before, time.strftime("%H:%M", time.gmtime())]

    with Simulation(app):
        assert look.delay().get() == ["2026-01-01T13:00:00+00:00", 3600.0, "13:00"]


def test_the_direct_way_to_the_clock_shows_the_same_inside() -> None:
    def direct() -> Callable[[], float]:
        return Timer.__iter__.__defaults__[1]  # type: ignore[no-any-return]

    real = direct()
    assert real is time.monotonic
    with Simulation(make_app()) as sim:
        assert direct() is not real
        sim.advance(7)
        assert direct()() == time.monotonic() == 1007
        for _ in range(2 * FREE_LOOKS):
            time.monotonic()
        assert time.monotonic() == direct()() > 1007
    assert direct() is real


@given(st.lists(st.floats(0, 1e5), max_size=20))
def test_the_monotonic_clocks_never_go_back_and_agree_with_the_time_of_day(steps: list[float]) -> None:
    agenda = Agenda(Choice(0))
    clocks = clock.Clocks(agenda)
    clocks.set_start(round(EPOCH) * 10**9, 2 * 10**9)
    clocks.install()
    try:
        last = time.monotonic()
        origin = time.time() - last
        for step in steps:
            agenda.advance(agenda.now_ns + round(step * 10**9))
            now = time.monotonic()
            assert now >= last
            assert abs(time.time() - now - origin) < 1e-6
            assert abs(time.monotonic_ns() / 1e9 - now) < 1e-6
            assert time.perf_counter() == now
            last = now
    finally:
        clocks.restore()


def test_another_real_thread_sees_real_time(sim: Simulation) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.extend([time.time(), datetime.now(UTC), time.monotonic(), time.strftime("%Y"), imported_monotonic()])

    sim.advance(5)
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(lambda: (look(), done.release()), ())  # type: ignore[func-returns-value]
    assert done.acquire(timeout=10)
    real = clock.real_time()
    assert abs(seen[0] - real) < 60
    assert abs(seen[1].timestamp() - real) < 60
    assert abs(seen[2] - clock.real_monotonic()) < 60
    assert seen[3] == str(datetime.fromtimestamp(real).year)


def test_pytests_own_timers_stay_real(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import time
        from tests.scene import make_app
        from tasksim import Simulation

        def test_hours():
            with Simulation(make_app(), workers=0):
                time.sleep(7200)
        """
    )
    result = pytester.runpytest("-q", "--durations=0", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert not any("7200" in line or "hour" in line.split("test_hours")[0] for line in result.outlines)


def test_after_the_end_everything_is_real_again() -> None:
    with Simulation(make_app(), workers=0) as sim:
        sim.advance(1)
    real = clock.real_time()
    assert abs(time.time() - real) < 60
    assert abs(datetime.now(UTC).timestamp() - real) < 60
    assert abs(time.mktime(time.strptime(time.ctime())) - real) < 60
    assert time.strftime("%Y") == str(datetime.fromtimestamp(real).year)
    before = clock.real_monotonic()
    time.sleep(0.001)
    assert clock.real_monotonic() - before >= 0.001


# --- start


def test_start_is_an_aware_datetime() -> None:
    berlin = datetime(2030, 6, 1, 9, 30, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
    with Simulation(make_app(), workers=1, start=berlin) as sim:
        assert datetime.now(UTC) == berlin
        sim.advance(0.5)
        assert datetime.now(UTC) == berlin + timedelta(seconds=0.5)


def test_start_now_is_the_real_now() -> None:
    with Simulation(make_app(), workers=1, start="now") as sim:
        assert abs(time.time() - clock.real_time()) < 60
        sim.advance(3600)
        assert time.time() - clock.real_time() > 3500


def test_a_naive_start_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"tzinfo=timezone\.utc"), Simulation(make_app(), start=datetime(2026, 1, 1)):
        pass


# --- freezegun and time-machine

FREEZERS = [
    pytest.param(freezegun.freeze_time, id="freezegun"),
    pytest.param(lambda moment: time_machine.travel(moment, tick=False), id="time-machine"),
]
MOMENT = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
freezers = pytest.mark.parametrize("freeze", FREEZERS)


def assert_real() -> None:
    assert abs(time.time() - clock.real_time()) < 60
    assert abs(datetime.now(UTC).timestamp() - clock.real_time()) < 60


def hour_in_a_task() -> None:
    """A test's body: an hour passes in a task, and every clock has seen it."""
    app = make_app()

    @app.task(shared=False, name="hour")
    def hour() -> str:
        time.sleep(3600)
        return datetime.now(UTC).isoformat()

    with Simulation(app) as sim:
        assert datetime.now(UTC) == MOMENT
        assert hour.delay().get() == "2031-02-03T05:05:06+00:00"
        assert datetime.now(UTC) >= MOMENT + timedelta(hours=1)
        assert sim.trace.starts == [0.0]


@freezers
def test_a_frozen_test_sets_the_start_as_a_context(freeze: Any) -> None:
    with freeze(MOMENT):
        hour_in_a_task()
        assert abs(time.time() - MOMENT.timestamp()) < 1
    assert_real()


@freezers
def test_a_frozen_test_sets_the_start_as_a_decorator(freeze: Any) -> None:
    freeze(MOMENT)(hour_in_a_task)()
    assert_real()


@freezers
def test_what_is_frozen_inside_before_the_first_step_sets_the_start(freeze: Any) -> None:
    app = make_app()

    @app.task(shared=False, name="hour")
    def hour() -> str:
        time.sleep(3600)
        return datetime.now(UTC).isoformat()

    with Simulation(app) as sim:
        with freeze(MOMENT):
            assert datetime.now(UTC) == MOMENT
            assert hour.delay().get() == "2031-02-03T05:05:06+00:00"
        assert datetime.now(UTC) >= MOMENT + timedelta(hours=1)
        assert hour.delay().get() > "2031-02-03T06:05:06"
        assert sim.now >= 7200
    assert_real()


@freezers
def test_what_is_frozen_inside_and_outlives_the_simulation_is_frozen_still_and_then_real(freeze: Any) -> None:
    freezer = freeze(MOMENT)
    with Simulation(make_app()) as sim:
        freezer.start()
        sim.advance(60)
        assert datetime.now(UTC) == MOMENT + timedelta(minutes=1)
    try:
        assert abs(datetime.now(UTC) - MOMENT) < timedelta(seconds=1)
        assert abs(time.time() - MOMENT.timestamp()) < 1
    finally:
        freezer.stop()
    assert_real()


@freezers
def test_a_start_of_ones_own_goes_before_what_is_frozen(freeze: Any) -> None:
    with freeze(MOMENT), Simulation(make_app(), start=START) as sim:
        assert datetime.now(UTC) == START
        sim.advance(1)
        assert datetime.now(UTC) == START + timedelta(seconds=1)
    assert_real()


def test_no_callback_is_left_that_could_crash_the_interpreter() -> None:
    program = textwrap.dedent(
        """
        import datetime, gc, time
        import time_machine
        from tasksim import Simulation
        from tests.scene import make_app

        traveller = time_machine.travel(0, tick=False)
        with Simulation(make_app(), workers=0) as sim:
            traveller.start()
            sim.advance(1)
        del sim
        gc.collect()
        traveller.stop()
        for _ in range(3):
            time.time(), time.monotonic(), time.gmtime(), datetime.datetime.now(), time.strftime("%Y")
        print("alive", time.time() > 1.7e9 and abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 60)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive True\n", "")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_celerys_own_now_is_virtual_at_each_instant_and_follows_who_freezes_it(zone: str) -> None:
    app = make_app()
    app.conf.timezone = zone
    with Simulation(app) as sim:
        for _ in range(3):
            now = app.now()
            assert now == app.now() == datetime.now(UTC)
            assert now.utcoffset() == timedelta(hours=0 if zone == "UTC" else 1)
            sim.advance(0.5)
        before = app.now()
        sim.jump_clock(60)
        assert app.now() == datetime.now(UTC) == before + timedelta(minutes=1)
        with freezegun.freeze_time("2030-06-01 12:00:00"):
            assert app.now() == datetime(2030, 6, 1, 12, tzinfo=UTC)
        assert app.now() == datetime.now(UTC) != now
        before = app.now()
        for _ in range(2 * FREE_LOOKS):
            app.now()
        assert app.now() > before
    assert abs(app.now() - datetime.now(UTC)) < timedelta(minutes=1)
