"""What every phase is handed: the settings, the run folder, the day, and a way to tell progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from salesops_ml.app.deal_model import Prepared
from salesops_ml.app.open_looks import OpenLooks
from salesops_ml.app.progress import Progress
from salesops_ml.app.run_folder import RunFolder
from salesops_ml.forecasts.submissions import with_submissions
from salesops_ml.periods import parse_moment
from salesops_ml.settings import Settings
from salesops_ml.snapshots import is_dated, record_end
from salesops_ml.warehouse import Warehouse


@dataclass
class Job:
    """One run of the pipeline.

    Attributes:
        looks: the open deals of the days that the phases speak of, built once.
        prepared: the data set as read from the run folder, once a phase has asked for it.
    """

    settings: Settings
    folder: RunFolder
    progress: Progress
    started_at: datetime
    looks: OpenLooks = field(default_factory=OpenLooks)
    prepared: Prepared | None = None

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """The warehouse of the settings, open for reading, with what people submitted."""
        with Warehouse.open(self.settings.warehouse, threads=self.settings.threads) as warehouse:
            yield with_submissions(warehouse, self.settings.warehouse)

    def as_of(self, warehouse: Warehouse) -> datetime:
        """The day that the run speaks of: the configured one, or the end of the record.

        Where nothing is dated it is the start of the run.
        """
        if self.settings.as_of is not None:
            return parse_moment(self.settings.as_of)
        return record_end(warehouse) if is_dated(warehouse) else self.started_at
