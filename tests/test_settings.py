"""Configuration: layered files in, frozen values out, and errors that name key, value and cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from salesops_ml.errors import ConfigError
from salesops_ml.settings import Settings, load, merge, parse
from salesops_ml.source_settings import EventLogSource, FilesSource, SyntheticSource
from tests.needs import ROOT


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_an_empty_file_is_a_whole_configuration(tmp_path: Path) -> None:
    assert load(write(tmp_path, "c.yaml", "")) == Settings()
    assert isinstance(Settings().source, SyntheticSource)


def test_a_file_lies_over_the_one_it_extends_and_local_over_both(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "models: {horizon_days: 30, trees: 10}\nseed: 1\n")
    path = write(tmp_path, "c.yaml", "extends: base.yaml\nmodels: {trees: 20}\nseed: 2\n")
    assert (load(path).models.horizon_days, load(path).models.trees, load(path).seed) == (30, 20, 2)
    write(tmp_path, "local.yaml", "seed: 3\n")
    assert load(path).seed == 3
    assert load(path, overrides={"seed": 4, "models": {"trees": 5}}).models.trees == 5
    assert load(path, overrides={"seed": 4}).seed == 4


def test_another_type_of_source_replaces_the_one_beneath_whole(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "source: {type: synthetic, deals: 500}\n")
    text = "extends: base.yaml\nsource: {type: event_log, path: log.xes}\n"
    source = load(write(tmp_path, "c.yaml", text)).source
    assert isinstance(source, EventLogSource)
    same = load(write(tmp_path, "d.yaml", "extends: base.yaml\nsource: {seed: 9}\n")).source
    assert isinstance(same, SyntheticSource)
    assert (same.deals, same.seed) == (500, 9)


def test_merging_leaves_both_sides_as_they_were() -> None:
    below, over = {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]}
    assert merge(below, over) == {"a": {"b": 1, "d": 2}, "c": [2]}
    assert (below, over) == ({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]})


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_what_is_written_reads_back_equal(path: Path, tmp_path: Path) -> None:
    settings = load(path)
    assert load(write(tmp_path, "again.yaml", settings.to_yaml())) == settings


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.seed = 8  # type: ignore[misc]


def test_a_table_may_be_one_file_or_several() -> None:
    one = {"path": "a.csv", "columns": {"deal_id": "id"}}
    source = parse(
        {"source": {"type": "files", "tables": {"deals": one, "stages": [one, one]}}}
    ).source
    assert isinstance(source, FilesSource)
    assert [len(parts) for parts in source.tables.values()] == [1, 2]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"modles": {}}, "`modles` is not a setting; check its spelling"),
    "unknown key within": ({"models": {"horizon": 9}}, "`models.horizon` is not a setting"),
    "wrong kind": ({"models": {"horizon_days": "long"}}, "`models.horizon_days`.*'long'"),
    "out of range": ({"models": {"horizon_days": 1}}, "greater than or equal to 2; got 1"),
    "unknown source": ({"source": {"type": "fax"}}, "synthetic, files, event_log"),
    "source without type": ({"source": {"path": "x"}}, "must be one of synthetic, files, event_log"),
    "unknown zone": ({"company": {"time_zone": "Mars"}}, "`Mars` is no IANA time zone"),
    "unknown month": ({"company": {"fiscal_year_starts": "May-ish"}}, "`May-ish` is no month"),
    "no holiday": ({"company": {"holidays": ["25 December"]}}, "`25 December` is no day; write"),
    "no days": ({"snapshots": {"every": "weekly"}}, "`weekly` is no number of days"),
    "too much split": ({"split": {"train": 0.9, "test": 0.2}}, "add up to more than 1"),
    "gate without bound": ({"gates": [{"metric": "auc"}]}, "needs `at_most` or `at_least`"),
    "unknown table": ({"source": {"type": "files", "tables": {"leads": {"path": "x"}}}},
                      "`leads` is no canonical table"),
    "table without path": ({"source": {"type": "files", "tables": {"deals": {}}}},
                           "`source.files.tables.deals.0.path`"),
    "unknown mapping key": (
        {"source": {"type": "files", "tables": {"deals": {"path": "x", "colums": {}}}}},
        "`source.files.tables.deals.0.colums` is not a setting",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_place(name: str) -> None:
    values, message = WRONG[name]
    with pytest.raises(ConfigError, match=message) as caught:
        parse(values, origin="my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert caught.value.exit_code == 2


SECRETIVE: dict[str, str] = {
    "another type": "source: {type: hubspt, token: pat-S3CRET}",
    "no mapping": "source: pat-S3CRET",
    "a connection that is none": "write_back: {connection: pat-S3CRET}",
    "a fault of the whole": "source: {type: hubspot, tokens: pat-S3CRET, token: env:T, url: no}",
    "a line that is no YAML": "source:\n  token: pat: S3CRET",
    "a list": "source: [pat-S3CRET]",
}


@pytest.mark.parametrize("name", SECRETIVE)
def test_a_secret_written_in_the_wrong_place_is_not_repeated(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "c.yaml", SECRETIVE[name]))
    assert "S3CRET" not in str(caught.value)


def test_an_unknown_target_is_told_once_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="'bitrix24'; got 'hubspott'") as caught:
        parse({"write_back": {"target": "hubspott"}})
    assert len(str(caught.value).splitlines()) == 1


def test_several_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"modles": {}, "models": {"trees": 0}})
    assert len(str(caught.value).splitlines()) == 2


FILES = {
    "no YAML": ("a: [1", "is not YAML"),
    "a list": ("- a\n- b\n", "holds list"),
    "a sentence": ("hello there", "holds str"),
    "a key twice": ("models: {trees: 1}\nseed: 3\nmodels: {leaves: 2}\n", "`models` stands twice"),
    "code": ("seed: !!python/object/apply:os.getpid []\n", "is not YAML"),
    "extends itself": ("extends: c.yaml\n", "goes in a circle"),
    "extends nothing": ("extends: none.yaml\n", "no such file"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_configuration_is_told(tmp_path: Path, name: str) -> None:
    text, message = FILES[name]
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, "c.yaml", text))


def test_a_file_in_another_encoding_and_a_folder_are_told(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("company: {name: Änne}".encode("cp1252"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_files_that_extend_each_other_are_told(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", "extends: c.yaml\n")
    with pytest.raises(ConfigError, match="goes in a circle"):
        load(write(tmp_path, "c.yaml", "extends: b.yaml\n"))


def test_a_day_needs_no_quotes(tmp_path: Path) -> None:
    text = "as_of: 2026-03-31\ncompany: {holidays: [2026-12-25]}\nsplit: {test_from: 2026-01-01}\n"
    settings = load(write(tmp_path, "c.yaml", text))
    assert (settings.as_of, settings.company.holidays) == ("2026-03-31", ("2026-12-25",))
    assert settings.split.test_from == "2026-01-01"
