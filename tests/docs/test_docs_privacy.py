"""The settings, times and numbers in docs/privacy.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from segue_runtime.artifacts.partial_files import ABANDONED_S
from segue_runtime.settings import declared
from segue_runtime.store.owners.records import KEPT_DAYS
from segue_runtime.store.records import UNFINISHED_UPLOAD_S
from segued.serve.erasure import WAIT_S

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text("utf-8")


def test_named_settings_exist() -> None:
    keys = {each.key for each in declared()}
    areas = {key.partition(".")[0] for key in keys if "." in key}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z_]+)", PAGE) if name.partition(".")[0] in areas}
    assert len(named) >= 4
    assert named - {"segue.db"} <= keys


def test_times_are_those_of_the_code() -> None:
    assert f"{KEPT_DAYS} days" in PAGE
    assert UNFINISHED_UPLOAD_S == 3600
    assert "an hour after the last bytes" in PAGE
    assert ABANDONED_S == 86_400
    assert "| a day |" in PAGE
    assert WAIT_S == 120
    assert "two minutes" in PAGE
    announced = Path(__file__).parents[2] / "libs/segue_runtime/store/redis/lua/common.lua"
    assert "local MAX_ANNOUNCED = 10000\n" in announced.read_text()
    assert "last 10,000" in PAGE
