"""The command line: `tasksim run FILE`, `replay TRACE`, `check TRACE`, `compare-eager FUNCTION`.

Exit codes: 0 if all is well (expectations hold, the runs are the same, nothing was found), 1 if not, 2 if what was
asked for cannot be done.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from tasksim import __version__
from tasksim.errors import TasksimError, UsageError

if TYPE_CHECKING:
    from tasksim.scenario import Outcome

__all__ = ["main"]

FAILED, IMPOSSIBLE = 1, 2

Found = TypeVar("Found")


def _can_be_written(_: click.Context, option: click.Parameter, path: str | None) -> str | None:
    """Before the run: it may take long, and would be lost."""
    folder = os.path.dirname(path) if path else ""
    if folder and not os.path.isdir(folder):
        raise click.BadParameter(f"there is no folder {folder!r}; make it first, or name another file", param=option)
    if path and not os.path.exists(path) and not os.access(folder or ".", os.W_OK):
        raise click.BadParameter(f"the folder {folder or '.'!r} is not writable; name another file", param=option)
    return path


@click.group()
@click.version_option(__version__, prog_name="tasksim")
def main() -> None:
    """Run your own Celery app, its workers and its broker in one process, on a virtual clock."""


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--seed", type=int, help="Use this seed in place of the scenario's.")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(dir_okay=False, writable=True),
    callback=_can_be_written,
    help="Save the trace here.",
)
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
        from tasksim.scenario import header

        try:
            outcome.trace.save(trace_file, **header(outcome))
        except OSError as error:
            click.echo(f"tasksim: {trace_file}: the trace cannot be saved: {error.strerror}", err=True)
            context.exit(IMPOSSIBLE)
    click.echo(_verdict(outcome))
    context.exit(0 if outcome.ok else FAILED)


@main.command()
@click.argument("trace", type=click.Path(dir_okay=False))
@click.option("--scenario", type=click.Path(dir_okay=False), help="Where the scenario file is now.")
@click.pass_context
def replay(context: click.Context, trace: str, scenario: str | None) -> None:
    """Run a TRACE file again that `tasksim run --trace` wrote; print the first difference, if any."""
    from tasksim.scenario import replay as run_again

    try:
        again = run_again(trace, scenario=scenario)
    except TasksimError as error:
        click.echo(f"tasksim: {error}", err=True)
        context.exit(IMPOSSIBLE)
    for name, (then, now) in again.changed.items():
        click.echo(f"note    {name} was {then} then, and is {now} now")
    if again.difference is None:
        click.echo(f"SAME    {trace}: {len(again.before)} events (seed {again.outcome.seed})")
        context.exit(0)
    click.echo(f"DIFFERENT  {trace}: {again.difference}")
    context.exit(FAILED)


@main.command()
@click.argument("trace", type=click.Path(dir_okay=False))
@click.option("--only", multiple=True, metavar="NAME", help="This check only; may be given several times.")
@click.pass_context
def check(context: click.Context, trace: str, only: tuple[str, ...]) -> None:
    """Look in a TRACE file for what must not happen: messages lost, run twice, retried without end, too early ..."""
    from tasksim.check import CHECKS, check_trace
    from tasksim.report.text import timeline
    from tasksim.trace import Trace

    try:
        loaded = Trace.load(trace)
        findings = check_trace(loaded, *only)
    except TasksimError as error:
        click.echo(f"tasksim: {error}", err=True)
        context.exit(IMPOSSIBLE)
    for finding in findings:
        click.echo(f"{finding}\n{_indented(timeline(finding.events))}\n")
    total = len(only or CHECKS)
    found = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "nothing found"
    click.echo(f"{'FAILED' if findings else 'OK    '}  {trace}: {found} by {total} check{'' if total == 1 else 's'}")
    context.exit(FAILED if findings else 0)


@main.command("compare-eager")
@click.argument("function", metavar="MODULE:FUNCTION")
@click.option("--app", required=True, metavar="MODULE:NAME", help="The Celery app.")
@click.option("--workers", type=int, default=1, show_default=True, help="How many workers run the tasks.")
@click.option("--seed", type=int, default=0, show_default=True, help="The seed.")
@click.pass_context
def compare(context: click.Context, function: str, app: str, workers: int, seed: int) -> None:
    """Call FUNCTION with Celery's eager mode and in the simulation; list what eager mode had hidden."""
    from tasksim.comparison import compare_eager, load_function
    from tasksim.simulation import load_app

    try:
        calls = _had(function, load_function)
        found = compare_eager(_had(app, load_app), calls, workers=workers, seed=seed)
    except TasksimError as error:
        click.echo(f"tasksim: {error}", err=True)
        context.exit(IMPOSSIBLE)
    for hidden in found:
        click.echo(str(hidden))
    says = f"{len(found)} thing{'' if len(found) == 1 else 's'} hidden by eager mode" if found else "nothing hidden"
    click.echo(f"{'FAILED' if found else 'OK    '}  {function}: {says}")
    context.exit(FAILED if found else 0)


def _had(name: str, load: Callable[[str], Found]) -> Found:
    """What is loaded by its name; whatever its module raises is no traceback but a reason."""
    try:
        return load(name)
    except TasksimError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f'{name!r} cannot be had: {error!r}; write "package.module:name", importable here') from error


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _verdict(outcome: Outcome) -> str:
    """What came of a run, for people; ends with the command that repeats it if it failed."""
    scenario = outcome.scenario
    name, total = scenario.title or scenario.file, len(scenario.expect)
    ran = f"seed {outcome.seed}, {outcome.seconds:g} virtual seconds, {len(outcome.trace)} events"
    if outcome.ok:
        count = "no expectations" if total == 0 else f"{total} of {total} expectations hold"
        return f"OK      {name}: {count} ({ran})"
    lines = [f"FAILED  {name} ({ran})", *(f"  {line}" for line in outcome.lines)]
    lines.append(f"again:  {outcome.command}")
    return "\n".join(lines)
