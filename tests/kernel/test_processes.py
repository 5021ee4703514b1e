"""Death: nothing of a buried process runs again."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap

from tasksim.kernel.loop import SECOND, Kernel
from tasksim.kernel.process import Process


def test_nothing_of_a_buried_process_runs_again(kernel: Kernel) -> None:
    seen: list[str] = []

    def body() -> None:
        try:
            kernel.sleep(1)
            seen.append("went on")
        except BaseException:
            seen.append("an exception")
            raise
        finally:
            seen.append("finally")

    process = Process(kernel.new_pid(), "w1")
    kernel.cells.exec(process)
    kernel.spawn(process, body)
    kernel.spawn(process, body)
    kernel.sleep(0.5)
    kernel.bury(process)
    del process
    gc.collect()
    kernel.sleep(5)
    assert seen == []


def test_a_process_that_was_buried_before_its_first_step_never_begins(kernel: Kernel) -> None:
    seen: list[str] = []
    process = Process(kernel.new_pid(), "w1")
    kernel.cells.exec(process)
    kernel.spawn(process, seen.append, "began")
    kernel.bury(process)
    kernel.sleep(1)
    assert seen == []


def test_a_process_can_give_itself_up_and_others_go_on(kernel: Kernel) -> None:
    seen: list[str] = []

    def body() -> None:
        try:
            kernel.bury(process)
            kernel.leave()
        finally:
            seen.append("finally")

    process = Process(kernel.new_pid(), "w1")
    kernel.cells.exec(process)
    kernel.spawn(process, body)
    kernel.sleep(1)
    assert seen == []
    assert kernel.now_ns == SECOND


def test_failing_ends_the_process_and_tells_the_test(kernel: Kernel) -> None:
    seen: list[str] = []

    def body() -> None:
        try:
            kernel.fail(ValueError("the world is wrong"))
        finally:
            seen.append("finally")

    process = Process(kernel.new_pid(), "w1")
    kernel.cells.exec(process)
    kernel.spawn(process, body)
    try:
        kernel.sleep(1)
    except ValueError as exc:
        seen.append(str(exc))
    assert seen == ["the world is wrong"]


def test_no_finally_of_a_dead_or_an_abandoned_process_runs_at_interpreter_exit() -> None:
    program = textwrap.dedent(
        """
        import gc
        from tasksim.kernel.loop import Kernel
        from tasksim.kernel.process import Process

        kernel = Kernel(Process(1, "client"))

        def body(name):
            try:
                kernel.sleep(100)
            finally:
                print("finally of", name)

        def main():
            killed = Process(kernel.new_pid(), "killed")
            kernel.cells.exec(killed)
            kernel.spawn(killed, body, "killed")
            kernel.at(0, kernel.run_in, kernel.driver, lambda: None)
            kernel.spawn(kernel.driver, body, "a thread of the test")
            kernel.sleep(1)
            kernel.bury(killed)
            kernel.sleep(1)
            kernel.close()

        main()
        del kernel
        gc.collect()
        print("the end")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "the end\n"
    assert done.stderr == ""
