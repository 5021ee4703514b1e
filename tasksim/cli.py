"""The command line: `tasksim run FILE`.

Exit codes: 0 if all expectations hold, 1 if one does not, 2 if what was asked for cannot be done.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from tasksim import __version__
from tasksim.errors import TasksimError

if TYPE_CHECKING:
    from tasksim.scenario import Outcome

__all__ = ["main"]

FAILED, IMPOSSIBLE = 1, 2


@click.group()
@click.version_option(__version__, prog_name="tasksim")
def main() -> None:
    """Run your own Celery app, its workers and its broker in one process, on a virtual clock."""


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--seed", type=int, help="Use this seed in place of the scenario's.")
@click.option("--trace", "trace_file", type=click.Path(dir_okay=False, writable=True), help="Save the trace here.")
@click.option("--quiet", is_flag=True, help="Print the verdict only.")
@click.pass_context
def run(context: click.Context, file: str, seed: int | None, trace_file: str | None, quiet: bool) -> None:
    """Run a scenario FILE; print its timeline and its verdict."""
    from tasksim.scenario import load, run_scenario

    try:
        outcome = run_scenario(load(file), seed=seed)
    except TasksimError as error:
        click.echo(f"tasksim: {error}", err=True)
        context.exit(IMPOSSIBLE)
    if not quiet:
        from tasksim.report.text import timeline

        click.echo(timeline(outcome.trace))
        click.echo()
    if trace_file is not None:
        outcome.trace.save(trace_file)
    click.echo(_verdict(outcome))
    context.exit(0 if outcome.ok else FAILED)


def _verdict(outcome: Outcome) -> str:
    """What came of a run, for people; ends with the command that repeats it if it failed."""
    scenario = outcome.scenario
    name, total = scenario.title or scenario.file, len(scenario.expect)
    ran = f"seed {outcome.seed}, {outcome.seconds:g} virtual seconds, {len(outcome.trace)} events"
    if outcome.ok:
        count = "no expectations" if total == 0 else f"{total} of {total} expectations hold"
        return f"OK      {name}: {count} ({ran})"
    lines = [f"FAILED  {name} ({ran})"]
    for finding in outcome.findings:
        place = scenario.file if finding.line is None else f"{scenario.file}:{finding.line}"
        lines.append(f"  {place}: {finding.message}")
    lines.append(f"again:  tasksim run {shlex.quote(scenario.file)} --seed {outcome.seed}")
    return "\n".join(lines)
