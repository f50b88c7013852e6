"""The composition that the command line asks for, as messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.composer.v1 import spec_pb2
from segue.music.v1 import music_pb2
from segued.exits import CliError, ExitCode
from segued.requests import music, plan_files, words

if TYPE_CHECKING:
    import argparse


def planned_spec(arguments: argparse.Namespace) -> spec_pb2.CompositionSpec:
    """Return the part of a spec that planning needs: the brief, the plan and the model."""
    if not arguments.prompt and not arguments.plan:
        raise CliError(ExitCode.USAGE, "a prompt is needed", 'segued compose "rainy lo-fi, 82 bpm, F minor"')
    spec = spec_pb2.CompositionSpec(model=arguments.model)
    spec.brief.CopyFrom(brief_of(arguments))
    lyrics = words.read_lyrics(arguments)
    if arguments.plan:
        spec.plan.CopyFrom(plan_files.read(arguments.plan, quiet=arguments.quiet))
    if lyrics is not None:
        spec.brief.lyrics.CopyFrom(lyrics)
        if arguments.plan and not any(item.spec.HasField("lyrics") for item in spec.plan.sections):
            spec.plan.digest = ""  # the words change the plan
    return spec


def composition_spec(arguments: argparse.Namespace) -> spec_pb2.CompositionSpec:
    """Return the spec of a composition, without its files and its master."""
    spec = planned_spec(arguments)
    spec.stems = arguments.stems
    spec.midi = arguments.midi
    spec.lrc = arguments.lrc
    spec.private_prompt = arguments.private_prompt
    return spec


def apply_work_flags(spec: spec_pb2.CompositionSpec, arguments: argparse.Namespace) -> None:
    """Set what concerns the work and not the music: limits, labels, session."""
    if arguments.allow_degraded:
        spec.degradation_policy = spec_pb2.DEGRADATION_POLICY_ALLOW
    if arguments.priority is not None:
        spec.priority = spec_pb2.Priority.Value(f"PRIORITY_{arguments.priority.upper()}")
    apply_bound_flags(spec, arguments)
    if arguments.time_limit is not None:
        spec.time_limit.FromNanoseconds(round(arguments.time_limit * 1e9))
    for key, value in arguments.label:
        spec.labels[key] = value
    if arguments.session:
        spec.session = arguments.session


def apply_bound_flags(spec: spec_pb2.CompositionSpec, arguments: argparse.Namespace) -> None:
    """Set the bounds of takes."""
    bounds = spec_pb2.TakeBounds(
        tempo_percent=arguments.tempo_within or 0.0,
        key=arguments.same_key,
        level_lu=arguments.level_within or 0.0,
        most_redos=arguments.redos or 0,
    )
    if bounds.ByteSize():
        spec.take_bounds.CopyFrom(bounds)


def brief_of(arguments: argparse.Namespace) -> music_pb2.Brief:
    """Return the brief."""
    brief = music_pb2.Brief(
        prompt=arguments.prompt,
        negative_prompt=arguments.negative_prompt,
        genre=arguments.genre,
        form=music.read_roles(arguments.form or ()),
        include_layers=music.read_layers("--with", arguments.with_layers or ()),
        exclude_layers=music.read_layers("--without", arguments.without_layers or ()),
        instruments=arguments.instrument or (),
        title=arguments.title,
    )
    if arguments.loop:
        brief.kind = music_pb2.KIND_LOOP
    if arguments.duration is not None:
        brief.duration.FromNanoseconds(round(arguments.duration * 1e9))
    if arguments.seed is not None:
        if not 0 <= arguments.seed < 2**32:
            raise CliError(ExitCode.USAGE, f"--seed {arguments.seed} is not in 0 to {2**32 - 1}")
        brief.seed = arguments.seed
    if arguments.metre:
        brief.metre.CopyFrom(music.read_metre(arguments.metre))
    if arguments.bpm is not None:
        is_compound = bool(arguments.metre) and music.has_compound_beat(brief.metre)
        brief.quarters_per_minute = arguments.bpm * (1.5 if is_compound else 1.0)
    if arguments.key:
        brief.key.CopyFrom(music.read_key(arguments.key))
    return brief
