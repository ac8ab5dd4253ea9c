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


class RemoteError(SourceError, WriteBackError):
    """A vendor's service did not do what was asked, in reading or in writing."""


class NotSent(RemoteError):
    """The call surely took no effect; it may be made again."""


class Throttled(NotSent):
    """The vendor asks for a pause before the call is made again.

    Attributes:
        seconds: how long the pause is.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Ambiguous(RemoteError):
    """The call may have taken effect: what stands there must be read before it is made again."""


class Refused(RemoteError):
    """The vendor says no, and will say no again until a person changes something.

    Attributes:
        status: the HTTP status, 0 where there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GateError(SalesOpsError):
    """A gate from the configuration said no."""

    exit_code = 3
