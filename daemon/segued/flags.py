"""The flags of every command. Only what `--help` needs is imported here; each command loads its own."""

from __future__ import annotations

import argparse

from segue_runtime.settings import declared, parse_duration
from segued.exits import Exit, Stop

EPILOG = """\
exit codes: 0 done, 1 the composition failed, 2 usage, 3 no server answers, 4 refused, 5 busy, 130 interrupted
Every setting that `segued config` lists is a flag (those of the client only where there is a server to ask), a SEGUE_*
variable, and a line of segue.toml.
"""
# Settings with a name of their own on the command line.
SHORT = {
    "--home": "home", "--token": "client.token", "--tls": "client.tls", "--tls-ca": "client.tls_ca",
    "--tls-cert": "client.tls_cert", "--tls-key": "client.tls_key",
}  # fmt: skip
SERVERS = {"serve", "replay"}


def seconds(written: str) -> float:
    """Read 75, 20s, 2m or 1m20s."""
    try:
        return parse_duration(written)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def speed(written: str) -> float:
    """Read how fast to replay: 1 is as it was, inf is at once."""
    try:
        value = float(written)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(
            f"{written!r}: write 1 for as it was, 10 for ten times as fast, inf for at once"
        )
    return value


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(
        prog="segued",
        description="Turns a prompt into a planned, multi-section piece of music, streamed while it is being made.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    serve = _command(commands, "serve", "start all roles in one process, or one role of the mesh")
    serve.add_argument("--listen", metavar="HOST:PORT", help="where clients connect (default 127.0.0.1:7300)")
    serve.add_argument("--role", metavar="ROLE", help="all, planner, renderer, mixer, analyzer, gateway or conductor")
    serve.add_argument("--renderer", metavar="NAME", help="sketch, or musicgen for a MusicGen checkpoint")
    serve.add_argument(
        "--model", metavar="FOLDER", help="the checkpoint: a folder in either published layout, or a pulled name"
    )
    serve.add_argument("--insecure", action="store_true", help="allow a non-loopback address without TLS and token")
    compose = _command(commands, "compose", "compose a piece and write it to a file")
    _brief(compose)
    compose.add_argument("-o", "--output", metavar="FILE", help="default song.flac; .flac .wav .opus .ogg .mp3")
    compose.add_argument("--force", action="store_true", help="replace files that are there")
    compose.add_argument("--from", dest="recipe", metavar="FILE", help="make again what this file says that it is")
    _export(compose)
    compose.add_argument(
        "--melody",
        metavar="FILE|band",
        help="a tune to follow, for melody models: a sound file, or what the band plays",
    )
    compose.add_argument("--private-prompt", action="store_true", help="keep the prompt out of the file")
    compose.add_argument("--plan", metavar="FILE", help="play this plan (JSON of `segued plan`); - is standard input")
    compose.add_argument("--stems", action="store_true", help="write one file for each part of the band, too")
    compose.add_argument("--midi", action="store_true", help="write the notes as a MIDI file, too")
    compose.add_argument("--model", default="", help="which model plays (see `segued models`)")
    compose.add_argument("--quiet", action="store_true", help="say nothing but errors")
    compose.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    compose.add_argument("--picture", metavar="FILE", help="draw waveform and spectrogram as PNG")
    plan = _command(commands, "plan", "plan a piece without making it")
    _brief(plan)
    plan.add_argument("-o", "--output", metavar="FILE", help="write the plan as JSON, to be edited and handed in")
    plan.add_argument("--plan", metavar="FILE", help="check and complete this plan (JSON); - is standard input")
    plan.add_argument("--force", action="store_true", help="replace the file if it is there")
    plan.add_argument("--model", default="", help="which model would play")
    plan.add_argument("--json", action="store_true", help="print the plan and the estimate as JSON")
    master = _command(commands, "master", "master a sound file: loudness, true peak, tone")
    master.add_argument("file", metavar="FILE")
    master.add_argument("-o", "--output", metavar="FILE", required=True, help=".flac .wav .opus .ogg .mp3")
    master.add_argument("--force", action="store_true", help="replace the file if it is there")
    _export(master)
    master.add_argument("--quiet", action="store_true", help="say nothing but errors")
    master.add_argument("--json", action="store_true", help="print what was measured and done as JSON")
    analyze = _command(commands, "analyze", "measure a sound file")
    analyze.add_argument("file", metavar="FILE")
    analyze.add_argument("--json", action="store_true", help="print the report as JSON")
    _models(commands)
    health = _command(commands, "health", "ask a server whether it is ready: exit code 0 or 3")
    health.add_argument("address", metavar="HOST:PORT", nargs="?", default="127.0.0.1:7300")
    _recordings(commands)
    config = _command(commands, "config", "show every setting, its value and where it came from")
    config.add_argument("--json", action="store_true", help="print them as JSON")
    config.add_argument("--changed", action="store_true", help="only those that are not at their defaults")
    version = _command(commands, "version", "show the versions of Segue and of what its bytes depend on")
    version.add_argument("--json", action="store_true", help="print them as JSON")
    return top


def _recordings(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    record = _command(commands, "record", "keep a composition's stream and files, for `segued replay`")
    record.add_argument("name", metavar="NAME", help="as in compositions/9f2c…")
    record.add_argument("-o", "--output", metavar="FILE", required=True, help="the recording")
    record.add_argument("--force", action="store_true", help="replace the file if it is there")
    record.add_argument("--server", metavar="HOST:PORT", help="default 127.0.0.1:7300")
    replay = _command(commands, "replay", "serve a recording as a gateway would, with nothing rendered")
    replay.add_argument("file", metavar="FILE", help="from `segued record`")
    replay.add_argument("--listen", metavar="HOST:PORT", help="where clients connect (default 127.0.0.1:7300)")
    replay.add_argument("--speed", type=speed, default=1.0, metavar="N", help="1 as it was (default), inf at once")


def _models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = _command(
        commands, "models", "list what can be played; pull, list and rm are for checkpoints on this machine"
    )
    models.add_argument("action", nargs="?", choices=("pull", "list", "rm"), help="what to do with checkpoints")
    models.add_argument("name", nargs="?", metavar="NAME", default="", help="musicgen-small, or OWNER/NAME on the hub")
    models.add_argument("--revision", default="main", help="which version to pull")
    models.add_argument("--offline", action="store_true", help="pull: only check what is here, without a network")
    models.add_argument("--json", action="store_true", help="print the profiles, or the checkpoints, as JSON")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".", allow_abbrev=False)
    if name not in {"config", "version", "serve", "health", "record", "replay"}:
        command.add_argument(
            "--server", metavar="HOST:PORT", help="be a client of this server; without it the mesh runs in this process"
        )
    for flag, key in SHORT.items():
        if key.startswith("client.") and name in SERVERS:
            continue  # `serve --token` would look as if it asked callers for one
        setting = next(each for each in declared() if each.key == key)
        flags = dict.fromkeys((flag, setting.flag))
        if setting.spec.kind == "flag":
            command.add_argument(*flags, dest=key, action="store_const", const="true", help=setting.spec.help)
        else:
            command.add_argument(*flags, dest=key, metavar="VALUE", help=setting.spec.help)
    for each in declared():
        if each.key in SHORT.values():
            continue
        if each.spec.kind == "flag":
            command.add_argument(
                each.flag, dest=each.key, nargs="?", const="true", metavar="BOOL", help=argparse.SUPPRESS
            )
        else:
            command.add_argument(each.flag, dest=each.key, metavar="VALUE", help=argparse.SUPPRESS)
    return command


def _export(command: argparse.ArgumentParser) -> None:
    """What the files shall be, and how they are mastered."""
    command.add_argument("--sample-rate", type=int, default=0, metavar="HZ", help="of the file; 22050 to 96000")
    command.add_argument("--bit-depth", type=int, default=0, metavar="BITS", help="16, 24 (default), or 32 for WAV")
    command.add_argument(
        "--preset", choices=("streaming", "broadcast", "club", "none"), help="loudness and sound of the master"
    )
    command.add_argument("--lufs", type=float, help="integrated loudness instead of the preset's")
    command.add_argument("--ceiling", type=float, metavar="DBTP", help="highest true peak instead of the preset's")


def _brief(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt", metavar="PROMPT", nargs="?", default="", help='"rainy lo-fi, 82 bpm, F minor"')
    command.add_argument("--duration", type=seconds, metavar="TIME", help="75, 20s, 2m, 1m20s (default 60 s)")
    command.add_argument("--seed", type=int, help="the same seed gives the same piece")
    command.add_argument("--bpm", type=float, help="beats a minute")
    command.add_argument("--key", help='"F minor", "Bb major", "D dorian"')
    command.add_argument("--metre", help="4/4, 3/4, 6/8 …")
    command.add_argument("--genre", help="a genre of the planner; a wrong one lists them")
    command.add_argument("--negative-prompt", default="", help="what it shall not be")


def refuse_beside_models(arguments: argparse.Namespace) -> None:
    """Refuse flags that the action has no use for."""
    action = arguments.action or ""
    useless = {
        "--revision": arguments.revision != "main" and action != "pull",
        "--offline": arguments.offline and action != "pull",
        "--json": arguments.json and action in {"pull", "rm"},
        "--server": bool(arguments.server) and bool(action),
    }
    for flag, is_there in useless.items():
        if is_there:
            where = "is about checkpoints on this machine" if flag == "--server" else "has no use for it"
            raise Stop(Exit.USAGE, f"{flag}: segued {f'models {action}'.strip()} {where}", "leave it out")
