"""A simulation in the cells of a notebook: the kernel's event loop shares its thread, real threads run beside it."""

from __future__ import annotations

import pytest

from tests.notebooks.kernel import run_cells

pytestmark = pytest.mark.filterwarnings("default")  # those of Jupyter's own packages

APP = """
import asyncio, gc, os, random, signal, sys, threading, time
from celery import Celery
from tasksim import Simulation
app = Celery("cells", broker="redis://", backend="redis://", set_as_current=False)

@app.task(name="nap", shared=False)
def nap(seconds):
    print("asleep in", "the notebook" if os.getpid() == kernel_pid else "a pool process")
    sys.stdout.flush()
    time.sleep(seconds)
    return seconds

@app.task(name="interrupted", shared=False)
def interrupted():
    keyboard[0](signal.SIGINT)

keyboard = [signal.raise_signal]  # inside, the module's own is the simulated process'
kernel_pid = os.getpid()

def state():
    real = abs(time.time() - os.stat("/proc/self/fd").st_mtime) < 60
    names = time.sleep is real_sleep, threading.Lock is real_lock
    return (real, names, signal.getsignal(signal.SIGINT) is on_interrupt,
            gc.isenabled(), len(threading.enumerate()), asyncio.get_running_loop().is_running())

real_sleep, real_lock, on_interrupt = time.sleep, threading.Lock, signal.getsignal(signal.SIGINT)
print(state()[:4], state()[5])
before = state()
"""


def test_a_simulation_in_one_cell_is_exact_and_leaves_nothing() -> None:
    first, whole, after, failed, after_failure, interrupted, after_interrupt, again = run_cells(
        APP,
        "with Simulation(app) as sim:\n    print(nap.delay(100).get(), sim.now)",
        "print(state() == before)",
        "with Simulation(app) as sim:\n    nap.delay(5)\n    sim.run(until=2)\n    1 / 0",
        "print(state() == before)",
        "with Simulation(app) as sim:\n    interrupted.delay()\n    sim.run()",
        "print(state() == before)",
        "with Simulation(app) as sim:\n    print(nap.delay(100).get(), sim.now)",
    )
    assert first == "(True, (True, True), True, True) True\n"
    assert whole == again == "asleep in a pool process\n100 100.0\n"
    assert after == after_failure == after_interrupt == "True\n"
    assert failed.endswith("ZeroDivisionError: division by zero")
    assert interrupted.startswith("KeyboardInterrupt")


def test_a_simulation_stays_open_from_cell_to_cell_and_the_kernel_lives_in_real_time_between_them() -> None:
    between = (
        "import IPython\nnoted = []\n"
        "IPython.get_ipython().events.register('pre_execute', lambda: noted.append(state()[0]))"
    )
    texts = run_cells(
        APP,
        between,
        "sim = Simulation(app).open()\nresult = nap.delay(50)\nprint(sim.now)",
        "print(result.get(), sim.now, time.time() - 1767268800)",
        "1 / 0",
        "began = sim.now\nawait asyncio.sleep(0.01)\nprint(sim.now - began)",
        "Simulation(app).open()",
        "drawn = random.random()\nsim.close(); sim.close()\nprint(state() == before)",
        "print(all(noted), len(noted) > 4)",
        "import random\nwith Simulation(app) as sim:\n    nap.delay(50).get()\n    print(random.random() == drawn)",
    )
    assert texts[2] == "0.0\n"
    assert texts[3] == "asleep in a pool process\n50 50.0 50.0\n"
    assert "division by zero" in texts[4]
    assert texts[5] == "0.0\n"
    assert "UsageError: a simulation is running already" in texts[6]
    assert "close()" in texts[6]
    assert texts[7:9] == ["True\n", "True True\n"]
    assert texts[9] == "asleep in a pool process\nTrue\n"
