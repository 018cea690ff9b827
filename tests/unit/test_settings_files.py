"""Reading settings: overlays, overrides, and faults with their file and key."""

from pathlib import Path

import pytest

from promo_spark.contracts.settings import Settings
from promo_spark.contracts.source_settings import FilesSource, source_name
from promo_spark.errors import SettingsError
from promo_spark.runtime.settings import load_settings, settings_fingerprint

OFFERS = "offers:\n  - {offer_id: ten_off, name: Ten, mechanic: percent_off, depth_rate: 0.1, channel: app}\n"
BASE = "as_of_date: 2017-10-30\nsource: {kind: synthetic}\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "promotions.yaml").write_text(OFFERS)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def load(conf: Path, text: str, *overrides: str) -> Settings:
    (conf / "own.yaml").write_text(text)
    return load_settings([conf / "own.yaml"], overrides)


def test_what_is_nearer_wins(conf: Path) -> None:
    text = "include: base.yaml\nplan: {budget_amount: 10, weeks: 2}\n"
    settings = load(conf, text, "plan.budget_amount=20")
    assert (settings.plan.budget_amount, settings.plan.weeks) == (20, 2)
    assert settings.promotions.offers[0].offer_id == "ten_off"


@pytest.mark.parametrize(
    ("given", "meant"), [("budjet", "budget_amount"), ("weeeks", "weeks"), ("holdout", "holdout_rate")]
)
def test_an_unknown_setting_is_told_with_the_one_that_was_meant(conf: Path, given: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"plan\.{given}: unknown setting; did you mean {meant}\?"):
        load(conf, "include: base.yaml\n", f"plan.{given}=1")


def test_a_fault_of_a_section_is_told_with_every_place_that_set_it(conf: Path) -> None:
    own = conf / "own.yaml"
    text = "include: base.yaml\nmaintenance: {retention_days: 7}\n"
    with pytest.raises(SettingsError, match=rf"{own} and --set: maintenance: less than 7 days"):
        load(conf, text, "maintenance.retention_days=1")
    with pytest.raises(SettingsError, match=rf"{own}: maintenance: less than 7 days"):
        load(conf, text.replace("7", "1"), "plan.weeks=2")


def test_another_source_replaces_the_whole_section(conf: Path) -> None:
    (conf / "base.yaml").write_text("as_of_date: 2017-10-30\nsource: {kind: synthetic, customers: 9}\n")
    settings = load(conf, "include: base.yaml\nsource: {kind: complete_journey}\n")
    assert settings.source.kind == "complete_journey"


def test_every_fault_is_told_at_once_with_file_and_key(conf: Path) -> None:
    text = "include: base.yaml\nplan: {budget_amount: -1, budgte_amount: 2}\nseed: many\n"
    text += "segments: {resamples: 2.5}\n"
    with pytest.raises(SettingsError) as fault:
        load(conf, text, "plan.weeks=0")
    message = str(fault.value)
    own = conf / "own.yaml"
    assert message.startswith("5 fault(s)")
    assert f"{own}: plan.budget_amount: Input should be greater than or equal to 0, got -1" in message
    assert f"{own}: plan.budgte_amount: unknown setting; did you mean budget_amount?" in message
    assert f"{own}: seed: Input should be a valid integer, got 'many'" in message
    assert f"{own}: segments.resamples:" in message
    assert "--set: plan.weeks: Input should be greater than or equal to 1, got 0" in message


