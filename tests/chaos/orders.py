"""The pieces of a run, drawn from its seed: what callers ask for, and what they do meanwhile."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2
from segue.music.v1 import music_pb2

PROMPTS = (
    "calm piano, 120 bpm, C major",
    "rainy lo-fi, 82 bpm, F minor",
    "sunny funk, 108 bpm, E minor",
    "house, 124 bpm, A minor",
    "ambient pads, 70 bpm, D major",
    "rock with organ, 136 bpm, G major",
)
FORMS = (
    (),
    (music_pb2.ROLE_VERSE, music_pb2.ROLE_CHORUS),
    (music_pb2.ROLE_INTRO, music_pb2.ROLE_VERSE, music_pb2.ROLE_OUTRO),
)
EXPORTS = (
    spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_FLAC),
    spec_pb2.Export(file_format=audio_pb2.FILE_FORMAT_WAV, bit_depth=16),
)
CANCELLED, REPEATED, SHARED, ATTACHED, FAULTY = 0.1, 0.4, 0.1, 0.15, 0.03
"""The shares of orders: cancelled; with an earlier spec; of several callers; with policy CANCEL; made to fail."""


@dataclass(frozen=True)
class Order:
    """One piece: the request, how many callers send it, and what they do."""

    number: int
    spec: spec_pb2.CompositionSpec
    request_id: str
    num_callers: int
    streams: bool
    """Whether it is sent with Compose; else with CreateComposition."""
    attached: bool
    """Whether the streams have the disconnect policy CANCEL."""
    cancel_after: int | None
    """After how many events the first caller cancels it; then it is retried."""
    forget_every: int
    """After how many messages a further watcher drops its stream, to resume by cursor."""
    faulty: bool
    """Whether the planner must refuse it."""

    def __str__(self) -> str:
        traits = {
            f"{self.num_callers} callers": self.num_callers > 1,
            "attached": self.attached,
            f"cancelled after {self.cancel_after}": self.cancel_after is not None,
            "made to fail": self.faulty,
        }
        return ", ".join([f"piece {self.number}", *(trait for trait, has_it in traits.items() if has_it)])


def make_orders(seed: int, num_pieces: int) -> list[Order]:
    """Return the orders of a run; the same for the same seed."""
    chance = random.Random(f"orders of {seed}")
    orders: list[Order] = []
    for number in range(1, num_pieces + 1):
        spec = _spec(chance)
        good = [order.spec for order in orders if not order.faulty]
        if good and chance.random() < REPEATED:
            spec = chance.choice(good)
        # One of each at least, also in a short run.
        faulty = number == 5 or chance.random() < FAULTY
        if faulty:
            spec = spec_pb2.CompositionSpec(brief=music_pb2.Brief(prompt="calm piano", genre="no genre of this name"))
        cancelled = not faulty and (number == 3 or chance.random() < CANCELLED)
        shared = number == 2 or chance.random() < SHARED
        order = Order(
            number=number,
            spec=spec,
            request_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            num_callers=chance.randint(2, 4) if shared else 1,
            streams=chance.random() < 0.5,
            attached=not shared and not cancelled and chance.random() < ATTACHED,
            cancel_after=chance.randint(1, 60) if cancelled else None,
            forget_every=chance.randint(3, 40),
            faulty=faulty,
        )
        orders.append(order)
    return orders


def _spec(chance: random.Random) -> spec_pb2.CompositionSpec:
    form = chance.choice(FORMS)
    brief = music_pb2.Brief(
        prompt=chance.choice(PROMPTS),
        seed=chance.randrange(2**32),
        sample_rate=chance.choice((22050, 48000)),
        form=form,
    )
    brief.duration.FromSeconds(3 + 3 * len(form) + chance.randint(1, 5))
    policies = (spec_pb2.DEGRADATION_POLICY_REFUSE, spec_pb2.DEGRADATION_POLICY_ALLOW)
    return spec_pb2.CompositionSpec(
        brief=brief,
        stems=chance.random() < 0.15,
        midi=chance.random() < 0.3,
        exports=EXPORTS if chance.random() < 0.2 else (),
        degradation_policy=chance.choice(policies),
    )
