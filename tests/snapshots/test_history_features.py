"""Activities, changes, quotes and dates, against a slow loop over each deal's own history."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from salesops_ml.snapshots.vocabulary import slug
from tests.snapshots.company import DAY, World, agree


def test_rhythm_and_counts_by_kind_and_outcome(world: World, sample: pd.DataFrame) -> None:
    assert len(world.spec.outcomes) > 1
    assert len(world.spec.kinds) > 4
    for _, look in sample.iterrows():
        acts = world.seen("activities", look, "at")
        ago = ((look["as_of"] - acts["at"]) / DAY).to_numpy()
        told = acts["outcome"].notna().to_numpy()
        expected: dict[str, Any] = {
            "f_activities_7d": (ago < 7).sum(),
            "f_activities_90d": (ago < 90).sum(),
            "f_activity_trend": (ago < 14).sum() - ((ago >= 14) & (ago < 28)).sum(),
            "f_days_since_activity": ago.min() if len(ago) else None,
            "f_minutes_30d": acts["duration_minutes"][ago < 30].sum(),
            "f_last_kind": acts["kind"].iloc[-1] if len(acts) else None,
            "f_last_outcome": acts["outcome"].dropna().iloc[-1] if told.any() else None,
            "f_days_since_outcome": ago[told].min() if told.any() else None,
            "f_activity_gap": None,
            "f_silence_of_rhythm": None,
            "f_days_to_first_activity": None,
        }
        if len(ago):
            expected["f_days_to_first_activity"] = max(look["f_age_days"] - ago.max(), 0)
        if len(ago) > 1:
            gap = (ago.max() - ago.min()) / (len(ago) - 1)
            expected["f_activity_gap"] = gap
            expected["f_silence_of_rhythm"] = ago.min() / max(gap, 1 / 24)
        for number, kind in enumerate(world.spec.kinds):
            mine = (acts["kind"] == kind).to_numpy()
            expected[f"f_kind_{kind}"] = mine.sum()
            expected[f"f_kind_{kind}_30d"] = (mine & (ago < 30)).sum()
            expected[f"f_days_since_{kind}"] = ago[mine].min() if mine.any() else None
            if number < 4:
                expected[f"f_last_7_days_{kind}"] = (mine & (ago < 7)).sum()
                expected[f"f_last_90_days_{kind}"] = (mine & (ago < 90)).sum()
        for outcome in world.spec.outcomes:
            expected[f"f_outcome_{slug(outcome)}"] = (acts["outcome"] == outcome).sum()
        agree(look, expected, within=1e-3)


def test_ups_and_downs_of_the_amount(world: World, sample: pd.DataFrame) -> None:
    for _, look in sample.iterrows():
        changes = world.seen("deal_changes", look, "changed_at")
        moved = changes[(changes["field"] == "amount") & changes["old_value"].notna()]
        ratio = moved["new_value"].astype(float) / moved["old_value"].astype(float)
        owner = changes[(changes["field"] == "rep_id") & changes["old_value"].notna()]
        category = changes[(changes["field"] == "forecast_category") & changes["old_value"].notna()]
        amounts = changes[changes["field"] == "amount_base"]["new_value"].astype(float)
        expected = {
            "f_amount_changes": len(moved),
            "f_amount_raises": (ratio > 1).sum(),
            "f_amount_cuts": (ratio < 1).sum(),
            "f_last_amount_ratio": ratio.iloc[-1] if len(ratio) else None,
            "f_owner_changes": len(owner),
            "f_category_changes": len(category),
            "f_log_amount": math.log(amounts.iloc[-1]) if len(amounts) else None,
            "f_amount_ratio": amounts.iloc[-1] / amounts.iloc[0] if len(amounts) else None,
        }
        agree(look, expected)


def test_promises_and_how_they_moved(world: World, sample: pd.DataFrame) -> None:
    for _, look in sample.iterrows():
        changes = world.seen("deal_changes", look, "changed_at")
        close = changes[changes["field"] == "expected_close_date"]
        new, old = pd.to_datetime(close["new_value"]), pd.to_datetime(close["old_value"])
        by = (new - old) / DAY
        ago = (look["as_of"] - close["changed_at"]) / DAY
        pushed, pulled = by > 0, by < 0
        promised = (new.iloc[0] - look["created_at"]) / DAY
        quarter_end = (look["as_of"].to_period("Q") + 1).start_time
        month_end = (new.iloc[-1].to_period("M") + 1).start_time
        expected = {
            "f_days_to_expected_close": (new.iloc[-1] - look["as_of"]) / DAY,
            "f_overdue": new.iloc[-1] < look["as_of"],
            "f_pushes": pushed.sum(),
            "f_pushes_30d": (pushed & (ago < 30)).sum(),
            "f_days_pushed": by.sum(),
            "f_pulls": pulled.sum(),
            "f_days_since_push": ago[pushed].min() if pushed.any() else None,
            "f_last_push_days": by[pushed].iloc[-1] if pushed.any() else None,
            "f_promised_days": promised,
            "f_promise_used": look["f_age_days"] / promised,
            "f_closes_this_quarter": new.iloc[-1] < quarter_end,
            "f_days_to_quarter_end": (quarter_end - look["as_of"]) / DAY,
            "f_expected_days_to_month_end": (month_end - new.iloc[-1]) / DAY - 1,
            "f_quarter_month": (look["as_of"].month - 1) % 3 + 1,
            "f_created_weekday": look["created_at"].dayofweek,
            "f_created_hour": look["created_at"].hour,
            "f_created_month": look["created_at"].month,
        }
        agree(look, {name: float(value) if value is not None else None
                     for name, value in expected.items()})  # fmt: skip


def test_quotes_by_status_and_against_the_deal(world: World, sample: pd.DataFrame) -> None:
    quoted = 0
    for _, look in sample.iterrows():
        quotes = world.seen("quotes", look, "sent_at")
        ago = ((look["as_of"] - quotes["sent_at"]) / DAY).to_numpy()
        expected: dict[str, Any] = {
            "f_quotes": len(quotes),
            "f_quotes_30d": (ago < 30).sum(),
            "f_days_since_quote": ago.min() if len(ago) else None,
        }
        for status in world.spec.statuses:
            mine = (quotes["status"] == status).to_numpy()
            expected[f"f_quotes_{status}"] = mine.sum()
            expected[f"f_days_since_quote_{status}"] = ago[mine].min() if mine.any() else None
        if len(quotes):
            quoted += 1
            amounts = quotes["amount"].astype(float)
            changes = world.seen("deal_changes", look, "changed_at")
            own = changes[changes["field"] == "amount"]["new_value"].astype(float)
            expected |= {
                "f_quote_amount": amounts.iloc[-1],
                "f_quote_ratio": amounts.iloc[-1] / amounts.iloc[0],
                "f_quote_of_amount": amounts.iloc[-1] / own.iloc[-1] if len(own) else None,
                "f_discount": quotes["discount"].iloc[-1],
                "f_discount_change": quotes["discount"].iloc[-1] - quotes["discount"].iloc[0],
                "f_days_to_first_quote": look["f_age_days"] - ago.max(),
            }
        agree(look, expected)
    assert quoted > 10


def test_since_anything_happened_is_since_the_latest_sign_of_life(
    world: World, sample: pd.DataFrame
) -> None:
    for _, look in sample.iterrows():
        changes = world.seen("deal_changes", look, "changed_at")
        amounts = changes["field"].isin(["amount", "amount_base"]) & changes["old_value"].notna()
        close = changes["field"] == "expected_close_date"
        pushed = close & (changes["new_value"] > changes["old_value"].fillna("9999"))
        signs = [
            world.seen("stage_events", look, "entered_at")["entered_at"],
            world.seen("activities", look, "at")["at"],
            world.seen("quotes", look, "sent_at")["sent_at"],
            changes.loc[amounts | pushed, "changed_at"],
        ]
        latest = pd.concat(signs).max()
        agree(look, {"f_days_since_anything": (look["as_of"] - latest) / DAY})


def test_columns_are_bounded_and_hold_numbers_or_words(world: World) -> None:
    features = [name for name in world.data.columns if name.startswith("f_")]
    assert len(features) <= 152
    for name in features:
        kind = world.data[name].dtype
        assert kind in (np.dtype(np.float64), np.dtype(object)), name
