"""`python -m tasksim` is the command `tasksim`."""

from __future__ import annotations

from tasksim.cli import main

if __name__ == "__main__":
    main(prog_name="tasksim")
