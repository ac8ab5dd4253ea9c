"""Settings: files laid over each other, and an error that names the key, what came and the cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from salesops_ml.errors import ConfigError
from salesops_ml.settings import Settings, load, merge, parse
from tests.needs import ROOT


def write(folder: Path, **files: str) -> Path:
    """Write YAML files by name; the path of the first."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(files))}.yaml"


def test_an_empty_file_works_and_gives_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, config="")) == Settings()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_what_a_run_writes_down_loads_back_equal(path: Path, tmp_path: Path) -> None:
    settings = load(path)
    assert load(write(tmp_path, resolved=settings.to_yaml())) == settings


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"modles": {}}, "`modles` is not a setting"),
    "unknown key below": ({"models": {"horizon": 60}}, "`models.horizon` is not a setting"),
    "wrong kind": ({"models": {"horizon_days": "long"}}, "`models.horizon_days`.*got 'long'"),
    "out of range": ({"forecast": {"months": 0}}, "`forecast.months`.*got 0"),
    "unknown source": ({"source": {"type": "oracle"}}, "`source.type` must be one of"),
    "source without a type": ({"source": {"path": "x"}}, "`source.type` must be one of"),
    "missing key": ({"source": {"type": "event_log"}}, "path`: Field required"),
    "unknown table": (
        {"source": {"type": "files", "tables": {"leads": {"path": "x.csv"}}}},
        "`leads` is no canonical table; they are: deals",
    ),
    "no month": ({"company": {"fiscal_year_starts": "sol"}}, "`sol` is no month; write january"),
    "no time zone": ({"company": {"time_zone": "Mars"}}, "`Mars` is no IANA time zone; write"),
    "no holiday": ({"company": {"holidays": ["25 December"]}}, "`25 December` is no day; write"),
    "no days": ({"snapshots": {"every": "weekly"}}, "`weekly` is no number of days; write one"),
    "split of more than all": ({"split": {"train": 0.9, "test": 0.2}}, "add up to more than 1"),
    "bands that fall": ({"write_back": {"bands": [0.5, 0.2, 0.8]}}, "cut points must rise"),
    "gate without a bound": ({"gates": [{"metric": "log_loss"}]}, "needs `at_most` or `at_least`"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_told_with_file_key_value_and_cure(name: str) -> None:
    values, message = WRONG[name]
    with pytest.raises(ConfigError, match=message) as caught:
        parse(values, origin="my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert caught.value.exit_code == 2


def test_every_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"modles": {}, "models": {"trees": 0}})
    assert len(str(caught.value).splitlines()) == 2


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse({}).seed = 8  # type: ignore[misc]


def test_the_nearer_file_wins_and_local_wins_over_all(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        mine="extends: middle.yaml\nseed: 3\n",
        middle="extends: base.yaml\nseed: 2\nmodels: {trees: 20}\n",
        base="seed: 1\nmodels: {trees: 10, leaves: 5}\ncompany: {name: Base}\n",
    )
    settings = load(path)
    assert (settings.seed, settings.models.trees, settings.models.leaves) == (3, 20, 5)
    write(tmp_path, local="company: {name: Local}\nseed: 9\n")
    assert (load(path).company.name, load(path).seed) == ("Local", 9)
    assert load(path, overrides={"seed": 11}).seed == 11


def test_local_may_itself_be_loaded(tmp_path: Path) -> None:
    assert load(write(tmp_path, local="seed: 4\n")).seed == 4


BROKEN = {
    "circle of two": ({"a": "extends: b.yaml\n", "b": "extends: a.yaml\n"}, "goes in a circle"),
    "circle of one": ({"a": "extends: a.yaml\n"}, "goes in a circle"),
    "nothing beneath": ({"a": "extends: none.yaml\n"}, "none.yaml: no such file; give"),
    "no YAML": ({"a": "seed: [1\n"}, "a.yaml: is not YAML"),
    "a key twice": (
        {"a": "models: {trees: 1}\nseed: 3\nmodels: {leaves: 2}\n"},
        "`models` stands twice",
    ),
    "a list": ({"a": "- seed\n"}, "a.yaml: holds list"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_told_by_its_path(tmp_path: Path, name: str) -> None:
    files, message = BROKEN[name]
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, **files))


def test_a_file_in_another_encoding_or_a_folder_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("company: {name: Zoë}".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.yaml: cannot be read"):
        load(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_day_needs_no_quotes(tmp_path: Path) -> None:
    text = "as_of: 2026-03-31\ncompany: {holidays: [2026-12-25]}\nsplit: {test_from: 2026-01-01}\n"
    settings = load(write(tmp_path, a=text))
    assert (settings.as_of, settings.company.holidays) == ("2026-03-31", ("2026-12-25",))
    assert settings.split.test_from == "2026-01-01"


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not YAML"):
        load(write(tmp_path, a="seed: !!python/object/apply:os.getpid []\n"))


def test_another_source_replaces_the_one_beneath_whole() -> None:
    base = {"source": {"type": "synthetic", "deals": 500}}
    over = {"source": {"type": "event_log", "path": "log.xes"}}
    assert merge(base, over) == over
    assert merge(base, {"source": {"seed": 3}}) == {
        "source": {"type": "synthetic", "deals": 500, "seed": 3}
    }


keys = st.sampled_from("abc")
trees = st.recursive(st.integers(), lambda below: st.dictionaries(keys, below, max_size=3))
mappings = st.dictionaries(keys, trees, max_size=3)


@hypothesis_settings(deadline=None)
@given(mappings, mappings, mappings)
def test_laying_over_is_associative_and_nothing_laid_over_changes_nothing(a, b, c) -> None:
    assert merge(a, {}) == merge({}, a) == merge(a, a) == a
    if all(_same_shape(one, other) for one, other in ((a, b), (b, c), (a, c))):
        assert merge(merge(a, b), c) == merge(a, merge(b, c))


def _same_shape(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether no key is a mapping on one side and a value on the other."""
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) != isinstance(other[key], dict):
            return False
        if isinstance(one[key], dict) and not _same_shape(one[key], other[key]):
            return False
    return True
