"""Which CRM scores are written to, and whether its fields are ready for them."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from salesops_ml.crm.sql_engine import Database
from salesops_ml.crm.target import FieldProblem, Target
from salesops_ml.errors import ConfigError, UsageError, WriteBackError
from salesops_ml.settings import Settings
from salesops_ml.source_settings import Source
from salesops_ml.write_back_settings import WriteBack

TARGETS = {
    "tryton": "salesops_ml.crm.tryton_target:open_target",
    "salesforce": "salesops_ml.crm.salesforce_target:open_target",
    "hubspot": "salesops_ml.crm.hubspot_target:open_target",
    "amocrm": "salesops_ml.crm.amocrm_target:open_target",
    "bitrix24": "salesops_ml.crm.bitrix24_target:open_target",
}
"""By `write_back.target`: `module:function` that makes the target from the run's settings; the function
asks `connection_of` how the CRM is reached. A further CRM is one more line and one more file."""

_WORDS = {
    "missing": "is missing",
    "read_only": "cannot be written",
    "wrong_type": "is of another kind",
}


def open_target(settings: Settings) -> Target:
    """The CRM that `write_back.target` names.

    Raises:
        UsageError: there is no way to write to it in this version.
        ConfigError: its connection is not configured.
    """
    name = options_of(settings).target
    if name not in TARGETS:
        raise UsageError(f"`write_back.target`: `{name}` is no CRM; they are: {', '.join(TARGETS)}")
    module, _, function = TARGETS[name].partition(":")
    try:
        make: Callable[[Settings], Target] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UsageError(
            f"`write_back.target`: `{name}` cannot be written in this version"
        ) from None
    return make(settings)


def options_of(settings: Settings) -> WriteBack:
    """The settings of writing back, with every option of a CRM."""
    return WriteBack.model_validate(settings.write_back.model_dump())


def connection_of(settings: Settings) -> Any:
    """How the CRM is reached: `write_back.connection`, else `source` where it is the same CRM.

    Raises:
        ConfigError: neither says it, or a key is wrong; values are not repeated.
    """
    name, given = options_of(settings).target, options_of(settings).connection
    if not given:
        if str(settings.source.type) == name:
            return settings.source
        raise ConfigError(
            f"`write_back.connection`: say how {name} is reached, with the keys of `source: "
            f"{{type: {name}}}`"
        )
    try:
        return TypeAdapter(Source).validate_python({**given, "type": name})
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"][1:])
        message = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(f"`write_back.connection.{place}`: {message}") from None


def pace_book(settings: Settings, place: str) -> Path:
    """The file that keeps the times of the last calls to a CRM: beside the outbox, one a place.

    Who reads from that CRM uses it too, so that reading and writing stay below the limit together.

    Example:
        >>> pace_book(Settings(), "https://api.hubapi.com").name
        'calls-f50e7382'
    """
    file = Database(options_of(settings).outbox, setting="write_back.outbox").file
    folder = file.parent if file else Path("store")
    return folder / f"calls-{hashlib.blake2b(place.encode(), digest_size=4).hexdigest()}"


def check_fields(target: Target, *, create: bool = False) -> list[FieldProblem]:
    """Find out before the first write whether the fields of ours are there, writable, and of the kind.

    Args:
        target: the CRM.
        create: create what is missing, where the CRM's API allows it.

    Returns:
        What was created.

    Raises:
        WriteBackError: what is wrong with each field, and what to do about it; nothing was written.
    """
    problems = target.missing_fields()
    created = [problem for problem in problems if problem.creatable] if create else []
    if created:
        target.create_fields(created)
        problems = target.missing_fields()
    if problems:
        lines = [f"  `{one.field}` {_WORDS[one.problem]}: {one.cure}" for one in problems]
        hint = ""
        if any(problem.creatable for problem in problems):
            hint = "\nOr let us create what is missing: --create-fields"
        raise WriteBackError(
            f"{target.place}: not ready for scores, nothing was written.\n"
            + "\n".join(lines)
            + hint
        )
    return created
