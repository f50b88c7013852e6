"""Values of flags that the command line checks itself."""

from __future__ import annotations

import argparse
import datetime as dt

from segue_runtime.settings import parse_duration


def seconds(text: str) -> float:
    """Read a time: 75, 20s, 2m or 1m20s."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def speed(text: str) -> float:
    """Read the speed of a replay: 1 is the recorded time, inf is without pauses."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 for the recorded time, 10 for ten times as fast, or inf")
    return value


def day(text: str) -> dt.date:
    """Read a day: 2026-11-30."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write one like 2026-11-30") from None


def label(text: str) -> tuple[str, str]:
    """Read KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as KEY=VALUE")
    return key, value


def names(text: str) -> list[str]:
    """Read a list with commas."""
    return [name for each in text.split(",") if (name := each.strip())]


def count(text: str) -> int:
    """Read a number of things, 0 or more."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)
