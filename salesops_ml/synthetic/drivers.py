"""The answer key of an analyst: what truly drives deals, and which column gives the outcome away."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from salesops_ml.synthetic.parameters import Option, WorldParameters
from salesops_ml.synthetic.pipeline import LEAK

_EFFECTS = pa.schema(
    [("driver", pa.string()), ("value", pa.string())]
    + [(name, pa.float64()) for name in ("progress", "won", "lost")]
)
_LEAKS = pa.schema(
    [(name, pa.string()) for name in ("column", "attribute", "declared", "truly", "how")]
)


def driver_tables(world: WorldParameters) -> dict[str, pa.Table]:
    """The truth's `effects` (log rate ratios, before `signal` and `latent_share`) and `leaks`."""
    effects = [*_categories(world), *_measures(world)]
    return {
        "effects": pa.Table.from_pylist(effects, schema=_EFFECTS),
        "leaks": pa.Table.from_pylist(_leaks(world), schema=_LEAKS),
    }


def _categories(world: WorldParameters) -> Iterator[dict[str, object]]:
    groups: dict[str, tuple[Option, ...]] = {
        "product": world.products,
        "lead_source": world.lead_sources,
        "deal_type": world.deal_types,
        "industry": world.industries,
        "region": world.regions,
    }
    for driver, options in groups.items():
        for option in options:
            yield _effect(driver, option.name, option.progress, option.won, option.lost)


def _measures(world: WorldParameters) -> Iterator[dict[str, object]]:
    """Effects of one standard deviation, or of the whole range, of what is measured."""
    skill, ramp, load = world.rep_skill, world.ramp_effect, world.load_effect
    size, amount = world.size_effect, world.amount_effect
    yield _effect("rep skill", "one standard deviation", skill, skill, -skill)
    yield _effect("rep ramp", "worked in against quite new", ramp, ramp, -ramp)
    yield _effect("rep load", "full against empty", -load, -load, load)
    yield _effect("account size", "one standard deviation", -size / 2, -size / 2, -size)
    yield _effect("amount", "one standard deviation", -amount / 2, -amount, amount / 2)
    yield _effect(
        "discount", f"above {world.deep_discount:g}", 0.0, world.deep_won, world.deep_lost
    )


def _effect(driver: str, value: str, progress: float, won: float, lost: float) -> dict[str, object]:
    return {"driver": driver, "value": value, "progress": progress, "won": won, "lost": lost}


def _leaks(world: WorldParameters) -> list[dict[str, object]]:
    if not world.plant_leak:
        return []
    return [
        {
            "column": f"x_{LEAK}",
            "attribute": LEAK,
            "declared": "at_creation",
            "truly": "at_close",
            "how": "filled when a deal is won; hardly ever otherwise",
        }
    ]
