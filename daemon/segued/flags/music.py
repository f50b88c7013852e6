"""Flags of `compose` and `plan`: the music."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segued.flags.values import names, seconds

if TYPE_CHECKING:
    import argparse

    from segued.flags.shared import Group


def add_music(command: argparse.ArgumentParser) -> Group:
    """Add the prompt and the flags that describe the music; return their group."""
    command.add_argument_group("Arguments").add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        default="",
        help='What to compose, for example "rainy lo-fi, 82 bpm, F minor"',
    )
    group = command.add_argument_group("Music")
    group.add_argument("--plan", metavar="FILE", help="Plan in JSON, whole or partial; `-` reads standard input")
    group.add_argument(
        "-d", "--duration", type=seconds, metavar="TIME",
        help="Length, for example 75, 20s, 2m or 1m20s [default: the prompt's, else 60s]",
    )  # fmt: skip
    group.add_argument(
        "--bpm",
        type=float,
        metavar="BEATS",
        help="Beats per minute; the beat is the dotted quarter in 6/8, 9/8 and 12/8, else the quarter",
    )
    group.add_argument("--key", metavar="KEY", help='Key, for example "F minor", Bb or "D dorian"')
    group.add_argument("--metre", metavar="METRE", help="Time signature, for example 3/4")
    group.add_argument("--genre", metavar="GENRE", default="", help="Genre; an unknown one lists the known ones")
    group.add_argument(
        "--form", type=names, metavar="ROLES", help="Sections in order, for example intro,verse,chorus,outro"
    )
    group.add_argument(
        "--with", dest="with_layers", type=names, metavar="LAYERS",
        help="Layers that must play, for example rhythm,bass",
    )  # fmt: skip
    group.add_argument(
        "--without", dest="without_layers", type=names, metavar="LAYERS", help="Layers that must not play"
    )
    group.add_argument(
        "--instrument", type=names, metavar="NAMES", help="Instruments that must be heard, for example cello,piano"
    )
    group.add_argument("--negative-prompt", metavar="TEXT", default="", help="What must not be heard")
    group.add_argument(
        "--lyrics", metavar="FILE", default="",
        help="Words to sing, as text with marks such as [verse] and [chorus]; `-` reads standard input",
    )  # fmt: skip
    group.add_argument(
        "--lyrics-language", metavar="TAG", default="", help="Language of the words, for example en or pt-BR"
    )
    group.add_argument("--seed", type=int, metavar="SEED", help="Seed; the same seed gives the same piece")
    group.add_argument("--title", metavar="TEXT", default="", help="Title; the default is made from the prompt")
    group.add_argument("--loop", action="store_true", help="Make a piece that ends where it begins")
    group.add_argument("--model", metavar="MODEL", default="", help="Model, one of those that `models` lists")
    return group
