"""`salesops`: the command line, thin; heavy things are imported only by the command that needs them.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 a gate said no.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from salesops_ml import cli_write_back
from salesops_ml.errors import SalesOpsError

app = typer.Typer(
    name="salesops",
    help="Forecast sales and mine the sales process.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_write_back.app)

Text = Optional[str]  # noqa: UP045 - typer reads the annotation
Config = Annotated[Path, typer.Option("--config", help="Configuration file (YAML).")]
Json = Annotated[
    Text,
    typer.Option("--json", help="Write the result as JSON to this file; - for standard output."),
]
AsOf = Annotated[
    Text,
    typer.Option(
        "--as-of", help="The day to speak of, e.g. 2026-03-31; the record's end if absent."
    ),
]
DEFAULT_CONFIG = Path("configs/demo.yaml")
INTERRUPTED = 130
"""How typer ends after Ctrl-C."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of ours are told in a sentence, with their exit code."""
    # Threads of the linear algebra spin while they wait: on a busy machine that costs far more than
    # they save, for the products here are small. Read when numpy is first imported, thus here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app(args=arguments, standalone_mode=True)
    except SalesOpsError as error:
        sys.stderr.write(f"salesops: {error}\n")
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code != INTERRUPTED:
            raise
        sys.stderr.write("salesops: interrupted; nothing half-written was left\n")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
) -> None:
    """Lay a workspace: configs, pipelines and notebooks to start from."""
    from salesops_ml.app.workspace import lay_workspace

    for path in lay_workspace(folder):
        typer.echo(path)


@app.command()
def synth(config: Config = DEFAULT_CONFIG, json: Json = None) -> None:
    """Make the synthetic company of the configuration and load it, with its truth beside it."""
    from salesops_ml.app import commands

    _tell(commands.synth(_settings(config)), json)


@app.command()
def ingest(config: Config = DEFAULT_CONFIG, json: Json = None) -> None:
    """Load the configured source into the warehouse, all or nothing."""
    from salesops_ml.app import commands

    _tell(commands.ingest(_settings(config)), json)


@app.command()
def profile(config: Config = DEFAULT_CONFIG, as_of: AsOf = None, json: Json = None) -> None:
    """Say what the data holds, what is missing and what that costs; audit it for leaks."""
    from salesops_ml.app import commands

    _tell(commands.profile(_settings(config, as_of=as_of)), json)


@app.command()
def run(
    config: Config = DEFAULT_CONFIG,
    phase: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--phase", help="Run one CRISP-DM phase on the latest run's files."),
    ] = None,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Run the pipeline: from the source to scores in the CRM and a report."""
    phases = _pipelines()
    names = list(phases.PHASES) if phase is None else [phase]
    _run_phases(_settings(config, as_of=as_of), names, json, fresh=phase is None)


@app.command()
def train(config: Config = DEFAULT_CONFIG, as_of: AsOf = None, json: Json = None) -> None:
    """Run the pipeline as far as the evaluation; promote and write nothing."""
    names = [name for name in _pipelines().PHASES if name != "deployment"]
    _run_phases(_settings(config, as_of=as_of), names, json, fresh=True)


@app.command()
def evaluate(config: Config = DEFAULT_CONFIG, json: Json = None) -> None:
    """Judge the latest run's model again, against the gates of the configuration."""
    _run_phases(_settings(config), ["evaluation"], json, fresh=False)


@app.command()
def tune(
    config: Config = DEFAULT_CONFIG,
    trials: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--trials", help="How many more trials this worker runs."),
    ] = None,
    minutes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--minutes", help="Begin no trial after so many minutes."),
    ] = None,
    workers_storage: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--workers-storage", help="Database URL that several workers share."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="The best settings; tuned.yaml beside the configuration."),
    ] = None,
    json: Json = None,
) -> None:
    """Search better settings for the deal model on past days; goes on where it stopped."""
    from salesops_ml.app import commands

    limits: Any = {"trials": trials, "minutes": minutes}
    settings = _settings(config)
    _tell(commands.tune(settings, config, storage=workers_storage, out=out, **limits), json)


