"""Salesforce's Bulk API 2.0: many opportunities written by one job that Salesforce does in its own time.

Until `UploadComplete` was said nothing has taken effect; after it the job is waited for. A job whose end
was not seen - a crash, a lost answer - may still write later, so it is waited for before anything is
read back or sent again: otherwise old scores could come after new ones.

Source: Salesforce Bulk API 2.0 and Bulk API Developer Guide, "Bulk API 2.0 Ingest".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from salesops_ml.crm.salesforce_api import Org
from salesops_ml.errors import Ambiguous, NotSent, Throttled

NOTHING = "#N/A"
"""Empties a field; an empty value would leave it as it is."""
LONGEST_JOB = 3_600.0
"""Seconds that a job is waited for."""
_PAUSES = (1.0, 2.0, 3.0, 5.0, 10.0)
_AT_WORK = ("UploadComplete", "InProgress")


def upload(org: Org, records: Sequence[Mapping[str, Any]]) -> str:
    """A job with its records that has not begun; whatever goes wrong here took no effect.

    Args:
        org: the org.
        records: each with `Id` and the same fields; None empties a field.

    Returns:
        The job's id.

    Raises:
        NotSent: an answer was lost, or Salesforce asks for a pause.
        Refused: the user may not do this.
    """
    asked = {"object": "Opportunity", "operation": "update", "contentType": "CSV",
             "lineEnding": "LF", "columnDelimiter": "COMMA"}  # fmt: skip
    try:
        job = str(org.write("POST", "jobs/ingest", json=asked).json()["id"])
        org.write("PUT", f"jobs/ingest/{job}/batches", content=_csv(records),
                  headers={"content-type": "text/csv; charset=UTF-8"})  # fmt: skip
    except Ambiguous as error:
        raise NotSent(f"{error}; the Bulk job was not begun") from None
    return job


def finish(org: Org, job: str) -> dict[str, str | None]:
    """Let a job begin, wait for its end, and read what became of each record.

    Returns:
        By id: None where it was done, else why not, as `CODE:message`. Ids that the job did not come to
        are left out.

    Raises:
        RemoteError: the job's end was not seen; it may have taken effect, or still do.
    """
    org.door.patiently(lambda: _begin(org, job))
    wait_for(org, job)
    done = {row["sf__Id"]: None for row in _rows(org, job, "successfulResults")}
    refused = {
        row.get("Id") or row["sf__Id"]: row["sf__Error"] for row in _rows(org, job, "failedResults")
    }
    return {**done, **refused}


def wait_for_others(org: Org) -> None:
    """Wait for the jobs on opportunities that our user has begun and that may still write.

    Raises:
        Throttled: one is still at work after an hour.
    """
    rest: str | None = "jobs/ingest"
    while rest:
        told = org.get(rest)
        for job in told["records"]:
            ours = org.user is None or job["createdById"][:15] == org.user[:15]
            if ours and job["object"] == "Opportunity" and job["state"] in _AT_WORK:
                wait_for(org, job["id"])
        following = told.get("nextRecordsUrl")
        rest = str(following).partition("/services/data/")[2].partition("/")[2] or None


def wait_for(org: Org, job: str) -> str:
    """Wait until a job has ended; its last state.

    Raises:
        Throttled: it is still at work after an hour.
    """
    began = org.door.clock.now()
    for attempt in range(1_000_000):
        state = str(org.get(f"jobs/ingest/{job}")["state"])
        if state not in _AT_WORK:
            return state
        if org.door.clock.now() - began > LONGEST_JOB:
            break
        org.door.clock.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
    raise Throttled(
        f"{org.place}: the Bulk job {job} is still at work after an hour; see Setup, Bulk Data Load "
        "Jobs, and resume when it has ended",
        LONGEST_JOB,
    )


def _begin(org: Org, job: str) -> None:
    """Say that the upload is complete; where the answer is lost, look whether that was heard."""
    try:
        org.write("PATCH", f"jobs/ingest/{job}", json={"state": "UploadComplete"}).json()
    except Ambiguous:
        if org.get(f"jobs/ingest/{job}")["state"] == "Open":
            raise


def _csv(records: Iterable[Mapping[str, Any]]) -> bytes:
    rows = list(records)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: NOTHING if value is None else value for name, value in row.items()})
    return text.getvalue().encode()


def _rows(org: Org, job: str, which: str) -> list[dict[str, str]]:
    text = org.get_bytes(f"jobs/ingest/{job}/{which}").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))
