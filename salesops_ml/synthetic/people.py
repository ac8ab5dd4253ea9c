"""Who sells: reps with skill, ramp, optimism and a boss; they are hired, change teams, and leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_ml.synthetic.clock import Days
from salesops_ml.synthetic.draws import Floats, choose, stream
from salesops_ml.synthetic.parameters import WorldParameters

NEVER = 10**6
"""A day number that no record reaches."""
HIRING_GAP = 30
FEWEST_SEATS = 8


@dataclass(frozen=True)
class Reps:
    """One entry per rep; days are day numbers, `NEVER` for what does not happen.

    Teams and regions are numbers; `next_team` is where the rep moves on `moves_on`. `skill`,
    `optimism` and `discounting` are normal traits, centred, of standard deviation 1.
    """

    region: Days
    team: Days
    next_team: Days
    moves_on: Days
    hired: Days
    left: Days
    skill: Floats
    optimism: Floats
    discounting: Floats
    teams: int

    @property
    def count(self) -> int:
        """How many reps there ever were."""
        return len(self.region)

    def ramp(self, rep: Days, day: Days, months: float) -> Floats:
        """How far the reps are worked in on `day`: 0 on the first day, 1 after `months` months."""
        if months == 0:
            return np.ones(len(rep))
        return np.clip((day - self.hired[rep]) / (months * 30.4375), 0.0, 1.0)

    def team_on(self, rep: Days, day: Days) -> Days:
        """The team that the reps are in on `day`."""
        return np.where(day >= self.moves_on[rep], self.next_team[rep], self.team[rep])


def hire(world: WorldParameters) -> Reps:
    """Fill the seats of the company: each seat has a rep, and a new one after each who leaves."""
    rng = stream(world.seed, "reps")
    seats = max(FEWEST_SEATS, round(world.deals / world.years / world.deals_per_rep_year))
    regions = _seat_regions(world, seats)
    opened = _opening_days(world, rng, regions)
    rows = [
        (seat, hired, left)
        for seat in range(seats)
        for hired, left in _careers(world, rng, int(opened[seat]))
    ]
    rows.sort(key=lambda row: (row[1], row[0]))
    seat, hired, left = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    first_team, in_region = _teams(world, regions)
    region = regions[seat]
    offset = rng.integers(0, in_region[region])
    count = len(seat)
    step = rng.integers(0, np.maximum(in_region[region] - 1, 1)) + 1
    team = first_team[region] + offset
    other = first_team[region] + (offset + step) % in_region[region]
    moves_on = _team_moves(world, rng, hired, left)
    return Reps(
        region=region,
        team=team,
        next_team=other,
        moves_on=np.where(other == team, NEVER, moves_on),
        hired=hired,
        left=left,
        skill=_trait(rng, count),
        optimism=_trait(rng, count),
        discounting=_trait(rng, count),
        teams=int(in_region.sum()),
    )


def _trait(rng: np.random.Generator, count: int) -> Floats:
    """A normal trait, centred: a small company is neither lucky nor unlucky in its people."""
    drawn = rng.standard_normal(count)
    return np.asarray(drawn - drawn.mean())


def _seat_regions(world: WorldParameters, seats: int) -> Days:
    """Seats by region in proportion to the regions' shares of deals; none goes without."""
    shares = np.array([region.share for region in world.regions])
    position = (np.arange(seats) + 0.5) / seats * shares.sum()
    regions = np.searchsorted(np.cumsum(shares), position).clip(0, len(shares) - 1)
    missing = np.setdiff1d(np.arange(len(shares)), regions)
    return np.sort(np.concatenate([regions, missing])[-seats:]).astype(np.int64)


def _opening_days(world: WorldParameters, rng: np.random.Generator, regions: Days) -> Days:
    """When each seat opens: most before the record, the rest as the company grows.

    The first seat of each region is there from the start.
    """
    at_end = (1 + world.growth) ** world.years
    before = 1.0 if at_end <= 1 else 1 / at_end
    seats = len(regions)
    later = (rng.random(seats) >= before) & np.append(False, regions[1:] == regions[:-1])
    tenure = np.minimum(rng.exponential(730.0, seats), 2_900.0)
    opened = np.where(later, rng.integers(1, max(world.days - 60, 2), seats), -tenure)
    return np.floor(opened).astype(np.int64)


def _careers(
    world: WorldParameters, rng: np.random.Generator, opened: int
) -> list[tuple[int, int]]:
    """The (hired, left) days of those who hold one seat within the record, one after another."""
    if world.turnover == 0:
        return [(opened, NEVER)]
    mean_days = 365.25 / world.turnover
    careers, hired = [], opened
    while hired < world.days - HIRING_GAP:
        left = max(hired, 0) + 60 + int(rng.exponential(mean_days))
        careers.append((hired, left if left < world.days else NEVER))
        hired = left + HIRING_GAP
    return careers or [(opened, NEVER)]


def _teams(world: WorldParameters, seat_regions: Days) -> tuple[Days, Days]:
    """Number of the first team, and the number of teams, of each region: about 4 seats a team."""
    seats = np.bincount(seat_regions, minlength=len(world.regions))
    in_region = np.clip(np.round(seats / 4), 1, world.teams_per_region).astype(np.int64)
    return np.cumsum(in_region) - in_region, in_region


def _team_moves(world: WorldParameters, rng: np.random.Generator, hired: Days, left: Days) -> Days:
    """The day on which a rep changes team, for the few who do."""
    begin = np.maximum(hired, 0) + 30
    stop = np.minimum(left, world.days) - 30
    years = np.maximum(stop - begin, 0) / 365.25
    moves = rng.random(len(hired)) < 1 - np.exp(-world.team_moves * years)
    day = begin + rng.random(len(hired)) * np.maximum(stop - begin, 1)
    return np.where(moves, day.astype(np.int64), NEVER)


_FIRST = (
    "Ada", "Ben", "Carla", "Dev", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kim", "Lena",
    "Marco", "Nadia", "Omar", "Petra", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Viktor", "Wei", "Yara",
)  # fmt: skip
_LAST = (
    "Abel", "Brandt", "Costa", "Dahl", "Evans", "Fischer", "Garcia", "Hansen", "Ito", "Jansen", "Keller",
    "Lopez", "Moreau", "Novak", "Olsen", "Petrov", "Rossi", "Silva", "Tanaka", "Vogel", "Weber", "Young",
)  # fmt: skip


def names(world: WorldParameters, count: int) -> list[str]:
    """Names for the reps; two may share one, as people do."""
    rng = stream(world.seed, "names")
    first = choose(rng, [1.0] * len(_FIRST), count)
    last = choose(rng, [1.0] * len(_LAST), count)
    return [f"{_FIRST[a]} {_LAST[b]}" for a, b in zip(first, last, strict=True)]