@app.command()
def forecast(
    config: Config = DEFAULT_CONFIG,
    supposed: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--what-if",
            help="Suppose lost:DEAL, won:DEAL, slip:DEAL=DATE, amount:DEAL=NUMBER,"
            " win-rate:COLUMN=VALUE=POINTS, leaves:REP or leaves:REP=OTHER; may be repeated.",
        ),
    ] = None,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Forecast revenue with the champion, as things are or as supposed."""
    from salesops_ml.app import commands

    _tell(commands.forecast(_settings(config, as_of=as_of), supposed or ()), json)


@app.command()
def waterfall(
    since: Annotated[str, typer.Option("--from", help="The earlier day, e.g. 2026-03-24.")],
    until: Annotated[Text, typer.Option("--to", help="The later day; the record's end.")] = None,
    period: Annotated[Text, typer.Option("--period", help="Only of it, e.g. 2026-Q4.")] = None,
    node: Annotated[Text, typer.Option("--node", help="Path in the hierarchy.")] = None,
    of_forecast: Annotated[
        bool, typer.Option("--forecast", help="Tell why the forecast changed, by the champion.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = None,
) -> None:
    """Tell why the open pipeline, or the forecast, is not what it was on an earlier day."""
    from salesops_ml.app import commands

    asked: Any = {"since": since, "period": period, "node": node, "of_forecast": of_forecast}
    _tell(commands.waterfall(_settings(config, as_of=until), **asked), json)


@app.command()
def backtest(
    config: Config = DEFAULT_CONFIG,
    quarters: Annotated[
        int, typer.Option("--quarters", min=1, help="How many past quarters, week by week.")
    ] = 4,
    every: Annotated[
        str, typer.Option("--every", help="How often: week, fortnight or month.")
    ] = "week",
    out: Annotated[Path, typer.Option("--out", help="Folder for record and page.")] = Path(
        "record"
    ),
    latest: Annotated[
        bool,
        typer.Option("--latest", help="Tell what the latest run replayed, and replay nothing."),
    ] = False,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Forecast every week of past quarters again with what was known then, beside what came."""
    from salesops_ml.app import commands

    settings = _settings(config, as_of=as_of)
    if latest:
        _tell(commands.latest_record(settings), json)
    else:
        _tell(commands.backtest(settings, quarters=quarters, every=every, out=out), json)


@app.command()
def submit(
    node: Annotated[str, typer.Option("--node", help="Path in the hierarchy, e.g. company/EMEA.")],
    period: Annotated[str, typer.Option("--period", help="Month or quarter, e.g. 2026-Q4.")],
    amount: Annotated[float, typer.Option("--amount", help="What it will bring in all.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in a few words.")],
    category: Annotated[
        str, typer.Option("--category", help="commit (scored later), best_case or pipeline.")
    ] = "commit",
    author: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--author", help="Who says so; the user of this machine if absent."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Store what a person says a period will bring; it is never mixed into the model, but scored."""
    from salesops_ml.app import commands

    said = {"node": node, "period": period, "amount": amount, "reason": reason}
    settings = _settings(config, as_of=as_of)
    _tell(commands.submit(settings, category=category, author=author, **said), json)


@app.command()
def mine(
    config: Config = DEFAULT_CONFIG,
    as_of: AsOf = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the map.")] = Path("."),
    json: Json = None,
) -> None:
    """What to mend in the sales process, what that costs, why, and the map."""
    from salesops_ml.app import commands

    _tell(commands.mine(_settings(config, as_of=as_of), out), json)


@app.command()
def kpis(config: Config = DEFAULT_CONFIG, as_of: AsOf = None, json: Json = None) -> None:
    """Compute the KPIs of the last periods."""
    from salesops_ml.app import commands

    _tell(commands.kpis(_settings(config, as_of=as_of)), json)


@app.command()
def score(
    config: Config = DEFAULT_CONFIG,
    as_of: AsOf = None,
    write_back: Annotated[
        bool, typer.Option("--write-back", help="Write the scores to the CRM database.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")
    ] = False,
    create_fields: Annotated[
        bool, typer.Option("--create-fields", help="Create missing fields of ours in the CRM.")
    ] = False,
    json: Json = None,
) -> None:
    """Score every open deal with the champion."""
    from salesops_ml.app import commands

    asked: Any = {"write": write_back, "dry_run": dry_run, "create_fields": create_fields}
    _tell(commands.score(_settings(config, as_of=as_of), **asked), json)


@app.command()
def twin(
    vendor: Annotated[str, typer.Argument(help="hubspot, salesforce, amocrm or bitrix24.")],
    port: Annotated[int, typer.Option("--port", help="Where it listens; 0: any free port.")] = 0,
) -> None:
    """Start a stand-in of a CRM on this machine, to try the whole loop without an account."""
    from salesops_ml.crm.twin_server import serve

    serve(vendor, port=port, say=typer.echo)


@app.command("what-if")
def what_if(
    deal: Annotated[str, typer.Argument(help="The deal_id of an open deal.")],
    config: Config = DEFAULT_CONFIG,
    advance: Annotated[bool, typer.Option("--advance", help="It moves to the next stage.")] = False,
    meeting: Annotated[bool, typer.Option("--meeting", help="It gets a meeting today.")] = False,
    push: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--push", min=1, help="Its close date is pushed by so many days."),
    ] = None,
    cut: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--cut", min=0.01, max=0.99, help="Its amount is cut by this share."),
    ] = None,
    silence: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--silence", min=1, help="Nothing happens for so many days."),
    ] = None,
    as_of: AsOf = None,
    json: Json = None,
) -> None:
    """Tell how a deal's chance and date would look after a change; all usual ones if none is named."""
    from salesops_ml.app import commands

    said = {"push": push, "cut": cut, "silence": silence}
    said |= {"advance": 0.0 if advance else None, "meeting": 0.0 if meeting else None}
    changes = {kind: size for kind, size in said.items() if size is not None}
    _tell(commands.what_if(_settings(config, as_of=as_of), deal, changes), json)


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="Version of the deal model.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = None,
) -> None:
    """Make a registered version of the deal model the champion."""
    from salesops_ml.app import commands

    _tell(commands.promote_version(_settings(config), version), json)