def test_a_missing_setting_is_named(conf: Path) -> None:
    with pytest.raises(SettingsError, match="no file sets it: as_of_date: required, but not set"):
        load(conf, "source: {kind: synthetic}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a\n", "expected 'key: value' lines, found list"),
        ("seed: 1\nseed: 2\n", "key given twice: seed"),
        ("include: nowhere.yaml\n", "nowhere.yaml: no such settings file"),
        ("include: own.yaml\n", "includes itself"),
        (
            "include: base.yaml\nsource: {kind: files, time_zone: UTC, tables: {}}\n",
            "order_lines is required",
        ),
        ("include: base.yaml\nplan: {promotions_file: gone.yaml}\n", "gone.yaml does not exist"),
        ("include: base.yaml\npromotions: {offers: []}\n", "promotions.offers"),
    ],
)
def test_bad_files_are_refused(conf: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(conf, text)


@pytest.mark.parametrize("override", ["seed", "=3", "as_of_date.year=3"])
def test_bad_overrides_are_refused(conf: Path, override: str) -> None:
    with pytest.raises(SettingsError, match="--set"):
        load(conf, "include: base.yaml\n", override)


def test_places_do_not_change_what_a_run_is(conf: Path) -> None:
    here = load(conf, "include: base.yaml\n")
    elsewhere = load(conf, "include: base.yaml\n", "places.warehouse=/elsewhere", "spark.x=1")
    other_plan = load(conf, "include: base.yaml\n", "plan.weeks=3")
    assert settings_fingerprint(here) == settings_fingerprint(elsewhere)
    assert settings_fingerprint(here) != settings_fingerprint(other_plan)


def test_settings_cannot_be_changed(conf: Path) -> None:
    settings = load(conf, "include: base.yaml\n")
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 3


def test_lists_in_a_source_file_are_read(conf: Path) -> None:
    text = """
source:
  kind: files
  time_zone: Europe/Berlin
  tables:
    order_lines:
      format: csv
      path: lines.csv
      header: [BonNr, KdNr, ArtNr, Zeit, Menge, Betrag]
      columns:
        basket_id: BonNr
        customer_id: {from: KdNr, null_values: ["", "-"]}
        product_id: ArtNr
        ordered_at: {from: Zeit, format: "dd.MM.yyyy HH:mm"}
        quantity: Menge
        sales_amount: {from: Betrag, multiply: 1}
        store_id: {from: Filiale, values: {1: 7, F2: Mitte}}
      where:
        - {column: ArtNr, op: not_in, value: [X1, 7]}
"""
    source = load(conf, "as_of_date: 2024-01-01\n" + text).source
    assert isinstance(source, FilesSource)
    lines = source.tables["order_lines"]
    assert lines.columns["customer_id"].null_values == ("", "-")
    assert lines.header is not None
    assert lines.header[0] == "BonNr"
    assert lines.columns["store_id"].values == {"1": "7", "F2": "Mitte"}
    assert lines.where[0].value == ("X1", 7)


def test_a_key_of_spark_keeps_its_dots(conf: Path) -> None:
    settings = load(conf, BASE, "spark.spark.sql.shuffle.partitions=3")
    assert settings.spark == {"spark.sql.shuffle.partitions": 3}


@pytest.mark.parametrize(
    ("text", "overrides", "told"),
    [
        ("", ["spark.spark.a.b=[1]"], "--set: spark.spark.a.b: takes a text, a number or true/false, got [1]"),
        ("", ["spark.spark.a.b=null"], "--set: spark.spark.a.b: takes a text, a number or true/false, got null"),
        ("spark: {spark.a: [1, 2]}", [], "own.yaml: spark.spark.a: takes a text, a number or true/false, got [1, 2]"),
        (
            "spark: {spark: {sql: {shuffle: 8}}}",
            [],
            "own.yaml: spark.spark: takes a text, a number or true/false; write Spark's own key with its dots on one",
        ),
    ],
)
def test_wrong_values_of_spark_are_told_once(conf: Path, text: str, overrides: list[str], told: str) -> None:
    with pytest.raises(SettingsError) as fault:
        load(conf, f"include: base.yaml\n{text}\n", *overrides)
    assert "1 fault(s)" in str(fault.value)
    assert told in str(fault.value)


@pytest.mark.parametrize("key", ["spark.authenticate.secret", "spark.ssl.keyStorePassword"])
def test_secrets_are_refused_and_not_repeated(conf: Path, key: str) -> None:
    with pytest.raises(SettingsError) as fault:
        load(conf, f"include: base.yaml\nspark: {{{key}: canary}}\n")
    assert f"{key}: settings are logged" in str(fault.value)
    assert "canary" not in str(fault.value)


def test_wrong_constants_of_a_source_name_file_and_key(conf: Path) -> None:
    text = SHOP.replace("basket_id: t", "basket_id: {constant: [1]}")
    with pytest.raises(SettingsError) as fault:
        load(conf, text)
    key = "source.tables.order_lines.columns.basket_id.constant"
    assert f"own.yaml: {key}: takes a text, a number or true/false, got [1]" in str(fault.value)


SHOP = """
as_of_date: 2024-01-01
source:
  kind: files
  time_zone: UTC
  tables:
    order_lines:
      {format: csv, path: x, columns: {basket_id: t, product_id: p, ordered_at: w, quantity: q, sales_amount: a}}
"""


def test_files_are_called_as_their_settings_file_unless_they_have_a_name(conf: Path) -> None:
    (conf / "shop.yaml").write_text(SHOP)
    assert source_name(load(conf, "include: shop.yaml\nsource: {time_zone: Europe/Paris}\n").source) == "files shop"
    assert source_name(load(conf, SHOP).source) == "files own"
    assert source_name(load(conf, SHOP, "source.name=north").source) == "files north"
    assert source_name(load(conf, "include: base.yaml\n").source) == "synthetic"
