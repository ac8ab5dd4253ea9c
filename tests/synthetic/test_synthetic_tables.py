"""The tables of a synthetic company obey the canonical schema and tell one consistent story."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from salesops_ml.schema import TABLES, CanonicalTables, conform
from salesops_ml.synthetic import FaultRates, WorldParameters, generate
from salesops_ml.warehouse import Warehouse, content_digest

Frames = dict[str, pd.DataFrame]
END = pd.Timestamp("2026-07-01")
TRACKED = (
    "amount", "amount_base", "expected_close_date", "rep_id", "product", "forecast_category",
    "competitor",
)  # fmt: skip


def test_every_table_conforms_as_it_is(world: CanonicalTables) -> None:
    for name, rows in world.tables.items():
        assert conform(name, rows, world.attributes).equals(rows), name


def test_all_tables_but_the_daily_photograph_are_there(world: CanonicalTables) -> None:
    assert set(TABLES) - set(world.tables) == {"deal_daily"}
    with Warehouse.in_memory(world) as warehouse:
        assert warehouse.rows("deals") == 1_500


def test_keys_are_unique(frames: Frames) -> None:
    for name, rows in frames.items():
        assert not rows.duplicated(list(TABLES[name].key)).any(), name


def test_same_seed_same_bytes_on_one_thread_or_two(parameters: WorldParameters) -> None:
    threads = pa.cpu_count()
    digests = set()
    try:
        for count in (1, 2):
            pa.set_cpu_count(count)
            made = generate(parameters)
            truth = tuple(sorted((name, str(rows)) for name, rows in made.truth.items()))
            digests.add((content_digest(made), truth, str(made.rejects)))
    finally:
        pa.set_cpu_count(threads)
    assert len(digests) == 1


def test_another_seed_is_another_world(world: CanonicalTables) -> None:
    other = generate(WorldParameters(deals=1_500, seed=4, years=1.5))
    assert content_digest(other) != content_digest(world)


def test_first_value_of_each_tracked_field_stands_at_creation(frames: Frames) -> None:
    deals = frames["deals"].set_index("deal_id")
    first = frames["deal_changes"].drop_duplicates(["deal_id", "field"], keep="first")
    assert first["old_value"].isna().all()
    assert (first["changed_at"] == deals["created_at"].loc[first["deal_id"]].to_numpy()).all()
    counted = first.groupby("field").size()
    for name in TRACKED:
        missing = deals["amount"].isna().sum() if name.startswith("amount") else 0
        assert counted[name] == len(deals) - missing, name


def test_old_values_chain_and_the_last_is_todays(frames: Frames) -> None:
    changes = frames["deal_changes"]
    before = changes.groupby(["deal_id", "field"])["new_value"].shift()
    assert (changes["old_value"].fillna("-") == before.fillna("-")).all()
    last = changes.drop_duplicates(["deal_id", "field"], keep="last")
    wide = last.pivot(index="deal_id", columns="field", values="new_value")
    deals = frames["deals"].set_index("deal_id")
    for name in TRACKED:
        column = f"x_{name}" if name == "competitor" else name
        today = deals[column].map(lambda value: None if pd.isna(value) else str(value))
        assert (today.fillna("-") == wide[name].reindex(deals.index).fillna("-")).all(), name


def test_stage_events_begin_at_creation_and_end_with_the_outcome(frames: Frames) -> None:
    deals, events = frames["deals"].set_index("deal_id"), frames["stage_events"]
    grouped = events.sort_values("entered_at", kind="stable").groupby("deal_id")
    assert (grouped["entered_at"].first() == deals["created_at"]).all()
    last = grouped.last()
    closed = deals["status"] != "open"
    assert (last["stage"][closed].str.lower() == deals["status"][closed]).all()
    assert (last["entered_at"][closed] == deals["closed_at"][closed]).all()
    assert deals["closed_at"][~closed].isna().all()
    assert not last["stage"][~closed].isin(["Won", "Lost"]).any()


def test_nothing_happens_before_creation_after_the_close_or_after_the_record(
    frames: Frames,
) -> None:
    deals = frames["deals"].set_index("deal_id")
    begin, stop = deals["created_at"], deals["closed_at"].fillna(END)
    moments = {
        "stage_events": "entered_at", "deal_changes": "changed_at", "activities": "at",
        "quotes": "sent_at",
    }  # fmt: skip
    for name, column in moments.items():
        rows = frames[name].dropna(subset=["deal_id"])
        assert (rows[column] >= begin.loc[rows["deal_id"]].to_numpy()).all(), name
        assert (rows[column] <= stop.loc[rows["deal_id"]].to_numpy()).all(), name
        assert (frames[name]["recorded_at"] < END).all(), name
        assert (frames[name]["recorded_at"] >= frames[name][column]).all(), name


def test_every_reference_leads_somewhere(frames: Frames) -> None:
    reps, deals = set(frames["reps"]["rep_id"]), set(frames["deals"]["deal_id"])
    for name in ("deals", "stage_events", "activities"):
        assert set(frames[name]["rep_id"]) <= reps
    assert set(frames["quotas"]["owner_id"]) <= reps
    for name in ("stage_events", "deal_changes", "quotes"):
        assert set(frames[name]["deal_id"]) <= deals
    assert set(frames["deals"]["account_id"]) <= set(frames["accounts"]["account_id"])
    assert set(frames["stage_events"]["stage"]) == set(frames["stages"]["stage"])


def test_open_deals_belong_to_reps_who_are_still_here(frames: Frames) -> None:
    now = frames["reps"].sort_values("valid_from").groupby("rep_id")["active"].last()
    owners = frames["deals"].query("status == 'open'")["rep_id"]
    assert now.loc[owners].all()


def test_accounts_and_reps_are_known_before_their_deals(frames: Frames) -> None:
    known = frames["accounts"].groupby("account_id")["valid_from"].min()
    deals = frames["deals"]
    assert (known.loc[deals["account_id"]].to_numpy() <= deals["created_at"].to_numpy()).all()
    hired = frames["reps"].groupby("rep_id")["hired_at"].first()
    events = frames["stage_events"]
    assert (hired.loc[events["rep_id"]].to_numpy() <= events["entered_at"].to_numpy()).all()


def test_base_amounts_follow_the_rate_of_the_day(frames: Frames) -> None:
    changes = frames["deal_changes"]
    keys = ["deal_id", "changed_at", "seq"]
    own = changes[changes["field"] == "amount"].set_index(keys)["new_value"].astype(float)
    base = changes[changes["field"] == "amount_base"].set_index(keys)["new_value"].astype(float)
    rates = frames["exchange_rates"].set_index(["currency", "day"])["rate"]
    currency = frames["deals"].set_index("deal_id")["currency"]
    day = own.index.get_level_values("changed_at").date
    rate = rates.loc[list(zip(currency.loc[own.index.get_level_values(0)], day, strict=True))]
    assert (own.index == base.index).all()
    assert abs(own.to_numpy() * rate.to_numpy() - base.to_numpy()).max() <= 0.0051


def test_quotes_are_answered_only_at_the_close(frames: Frames) -> None:
    quotes = frames["quotes"].merge(
        frames["deals"][["deal_id", "closed_at", "status"]], on="deal_id"
    )
    answered = quotes[quotes["status_x"] != "sent"]
    assert (answered["sent_at"] == answered["closed_at"]).all()
    assert set(answered["status_x"] + answered["status_y"]) == {"acceptedwon", "declinedlost"}
    assert (quotes["status_x"] == "sent").groupby(quotes["deal_id"]).any().all()


def test_submissions_name_nodes_of_the_hierarchy(frames: Frames) -> None:
    reps = frames["reps"]
    teams = {
        f"company/{region}/{team}"
        for region, team in zip(reps["region"], reps["team"], strict=True)
    }
    nodes = set(frames["forecast_submissions"]["node"])
    assert nodes <= teams | {"company"}
    assert "company" in nodes


def test_leak_is_planted_only_on_request(world: CanonicalTables, frames: Frames) -> None:
    clean = generate(WorldParameters(deals=300, years=1.0))
    assert "x_onboarding_team" not in clean.tables["deals"].column_names
    assert clean.truth["leaks"].num_rows == 0
    (leak,) = world.truth["leaks"].to_pylist()
    declared = {attribute.column: attribute.known for attribute in world.attributes}
    assert declared[leak["column"]] == leak["declared"] == "at_creation"
    filled = frames["deals"].groupby("status")[leak["column"]].agg(lambda rows: rows.notna().mean())
    assert filled["won"] > 0.9
    assert filled[["lost", "open"]].max() < 0.05


def test_fault_rates_are_met_and_counted() -> None:
    rates = FaultRates(
        missing_amount=0.3, missing_duration=0.4, missing_lost_reason=0.5, missing_industry=0.2,
        late_activity=0.5, unknown_deal=0.05, negative_amount=0.02, duplicate_deal=0.1,
        event_before_creation=0.03,
    )  # fmt: skip
    made = generate(WorldParameters(deals=2_000, years=1.0, faults=rates))
    frames = {name: rows.to_pandas() for name, rows in made.tables.items()}
    lost = frames["deals"].query("status == 'lost'")
    contacts = frames["activities"].query("outcome in ['positive', 'no_answer', 'next_step']")
    assert frames["deals"]["amount"].isna().mean() == pytest.approx(0.3, abs=0.05)
    assert frames["activities"]["duration_minutes"].isna().mean() == pytest.approx(0.4, abs=0.03)
    assert lost["lost_reason"].isna().mean() == pytest.approx(0.5, abs=0.05)
    assert frames["accounts"]["industry"].isna().mean() == pytest.approx(0.2, abs=0.05)
    assert (contacts["recorded_at"] > contacts["at"]).mean() > 0.3
    rejects = made.rejects.to_pandas()
    assert conform("rejects", made.rejects).num_rows == len(rejects)
    shares = rejects.groupby("table").size() / pd.Series(
        {name: len(rows) for name, rows in frames.items()}
    )
    expected = {"activities": 0.05, "deal_changes": 0.02, "deals": 0.1, "stage_events": 0.03}
    for name, share in expected.items():
        assert shares[name] == pytest.approx(share, rel=0.35), name
    told = sum(count for reason, count in made.counts.items() if not reason.endswith(": used"))
    assert told == len(rejects)


def test_without_faults_nothing_is_missing_or_rejected() -> None:
    none = FaultRates(*([0.0] * 9))
    made = generate(WorldParameters(deals=500, years=1.0, faults=none))
    frames = {name: rows.to_pandas() for name, rows in made.tables.items()}
    assert made.rejects.num_rows == 0
    assert frames["deals"]["amount"].notna().all()
    assert frames["activities"]["duration_minutes"].notna().all()
    assert (frames["activities"]["recorded_at"] == frames["activities"]["at"]).all()
    assert frames["deals"].query("status == 'lost'")["lost_reason"].notna().all()
