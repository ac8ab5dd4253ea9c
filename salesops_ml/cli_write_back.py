"""`salesops write-back ...`: what became of scores on their way into the CRM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(
    name="write-back",
    help="Resume, look at, or take back what was written into the CRM.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Option("--config", help="Configuration file (YAML).")]
Json = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation
    typer.Option("--json", help="Write the result as JSON to this file; - for standard output."),
]
OneRun = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(help="The run; the last one that is not finished if absent."),
]
DEFAULT_CONFIG = Path("configs/demo.yaml")


@app.command()
def resume(
    run: OneRun = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Try again what the CRM refused, too.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = None,
) -> None:
    """Go on with a write-back that was interrupted or stopped."""
    from salesops_ml.app import write_back

    _tell(write_back.resume(_settings(config), run, failed=failed), json)


@app.command()
def status(
    run: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="One run; all of them if absent."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    json: Json = None,
) -> None:
    """Tell how far write-backs have come, and why deals were refused."""
    from salesops_ml.app import write_back

    _tell(write_back.status(_settings(config), run), json)


@app.command()
def rollback(
    run: Annotated[str, typer.Argument(help="The run to take back.")],
    config: Config = DEFAULT_CONFIG,
    json: Json = None,
) -> None:
    """Restore the values that stood before a run, unless a person changed them since."""
    from salesops_ml.app import write_back

    _tell(write_back.undo(_settings(config), run), json)


@app.command()
def check(
    create_fields: Annotated[
        bool,
        typer.Option("--create-fields", help="Create what is missing, where the CRM allows it."),
    ] = False,
    config: Config = DEFAULT_CONFIG,
    json: Json = None,
) -> None:
    """Tell whether the CRM's fields are ready for scores, and what to do where they are not."""
    from salesops_ml.app import write_back

    _tell(write_back.check(_settings(config), create_fields=create_fields), json)


def _settings(config: Path) -> Any:
    from salesops_ml.settings import load

    return load(config)


def _tell(told: Any, json: str | None) -> None:
    from salesops_ml.cli import _tell as tell

    tell(told, json)
