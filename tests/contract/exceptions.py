"""Fields that a backend does not use, without a warning and without an error: each with its reason.

The test fails when a field that is not listed here is ignored, and when a listed field is no longer ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final


@dataclass(frozen=True)
class Exempt:
    """Fields of one message that some backends may leave without an effect."""

    message: str
    paths: tuple[str, ...]
    """Paths, or patterns of them."""
    reason: str
    backends: tuple[str, ...] = ()
    """Names of backends; empty means all."""
    in_prompt: bool = False
    """Whether the planner writes the field into the section's prompt; a test checks this."""


EXCEPTIONS: Final[tuple[Exempt, ...]] = (
    # Sections: what other services use.
    Exempt("SectionSpec", ("label",), "a name for people: it is in the plan, the section's state and the MIDI markers"),
    Exempt("SectionSpec", ("target_lufs",), "the mixer levels the draft by it"),
    Exempt("SectionSpec", ("model",), "the conductor chooses the renderer by it, and sends it as RenderStart.model"),
    Exempt("SectionSpec", ("timbre_section",), "the conductor sends that section's audio as RenderStart's guide"),
    Exempt("SectionSpec", ("cadence",), "the planner writes the chords by it"),
    Exempt(
        "SectionSpec",
        (
            "previous.border_chord.*", "next.border_chord.quality", "next.border_chord.start_tick",
            "next.border_chord.ticks",
        ),
        "a fact about the neighbour that the planner fills in; the band reads root and bass of the next chord",
        ("sketch",),
    ),
    Exempt(
        "SectionSpec",
        ("previous.role", "previous.energy"),
        "a fact about the neighbour that the planner fills in; the band reads only whether there is one",
        ("sketch",),
    ),
    Exempt(
        "SectionSpec",
        ("prompt",),
        "the planner writes one for every section of every model, so that a warning would be in every piece; the "
        "profile has uses_prompt false, so the planner reads a caller's prompt and warns about the rest of it",
        ("sketch",),
    ),
    # Sections: MusicGen reads the prompt that the planner writes from the plan.
    Exempt(
        "SectionSpec",
        ("energy", "layers.kind", "layers.instruments", "groove.feel"),
        "MusicGen reads it in the prompt, which the planner writes from it",
        ("musicgen", "audiocraft"),
        in_prompt=True,
    ),
    Exempt(
        "SectionSpec",
        (
            "role", "genre", "chords.*", "layers.level", "groove.name", "groove.swing", "transition", "previous.*",
            "next.*", "tail_frames",
        ),
        "MusicGen has no control for it; the planner sets it in every plan, so that a warning would be in every piece",
        ("musicgen", "audiocraft"),
    ),
    # Sections: audiocraft has the prompt and a melody in audio alone.
    Exempt(
        "SectionSpec",
        ("key.tonic", "key.mode"),
        "audiocraft reads it in the prompt, which the planner writes from it",
        ("audiocraft",),
        in_prompt=True,
    ),
    Exempt(
        "SectionSpec",
        ("motif.*", "motif_use"),
        "it has no control for it; the planner sets it in every plan, so that a warning would be in every piece",
        ("audiocraft",),
    ),
    # Sections: ACE-Step reads prompt, lyrics, tempo, key and metre.
    Exempt(
        "SectionSpec",
        ("energy", "layers.kind", "layers.instruments", "groove.feel"),
        "diffusion models read it in the prompt, which the planner writes from it",
        ("diffusion",),
        in_prompt=True,
    ),
    Exempt(
        "SectionSpec",
        (
            "genre", "chords.*", "layers.level", "groove.name", "groove.swing", "transition", "previous.*", "next.*",
            "tail_frames", "motif.*", "motif_use",
        ),
        "diffusion models have no control for it; the planner sets it in every plan, so that a warning would be in "
        "every piece",
        ("diffusion",),
    ),
    Exempt(
        "SectionSpec",
        ("lyrics.lines.*",),
        "the planner computes it from the text; the model times the words by itself",
        ("diffusion",),
    ),
    # Plans.
    Exempt(
        "Plan.sections.spec",
        ("previous.*", "next.*"),
        "in a plan without a digest the planner fills in the neighbours that a section really has",
    ),
    # Compositions.
    Exempt(
        "CompositionSpec",
        ("take_bounds.tempo_percent", "take_bounds.key"),
        "the band keeps tempo and key, and in the noise of random weights none is found, so that no take misses "
        "(tests/mesh/test_mesh_bounds.py)",
        ("sketch", "musicgen"),
    ),
    # Calls.
    Exempt("RenderStart", ("owner",), "it decides the order in the queue (tests/renderer/test_sketch_queue.py)"),
    Exempt(
        "RenderStart", ("overlap_frames",), "the band rings on for 3 s or more, which the contract allows", ("sketch",)
    ),
)  # fmt: skip


def exempt(message: str, backend: str, all_paths: list[str]) -> set[str]:
    """Return the paths of a message that may be ignored by a backend."""
    found: set[str] = set()
    for each in EXCEPTIONS:
        if each.message == message and (not each.backends or backend in each.backends):
            found.update(path for path in all_paths for wanted in each.paths if fnmatchcase(path, wanted))
    return found
