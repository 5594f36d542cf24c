"""The command and its flags (contract ``cli.json``, program ``loadtest``)."""

from __future__ import annotations

import typer

SETTINGS = {"help_option_names": ["-h", "--help"]}
SELECT = typer.Option([], "--select", help="Scenarios to run; only `events` in this version.")
EXCLUDE = typer.Option([], "--exclude", help="Scenarios to leave out.")


def register(app: typer.Typer) -> None:
    """Add the command ``loadtest``."""
    app.command("loadtest", context_settings=SETTINGS)(loadtest)


def loadtest(
    events: int = typer.Option(
        10, "--events", "-e", min=0, help="Events to emit a second; 0 is as fast as they are taken."
    ),
    duration: str = typer.Option("10s", "--duration", "-d", help="How long to emit events."),
    wait: str = typer.Option("10s", "--wait", "-w", help="How long to wait afterwards for runs to finish."),
    slots: int = typer.Option(0, "--slots", "-s", min=0, help="Slots of the worker; 0 is the SDK's default of 100."),
    payload_size: str = typer.Option("0kb", "--payloadSize", "-P", help="Size of each input, such as 300b or 10kb."),
    event_fanout: int = typer.Option(1, "--eventFanout", "-F", min=1, help="Workflows that each event triggers."),
    delay: str = typer.Option("0s", "--delay", "-D", help="How long each task sleeps."),
    failure_rate: float = typer.Option(
        0.0, "--failureRate", "-f", min=0.0, max=1.0, help="Share of the tasks that fail, 0 to 1."
    ),
    concurrency: int = typer.Option(
        0, "--concurrency", "-c", min=0, help="Most tasks that run at the same time; 0 is as many as there are slots."
    ),
    worker_delay: str = typer.Option("0s", "--workerDelay", "-p", help="How long to wait before the worker starts."),
    external_worker: bool = typer.Option(
        False, "--externalWorker", help="Start no worker: one runs elsewhere, from the same command or your own."
    ),
    emit_workers: int = typer.Option(
        0, "--emitWorkers", min=0, help="Most trigger requests in flight; 0 lets the load test choose."
    ),
    registration_timeout: str = typer.Option(
        "60s", "--registrationTimeout", help="How long to wait until workflows and worker are registered."
    ),
    average_duration_threshold: str = typer.Option(
        "100ms",
        "--averageDurationThreshold",
        help="Fail when the average time from trigger to result, without the delay, is longer; 0s never fails.",
    ),
    timing_sample_rate: float = typer.Option(
        1.0, "--timingSampleRate", min=0.0, max=1.0, help="Share of the runs whose times are kept, 0 to 1."
    ),
    plot_directory: str = typer.Option("", "--plotDirectory", help="Write the times as CSV and a chart as SVG there."),
    level: str = typer.Option("info", "--level", "-l", help="Log level: debug, info, warn or error."),
    dag_steps: int = typer.Option(1, "--dagSteps", "-g", min=1, help="Tasks of each workflow; only 1 in this version."),
    rl_keys: int = typer.Option(0, "--rlKeys", min=0, help="Rate limit keys; not in this version."),
    rl_limit: int = typer.Option(0, "--rlLimit", min=0, help="Rate limit of each key; not in this version."),
    rl_duration_unit: str = typer.Option("second", "--rlDurationUnit", help="Unit of the rate limit."),
    select: list[str] = SELECT,
    exclude: list[str] = EXCLUDE,
) -> None:
    """Trigger tasks at a rate against the configured server, run them, and say how long everything took.

    The server is the one of HATCHET_CLIENT_TOKEN or of the profile. Exits with 1 when a run was lost, refused or failed
    against the plan, or when the average is above the threshold.
    """
    from hatchet.cli.loadtest import plan, run

    chosen = plan.from_flags(
        events=events,
        duration=duration,
        wait=wait,
        slots=slots,
        payload_size=payload_size,
        fanout=event_fanout,
        delay=delay,
        failure_rate=failure_rate,
        concurrency=concurrency,
        worker_delay=worker_delay,
        external_worker=external_worker,
        emit_workers=emit_workers,
        registration_timeout=registration_timeout,
        threshold=average_duration_threshold,
        sample_rate=timing_sample_rate,
        plot_directory=plot_directory,
        level=level,
        later=plan.Later(
            dag_steps=dag_steps,
            rate_limit_keys=rl_keys,
            rate_limit=rl_limit,
            rate_limit_unit=rl_duration_unit,
            select=_parts(select),
            exclude=_parts(exclude),
        ),
    )
    if not run.run(chosen):
        raise typer.Exit(1)


def _parts(values: list[str]) -> tuple[str, ...]:
    """Several flags, or one with commas."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())
