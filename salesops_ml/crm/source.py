"""The one door to sources: whatever the configuration names, canonical tables come out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from salesops_ml.crm.draft import Draft
from salesops_ml.crm.event_log import read_event_log
from salesops_ml.crm.files import read_files
from salesops_ml.crm.settle import settle
from salesops_ml.schema import CanonicalTables
from salesops_ml.settings import Settings
from salesops_ml.source_settings import EventLogSource, FilesSource, SyntheticSource

Progress = Callable[[int], None]


def read_source(settings: Settings, *, progress: Progress | None = None) -> CanonicalTables:
    """Everything that the configured source holds, checked, with what could not be used as rejects.

    Args:
        settings: the run's settings; `settings.source` says what is read.
        progress: called now and then with the number of rows read so far.

    Raises:
        SourceError: a file cannot be read, or more than half of a table's rows cannot be used.
        ConfigError: the mapping names what is not there.
        DataError: the source has no deals.
    """
    return settle(read_draft(settings, progress=progress), settings)


def read_draft(settings: Settings, *, progress: Progress | None = None) -> Draft:
    """What the configured source holds, before rows are checked against each other."""
    source = settings.source
    if isinstance(source, FilesSource):
        return read_files(settings, progress=progress)
    if isinstance(source, EventLogSource):
        return read_event_log(settings, progress=progress)
    if isinstance(source, SyntheticSource):
        return _synthetic_draft(source)
    from salesops_ml.crm.crm_ingest import read_crm

    return read_crm(settings, source, read_at=datetime.now(UTC).replace(tzinfo=None))


def _synthetic_draft(source: SyntheticSource) -> Draft:
    from salesops_ml.synthetic import generate, parameters_from

    world = generate(parameters_from(source))
    return Draft.of(world, "the synthetic world")
