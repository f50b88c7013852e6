"""The progress of a composition, which another thread draws while updates arrive."""

from __future__ import annotations

from segue.composer.v1 import stream_pb2
from segue.music.v1 import music_pb2
from segue_client.events import update_of
from segued.output.progress import CompositionProgress


def test_a_plan_that_arrives_during_drawing_does_not_change_the_drawn_lists() -> None:
    progress = CompositionProgress()
    drawn = iter(progress.labels.items())
    event = stream_pb2.CompositionEvent()
    plan = event.planned.plan
    plan.key.tonic, plan.key.mode, plan.metre.beats, plan.metre.unit = "C", music_pb2.MODE_MAJOR, 4, 4
    plan.sample_rate, plan.quarters_per_minute = 48_000, 120
    plan.sections.add().spec.section_id = "verse"
    progress.add(update_of("c1", event))
    assert list(drawn) == []
    assert list(progress.labels) == list(progress.lengths) == ["verse"]


def test_a_role_that_is_waited_for_is_named_once_until_it_answers() -> None:
    progress, lines = CompositionProgress(), []
    for role in ("renderer", "renderer", "", "mixer"):
        checkpoint = stream_pb2.Checkpoint(waiting_for=role)
        lines.append(progress.add(update_of("c1", stream_pb2.CompositionEvent(checkpoint=checkpoint))))
        assert progress.waiting_for == role
    assert [line.partition(",")[0] for line in lines] == ["waiting for the renderer", "", "", "waiting for the mixer"]


def test_a_section_in_the_line_shows_its_position_and_its_wait_until_it_begins() -> None:
    progress, shown = CompositionProgress(), []
    for position, wait_s in ((3, None), (2, 61), (0, None)):
        told = stream_pb2.SectionProgress(section_id="verse", queue_position=position)
        if wait_s:
            told.queue_wait.FromSeconds(wait_s)
        progress.add(update_of("c1", stream_pb2.CompositionEvent(section_progress=told)))
        shown.append(progress.waits["verse"])
    assert shown == ["position 3 in the queue", "position 2 in the queue, begins in about 1:01.0", ""]


def test_a_section_shows_its_place_in_the_line_then_the_made_part_in_percent() -> None:
    progress, shown = CompositionProgress(), []
    for position, fraction in ((2, 0.0), (0, 0.0), (0, 0.376), (0, 1.0)):
        told = stream_pb2.SectionProgress(section_id="verse", queue_position=position, fraction_done=fraction)
        progress.add(update_of("c1", stream_pb2.CompositionEvent(section_progress=told)))
        shown.append(progress.section_text("verse"))
    assert shown == ["position 2 in the queue", "", "38%", ""]
