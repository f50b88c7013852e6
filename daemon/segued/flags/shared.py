"""Flags that several commands share: the server, the output, and one hidden flag for each setting."""

from __future__ import annotations

import argparse

from segue_runtime.settings import declared

Group = argparse._ArgumentGroup  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # its only name
COLOURS = ("auto", "always", "never")
# Flags of the connection with a name of their own, and their settings.
TLS_FLAGS = {"--tls": "client.tls", "--tls-ca": "client.tls_ca", "--tls-cert": "client.tls_cert",
             "--tls-key": "client.tls_key"}  # fmt: skip
CSV_HELP = "Write a table in CSV to standard output, a row for each file"
TLS_HELP = {
    "--tls": "Use TLS",
    "--tls-ca": "Certificates (PEM) to trust instead of the system's",
    "--tls-cert": "Client certificate (PEM), for a server that requires one",
    "--tls-key": "Private key (PEM) of the client certificate",
}


def add_server(command: argparse.ArgumentParser, default: str = "all roles in this process") -> None:
    """Add the flags of a command that connects to a server."""
    group = command.add_argument_group("Server")
    group.add_argument(
        "--server",
        metavar="ADDRESS",
        help=f"Server: HOST:PORT, http://…, https://… or unix:PATH [env: SEGUE_CLIENT_SERVER] [default: {default}]",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="File with the bearer token to send; `-` reads standard input [env: SEGUE_CLIENT_TOKEN is the token]",
    )
    add_tls(group)


def add_tls(group: Group) -> None:
    """Add the flags of a connection with TLS."""
    for flag, key in TLS_FLAGS.items():
        if flag == "--tls":
            group.add_argument(flag, dest=key, action="store_const", const="true", help=TLS_HELP[flag])
        else:
            group.add_argument(flag, dest=key, metavar="FILE", help=TLS_HELP[flag])


def add_voices(command: argparse._ActionsContainer) -> None:
    """Add the flag that chooses the voice pack of the sketch band."""
    command.add_argument(
        "--voices",
        dest="renderer.sketch.voices",
        metavar="PACK",
        help="Sampled voices of the sketch band: a pack that `voices list` shows, auto (the newest) or none",
    )


def add_output(command: argparse.ArgumentParser, *, quiet: bool = True, csv: bool = False) -> None:
    """Add the flags that say what a command prints."""
    group = command.add_argument_group("Output")
    forms = group.add_mutually_exclusive_group() if csv else group
    if csv:
        forms.add_argument("--csv", action="store_true", help=CSV_HELP)
    forms.add_argument("--json", action="store_true", help="Write JSON to standard output, one object a line")
    if quiet:
        group.add_argument("-q", "--quiet", action="store_true", help="Print nothing but errors")
    group.add_argument(
        "--color", metavar="WHEN", choices=COLOURS, default="auto", help="Use colours: auto, always or never"
    )


def add_force(group: Group) -> None:
    """Add the flag that allows a command to replace files."""
    group.add_argument("-f", "--force", action="store_true", help="Replace existing files")


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add `--home`, and a hidden flag for every other setting."""
    group = command.add_argument_group("Settings")
    for each in declared():
        if each.key == "home":
            group.add_argument(each.flag, dest=each.key, metavar="FOLDER", help=sentence(each.spec.help))
        elif each.spec.kind == "flag":
            command.add_argument(
                each.flag, dest=each.key, nargs="?", const="true", metavar="BOOL", help=argparse.SUPPRESS
            )
        else:
            command.add_argument(each.flag, dest=each.key, metavar="VALUE", help=argparse.SUPPRESS)


def sentence(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[:1].upper() + text[1:]
