"""PostgreSQL for real: run book, registry and target of the scores, from a run to its way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from tests.crm.postgres import FORMS, PASSWORD, address, everything_in, private_cluster
from tests.end_to_end.conftest import Workspace

LEAN = {
    "source": {"type": "synthetic", "deals": 400, "seed": 5},
    "models": {
        "trees": 10,
        "max_period_rows": 5_000,
        "max_classifier_rows": 3_000,
        "horizon_days": 60,
    },
    "snapshots": {"every": "14d"},
    "forecast": {"backtest_origins": 0, "samples": 100},
    "mining": {"bootstrap": 20, "discovery_cases": 50},
    "gates": [],
}
CRM = "configs/postgres.yaml"


@pytest.fixture
def cluster() -> Iterator[str]:
    with private_cluster() as url:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in ("book", "crm"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        yield url


def stands(url: str) -> dict[str, float | None]:
    """The chances that stand in the CRM's table."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        asked = "SELECT deal_id, salesops_win_probability FROM sales.scores"
        found = {str(deal): chance for deal, chance in connection.exec_driver_sql(asked)}
    engine.dispose()
    return found


@pytest.mark.slow
def test_runs_scores_and_the_way_back(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_POSTGRES", PASSWORD)
    place = Workspace(tmp_path / "sales ops")
    place.path.mkdir()
    place.salesops("init", ".")
    there = {name: cluster.replace("/postgres?", f"/{name}?") for name in ("book", "crm")}
    with sa.create_engine(there["crm"]).begin() as connection:
        connection.execute(sa.schema.CreateSchema("sales"))
    place.config(
        "postgres", **LEAN,
        registry={"tracking_uri": address(cluster, "book"), "password": "env:OUR_POSTGRES"},
        write_back={"url": address(cluster, "crm"), "password": "env:OUR_POSTGRES",
                    "table": "sales.scores"},
    )  # fmt: skip
    told = [place.salesops("run", "--config", CRM)]
    scores = pd.read_parquet(place.latest / "scores.parquet").set_index("deal_id")["p_win"]
    found = stands(there["crm"])
    assert {deal: round(chance, 6) for deal, chance in scores.items()} == found
    assert set(pd.read_parquet(place.latest / "scores.parquet")["model_version"]) == {
        "deal_scores/1"
    }
    told.append(place.salesops("score", "--config", CRM, "--write-back"))
    assert "written: 0 to postgresql+psycopg://ada:***@/crm" in told[-1].stdout
    told.append(place.salesops("write-back", "status", "--config", CRM))
    run = place.latest.name
    assert f"{run}  postgresql+psycopg://ada:***@/crm" in told[-1].stdout
    told.append(place.salesops("write-back", "rollback", run, "--config", CRM))
    assert set(stands(there["crm"]).values()) == {None}
    monkeypatch.setenv("OUR_POSTGRES", "hunter2-wrong")
    told.append(place.salesops("run", "--config", CRM, code=1))
    assert "password authentication failed" in told[-1].stderr
    texts = [done.stdout + done.stderr for done in told]
    texts += [everything_in(url) for url in there.values()]
    assert "env:OUR_POSTGRES" in texts[-2]
    files = [path for path in place.path.rglob("*") if path.is_file() and not path.is_symlink()]
    texts += [path.read_bytes().decode("latin-1") for path in files]
    assert not [text[:300] for text in texts if any(form in text for form in FORMS)]
    assert not (place.path / "store" / "mlflow.db").exists()
    assert not (place.path / "mlruns").exists()
