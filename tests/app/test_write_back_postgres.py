"""The outbox in PostgreSQL, by the settings that a user writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salesops_ml.app import write_back as commands
from salesops_ml.crm.rollback import RESTORED
from salesops_ml.crm.targets import TARGETS
from salesops_ml.crm.twin_server import TwinServer
from salesops_ml.errors import WriteBackError
from salesops_ml.scoring.fields import FIELDS
from salesops_ml.settings import Settings
from tests.app.test_write_back import AT, FAST, in_crm, open_planted, scored, warehouse
from tests.crm.postgres import FORMS, PASSWORD, address, everything_in, private_cluster
from tests.crm.sample_vendor import TOKEN, SampleTwin


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with private_cluster() as url:
        yield url


def test_an_outbox_in_postgres_by_its_settings(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, refused in part, gone on with and taken back, by commands that know settings alone."""
    monkeypatch.setenv("SAMPLE_TOKEN", TOKEN)
    monkeypatch.setenv("OUR_OUTBOX", PASSWORD)
    monkeypatch.setitem(TARGETS, "hubspot", f"{open_planted.__module__}:open_planted")
    monkeypatch.setenv("SAMPLE_PLACE", str(tmp_path))
    with TwinServer(SampleTwin(deals=3), clock=FAST) as server:
        (tmp_path / "url").write_text(server.url)
        settings = in_crm(
            Settings(), "hubspot", tmp_path, connection={"token": "env:SAMPLE_TOKEN"},
            outbox=address(postgres), outbox_password="env:OUR_OUTBOX",
        )  # fmt: skip
        scores = scored(d000000=0.1, d000001=0.2, gone=0.5)
        with warehouse(none="won") as tables, pytest.raises(WriteBackError, match="refused 1"):
            commands.write_scores(tables, scores, settings, run_id="run", at=AT)
        assert "2 confirmed, 1 failed" in commands.status(settings).text
        server.vendor.deals["gone"] = {}
        assert "3 deals stand" in commands.resume(settings, "run", failed=True).text
        found = commands.undo(settings, "run").values["found"]
        assert found == {RESTORED: 3}
        assert {fields.get(FIELDS[0]) for fields in server.vendor.deals.values()} == {None}
    kept = everything_in(postgres)
    assert "run-rollback" in kept
    assert not any(form in kept for form in (*FORMS, TOKEN))
    monkeypatch.setenv("OUR_OUTBOX", "hunter2-wrong")
    with pytest.raises(WriteBackError, match=r"ada:\*\*\*@/postgres.*authentication failed") as no:
        commands.status(settings)
    assert "hunter2-wrong" not in str(no.value)