@app.command()
def rollback(config: Config = DEFAULT_CONFIG, json: Json = None) -> None:
    """Put the champion before this one back into use."""
    from salesops_ml.app import commands

    _tell(commands.roll_back(_settings(config)), json)


@app.command()
def report(config: Config = DEFAULT_CONFIG, json: Json = None) -> None:
    """Lay out the report of the latest run again."""
    from salesops_ml.app import commands

    _tell(commands.report(_settings(config)), json)


def _settings(config: Path, *, as_of: str | None = None) -> Any:
    from salesops_ml.periods import parse_moment
    from salesops_ml.settings import load

    if as_of is not None:
        parse_moment(as_of, what="--as-of")
    return load(config, overrides={"as_of": as_of} if as_of else None)


def _pipelines() -> Any:
    """The workspace's own pipelines, from the folder that the command runs in."""
    import importlib

    from salesops_ml.errors import UsageError

    if not (Path.cwd() / "pipelines" / "phases.py").exists():
        raise UsageError(
            f"{Path.cwd()}: no `pipelines` here; go to a workspace, or lay one with `salesops init`"
        )
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module("pipelines.phases")


def _run_phases(settings: Any, names: list[str], json: str | None, *, fresh: bool) -> None:
    place = _pipelines().run_phases(settings, phases=names, fresh=fresh)
    from salesops_ml.app.told import Told

    words = [f"run folder: {place}"]
    if (place / "report.html").exists() and "deployment" in names:
        words.append(f"report:     {place / 'report.html'}")
    told = {"run": str(place)}
    if (place / "model_card.html").exists() and "evaluation" in names:
        told["model_card"] = str(place / "model_card.html")
        words.append(f"model card: {told['model_card']}")
    _tell(Told("\n".join(words), told), json)


def _tell(told: Any, json: str | None) -> None:
    """The result for the reader on standard output, or as JSON where asked."""
    import json as js

    if json is None:
        typer.echo(told.text)
        return
    text = js.dumps(told.values, indent=1, ensure_ascii=False, default=str)
    if json == "-":
        typer.echo(text)
        return
    try:
        Path(json).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SalesOpsError(f"--json {json}: cannot be written: {error}") from error
    typer.echo(told.text)


if __name__ == "__main__":
    main()
