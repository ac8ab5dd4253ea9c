"""Every error a user can meet, in one small tree.

A message names the place (file, row, column or setting), what came, and the cure.
The command line turns the tree into exit codes: 2 for `UsageError`, 3 for `GateError`, else 1.
"""

from __future__ import annotations


class SalesOpsError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code = 1


class UsageError(SalesOpsError):
    """The caller asked for something that cannot be: a wrong option or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong kind, or contradicts another."""


class SourceError(SalesOpsError):
    """A source file or service cannot be read as it stands."""


class DataError(SalesOpsError):
    """The tables were read, but do not hold what a step needs."""


class SchemaError(DataError):
    """A table does not have the columns or kinds that the canonical schema asks for."""


class ModelError(SalesOpsError):
    """A model cannot be trained, loaded or applied."""


class RegistryError(ModelError):
    """The model registry refused, or holds something that must not be loaded."""


class WriteBackError(SalesOpsError):
    """Scores could not be written to their target; the journal says how far it came."""


class GateError(SalesOpsError):
    """A gate from the configuration said no."""

    exit_code = 3
