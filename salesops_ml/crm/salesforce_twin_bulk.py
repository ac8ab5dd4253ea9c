"""Bulk API 2.0 of Salesforce's twin: jobs that take a CSV, work on it in their own time, and tell.

A job is done in batches, some time after `UploadComplete`, by the twin's clock. Its results do not keep
the order of what was sent, and an empty value leaves a field as it is; `#N/A` empties it.

Source: Salesforce Bulk API 2.0 and Bulk API Developer Guide, "Bulk API 2.0 Ingest".
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from salesops_ml.crm.salesforce_twin_fields import USER, refusal
from salesops_ml.crm.twin_vendor import Request, Response, Route

if TYPE_CHECKING:
    from salesops_ml.crm.salesforce_twin import SalesforceTwin

LARGEST_UPLOAD = 150_000_000
BATCH = 10_000
NOTHING = "#N/A"


@dataclass
class Job:
    """One job."""

    job_id: str
    object: str
    operation: str
    created_by: str
    line_ending: str = "LF"
    state: str = "Open"
    content: bytes | None = None
    due: float = 0.0
    error: str | None = None
    good: list[dict[str, str]] = field(default_factory=list)
    bad: list[dict[str, str]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class BulkJobs:
    """The org's jobs.

    Attributes:
        seconds: how long a job takes, by the twin's clock.
        fail_after: a job ends as Failed after so many of its records; None for never.
        jobs: every job by id.
    """

    def __init__(self, twin: SalesforceTwin) -> None:
        self.twin = twin
        self.seconds = 3.0
        self.fail_after: int | None = None
        self.jobs: dict[str, Job] = {}
        self._numbers = itertools.count(1)

    def routes(self, base: str) -> Sequence[Route]:
        """The addresses of jobs."""
        one = f"{base}/jobs/ingest/(?P<job_id>\\w+)"
        return [
            ("POST", f"{base}/jobs/ingest/?", self._create),
            ("GET", f"{base}/jobs/ingest/?", self._list),
            ("PUT", f"{one}/batches/?", self._upload),
            ("PATCH", f"{one}/?", self._change),
            ("GET", f"{one}/?", self._show),
            ("GET", f"{one}/(?P<which>successfulResults|failedResults|unprocessedrecords)/?",
             self._results),
        ]  # fmt: skip

    def advance(self) -> None:
        """Do the jobs whose time has come."""
        now = self.twin.clock.now()
        for job in self.jobs.values():
            if job.state == "UploadComplete" and now >= job.due - self.seconds / 2:
                job.state = "InProgress"
            if job.state == "InProgress" and now >= job.due:
                self._work(job)

    def _create(self, request: Request, version: str) -> Response:
        asked = json.loads(request.body)
        if asked.get("operation") != "update" or asked.get("object") != "Opportunity":
            return refusal(400, "INVALIDJOB", "this twin updates opportunities only")
        job = Job(f"750{next(self._numbers):012d}AAA", asked["object"], asked["operation"], USER,
                  asked.get("lineEnding", "LF"))  # fmt: skip
        self.jobs[job.job_id] = job
        return self.twin.answer(self._told(job, version))

    def _list(self, request: Request, version: str) -> Response:
        told = [self._told(job, version) for job in self.jobs.values()]
        return self.twin.answer({"done": True, "records": told, "nextRecordsUrl": None})

    def _upload(self, request: Request, version: str, job_id: str) -> Response:
        job = self.jobs.get(job_id)
        if job is None:
            return self._no_job()
        if job.state != "Open" or job.content is not None:
            return refusal(400, "INVALIDJOBSTATE", "the job takes one upload, while it is open")
        if len(request.body) > LARGEST_UPLOAD:
            return refusal(400, "INVALIDJOB", f"content is larger than {LARGEST_UPLOAD} bytes")
        job.content = request.body
        return Response(201, b"", {"Sforce-Limit-Info": "api-usage=1/100000"})

    def _change(self, request: Request, version: str, job_id: str) -> Response:
        job, state = self.jobs.get(job_id), json.loads(request.body).get("state")
        if job is None:
            return self._no_job()
        if state == "UploadComplete" and job.state == "Open" and job.content is not None:
            job.state, job.due = state, self.twin.clock.now() + self.seconds
        elif state == "Aborted" and job.state in ("Open", "UploadComplete", "InProgress"):
            job.state = state
        else:
            return refusal(400, "INVALIDJOBSTATE", f"a job that is {job.state} cannot be {state}")
        return self.twin.answer(self._told(job, version))

    def _show(self, request: Request, version: str, job_id: str) -> Response:
        job = self.jobs.get(job_id)
        return self._no_job() if job is None else self.twin.answer(self._told(job, version))

    def _results(self, request: Request, version: str, job_id: str, which: str) -> Response:
        job = self.jobs.get(job_id)
        if job is None:
            return self._no_job()
        if job.state not in ("JobComplete", "Failed", "Aborted"):
            return refusal(400, "INVALIDJOBSTATE", "the job has not ended")
        rows, names = {
            "successfulResults": (job.good, ["sf__Id", "sf__Created", *job.names]),
            "failedResults": (job.bad, ["sf__Id", "sf__Error", *job.names]),
            "unprocessedrecords": (job.left, job.names),
        }[which]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
        return self.twin.answer(text.getvalue().encode())

    def _work(self, job: Job) -> None:
        """The job's records, batch by batch; the last of a batch is told first."""
        text = (job.content or b"").decode("utf-8-sig")
        if ("\r\n" in text) != (job.line_ending == "CRLF"):
            job.state, job.error = "Failed", "LineEnding is invalid on user data"
            return
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
        job.names = [*(reader.fieldnames or [])]
        refused = self.twin.unknown_field(name for name in job.names if name != "Id")
        if refused is not None:
            job.state, job.error, job.left = "Failed", f"InvalidBatch : {refused.body}", rows
            return
        most = len(rows) if self.fail_after is None else self.fail_after
        for start in range(0, min(most, len(rows)), BATCH):
            for row in reversed(rows[start : min(start + BATCH, most)]):
                self._save(job, row)
        job.left = rows[most:]
        job.state = "Failed" if job.left else "JobComplete"
        job.error = "InternalServerError : the batch was not done" if job.left else None

    def _save(self, job: Job, row: dict[str, str]) -> None:
        values: dict[str, Any] = {name: None if value == NOTHING else value
                                  for name, value in row.items()
                                  if name != "Id" and value != ""}  # fmt: skip
        errors = self.twin.save(row["Id"], values)
        if not errors:
            job.good.append({"sf__Id": row["Id"], "sf__Created": "false", **row})
            return
        first = errors[0]
        told = f"{first['statusCode']}:{first['message']}:{' '.join(first['fields']) or '--'}"
        job.bad.append({"sf__Id": row["Id"], "sf__Error": told, **row})

    def _told(self, job: Job, version: str) -> dict[str, Any]:
        return {
            "id": job.job_id, "object": job.object, "operation": job.operation, "state": job.state,
            "createdById": job.created_by, "contentType": "CSV", "columnDelimiter": "COMMA",
            "lineEnding": job.line_ending, "concurrencyMode": "Parallel", "apiVersion": float(version),
            "contentUrl": f"services/data/v{version}/jobs/ingest/{job.job_id}/batches",
            "jobType": "V2Ingest", "errorMessage": job.error,
            "numberRecordsProcessed": len(job.good) + len(job.bad),
            "numberRecordsFailed": len(job.bad),
        }  # fmt: skip

    def _no_job(self) -> Response:
        return refusal(404, "NOT_FOUND", "The requested resource does not exist")
