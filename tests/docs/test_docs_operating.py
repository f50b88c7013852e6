"""The settings, flags and metrics in docs/operating.md exist, and ports and disks are correct."""

from __future__ import annotations

import re
from pathlib import Path

from segue_renderer.hosting.metrics import RendererMetrics
from segue_runtime.metrics import Metrics
from segue_runtime.settings import declared, load
from segued.bridge.metrics import BridgeMetrics

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
SETTINGS = {each.key: each for each in declared()}


def test_named_settings_and_flags_exist() -> None:
    areas = {key.partition(".")[0] for key in SETTINGS if "." in key}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE) if name.partition(".")[0] in areas}
    assert len(named) > 8
    assert named <= set(SETTINGS)
    flags = {flag for flag in re.findall(r"--[a-z]+-[a-z-]+", PAGE) if flag[2:].partition("-")[0] in areas}
    assert len(flags) > 4
    assert flags <= {each.flag for each in SETTINGS.values()}


def test_the_page_lists_every_metric_and_no_other() -> None:
    registry = Metrics().registry
    RendererMetrics(registry)
    BridgeMetrics(registry)
    families = {family.name for family in registry.collect() if family.name.startswith("segue_")}
    named = {name.removesuffix("_total") for name in re.findall(r"`(segue_[a-z_]+)`", PAGE)}
    assert named == families


def test_ports_are_the_defaults(tmp_path: Path) -> None:
    settings = load({}, environ={}, folder=tmp_path)
    rows = dict(re.findall(r"^\| (\w+) \| (\d+) \|", PAGE, re.MULTILINE))
    assert len(rows) == 5
    for role, port in rows.items():
        assert getattr(settings, role).listen.endswith(f":{port}"), role
