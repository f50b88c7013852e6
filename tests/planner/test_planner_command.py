"""`segued plan` and `segued compose --plan`: output, pipes and edited plans."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import mido
import pytest
import soundfile
from tests.planner.model_server import PROPOSAL, message, unreachable_address

from segue_music.elements import LayerKind
from segued.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Segued = Callable[..., tuple[int, str, str]]

EXAMPLE = "sad piano waltz in F# minor, 84 bpm, two minutes, no drums, big ending"
PARTIAL = {
    "quarters_per_minute": 100,
    "metre": {"beats": 3, "unit": 4},
    "key": {"tonic": "E", "mode": "MODE_DORIAN"},
    "sections": [
        {"spec": {"section_id": "a", "role": "ROLE_VERSE", "bars": 2}},
        {"spec": {"section_id": "b", "role": "ROLE_CHORUS", "bars": 3, "label": "The big one"}},
    ],
}


@pytest.fixture
def segued(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Segued:
    """Run a command in this process and return its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode(errors="surrogateescape"))))
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_example_has_every_fact_of_its_prompt_with_its_words(segued: Segued) -> None:
    code, out, _ = segued("plan", EXAMPLE)
    assert code == 0
    for fact, words in {
        "key        F# minor": "“F# minor”", "tempo      84 bpm": "“84 bpm”", "metre      3/4": "“waltz”",
        "duration   120 s": "“two minutes”", "layers     no rhythm": "“no drums”", "mood       sad": "“sad”",
        "course     big end": "“big ending”", "instrument piano": "“piano”", "genre      classical": "“waltz”",
        "seed       ": "default",
    }.items():  # fmt: skip
        line = next((line for line in out.splitlines() if line.startswith(fact)), "")
        assert line.endswith(words), (fact, out)
    assert "2:00.000 = 5760000 frames at 48000 Hz, 56 bars of 3/4, 84 bpm, F# minor" in out
    assert not any(line.startswith("rhythm") for line in out.splitlines())
    energy = next(line for line in out.splitlines() if line.startswith("energy"))
    assert energy.rstrip().endswith("█"), "the end is big"
    assert "estimate " in out


def test_both_commands_show_what_was_not_understood_in_one_line(segued: Segued) -> None:
    prompt = "calm piano, zeusaphone and kazoofant, 2 seconds"
    unread = "not understood, without effect: 'zeusaphone', 'kazoofant'"
    _, out, _ = segued("plan", prompt)
    assert [line for line in out.splitlines() if "zeusaphone'," in line] == [f"! {unread}"]
    code, _, stderr = segued("compose", prompt, "-o", "song.wav")
    assert code == 0, stderr
    assert [line for line in stderr.splitlines() if "zeusaphone'," in line] == [f"warning: {unread}"]


def test_a_plan_can_be_piped_edited_and_planned_again(segued: Segued) -> None:
    _, out, _ = segued("plan", EXAMPLE, "--json")
    answer = json.loads(out)
    assert answer["estimate"]["render_time"]
    again, same, stderr = segued("plan", "--plan", "-", "--json", stdin=out)
    assert (again, stderr) == (0, "")
    assert json.loads(same)["plan"] == answer["plan"]
    edited = copy.deepcopy(answer)
    edited["plan"]["title"] = "Waltz for nobody"
    del edited["plan"]["sections"][2]
    code, out, stderr = segued("plan", "--plan", "-", "--json", stdin=json.dumps(edited))
    assert code == 0, stderr
    assert "edited" in stderr
    made = json.loads(out)["plan"]
    assert made["title"] == "Waltz for nobody"
    assert made["digest"] != answer["plan"]["digest"]
    kept = [item["spec"]["section_id"] for item in answer["plan"]["sections"]]
    assert [item["spec"]["section_id"] for item in made["sections"]] == kept[:2] + kept[3:]
    assert int(made["frames"]) == 5_760_000 - int(answer["plan"]["sections"][2]["spec"]["frames"])


def test_a_partial_plan_is_completed_and_its_picture_marks_given_values(segued: Segued, tmp_path: Path) -> None:
    (tmp_path / "partial.json").write_text(json.dumps(PARTIAL))
    code, out, _ = segued("plan", "--plan", "partial.json", "-o", "whole.json")
    assert code == 0
    for line in ("key        E dorian  <- asked for", "metre      3/4  <- asked for", "genre      pop  <- default"):
        assert line in out
    assert "The big one: 3 bars" in out
    whole = json.loads((tmp_path / "whole.json").read_text())
    assert all(item["spec"]["chords"] and item["spec"]["layers"] for item in whole["sections"])
    code, _, stderr = segued("plan", "--plan", "partial.json", "-o", "whole.json")
    assert (code, "--force" in stderr) == (2, True)


def test_all_violations_are_shown_with_path_value_and_suggestion(segued: Segued) -> None:
    _, out, _ = segued("plan", "rock, 120 bpm", "--json")
    plan = json.loads(out)["plan"]
    plan["sections"][1]["spec"]["energy"] = [0.5]
    plan["sections"][0]["spec"]["bars"] += 1
    code, _, stderr = segued("plan", "--plan", "-", stdin=json.dumps(plan))
    assert code == 4
    for words in (
        "plan.sections[1].spec.energy: its length is 1, but", "leave it out; the planner fills it in",
        "plan.sections[0].spec.chords[", ".ticks: it is 3840, so the chords end at tick",
    ):  # fmt: skip
        assert words in stderr
    plan["sections"][1]["spec"]["energy"] = [7.5]
    code, _, stderr = segued("plan", "--plan", "-", stdin=json.dumps(plan))
    assert code == 4
    assert "sections[1].spec.energy[0]: it is 7.5: must be" in stderr
    assert "suggested: 1" in stderr


NO_PLANS = {
    "nothing": ("", "it is empty"),
    "no JSON": ('{"title": "x",', "not JSON at line 1"),
    "a list": ("[]", "no plan"),
    "a number": ("1", "no plan"),
    "a typo": ('{"titel": "x"}', "there is no field 'titel'; did you mean 'title'?"),
    "a typo inside": ('{"plan": {"sections": [{"spec": {"bar": 1}}]}}', "plan.sections[0].spec: there is no field 'ba"),
    "a wrong role": ('{"sections": [{"spec": {"role": "ROLE_VERS"}}]}', "ROLE_VERS"),
    "no text": ("\udcff\udcfe", "not UTF-8 at byte 0"),
    "a tower": ("[" * 100_000, "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), NO_PLANS.values(), ids=NO_PLANS)
def test_input_that_is_not_a_plan_is_refused_with_its_position(segued: Segued, text: str, words: str) -> None:
    code, out, stderr = segued("compose", "--plan", "-", "--quiet", stdin=text)
    assert (code, out) == (2, "")
    assert words in stderr
    assert "Traceback" not in stderr


def test_a_missing_file_is_named(segued: Segued) -> None:
    code, _, stderr = segued("plan", "--plan", "nowhere.json")
    assert code == 2
    assert "nowhere.json" in stderr


def test_an_error_contains_no_terminal_escapes(segued: Segued) -> None:
    plan: dict[str, Any] = copy.deepcopy(PARTIAL)
    plan["genre"] = "\x1b[2Jlofi"
    code, _, stderr = segued("plan", "--plan", "-", stdin=json.dumps(plan))
    assert code == 4
    assert "\x1b" not in stderr
    assert "suggested: lofi" in stderr


def test_a_prompt_that_contradicts_a_plan_is_refused(segued: Segued) -> None:
    code, _, stderr = segued("plan", "--bpm", "90", "--plan", "-", stdin=json.dumps(PARTIAL))
    assert code == 4
    assert "brief.quarters_per_minute: it says 90 bpm, but the plan does not" in stderr


def test_plan_edit_and_compose_in_a_real_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "segued"]
    edit = """
import json, sys
answer = json.load(sys.stdin)
answer['plan']['sections'][0]['spec']['label'] = 'Start'
json.dump(answer, sys.stdout)
"""
    with subprocess.Popen(
        [*command, "plan", "calm piano, 3 seconds", "--json"], stdout=subprocess.PIPE, cwd=tmp_path
    ) as planning, subprocess.Popen(
        [sys.executable, "-c", edit], stdin=planning.stdout, stdout=subprocess.PIPE, cwd=tmp_path
    ) as editing:  # fmt: skip
        done = subprocess.run(
            [*command, "compose", "--plan", "-", "-o", "song.wav", "--json"],
            stdin=editing.stdout, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=100,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"Start"' in done.stdout
    sound = soundfile.info(tmp_path / "song.wav")
    assert (sound.frames, sound.samplerate) == (144_000, 48_000)


def test_the_example_composed_has_its_length_tempo_metre_and_key(segued: Segued, tmp_path: Path) -> None:
    code, _, stderr = segued("compose", EXAMPLE, "-o", "waltz.flac", "--midi", "--quiet")
    assert code == 0, stderr
    sound = soundfile.info(tmp_path / "waltz.flac")
    assert sound.frames == 120 * sound.samplerate
    music = mido.MidiFile(tmp_path / "waltz.mid")
    meta = {event.type: event for track in music.tracks for event in track if event.is_meta}
    assert meta["set_tempo"].tempo == round(60e6 / 84)
    assert (meta["time_signature"].numerator, meta["time_signature"].denominator) == (3, 4)
    notes = [
        (tick, event.note, event.channel)
        for track in music.tracks
        for tick, event in _absolute(track)
        if event.type == "note_on" and event.velocity
    ]
    assert not [note for note in notes if note[2] == 9], "no drums"
    bar = 3 * music.ticks_per_beat
    # A note starts on every downbeat: the notes, and not only the header, have this metre and tempo.
    on_downbeats = {round(tick / bar) for tick, _, _ in notes if abs(tick - round(tick / bar) * bar) <= bar // 24}
    assert set(range(56)) <= on_downbeats
    assert max(tick for tick, _, _ in notes) < 56 * bar
    # F# minor, with the raised seventh of its dominant; the middle stands in A major, which has the same notes.
    scale = {6, 8, 9, 11, 1, 2, 4, 5}
    assert sum(note % 12 in scale for _, note, _ in notes) > 0.95 * len(notes)
    assert LayerKind.RHYTHM.name.lower() not in {track.name.lower() for track in music.tracks}


def _absolute(track: mido.MidiTrack) -> list[tuple[int, Any]]:
    found, tick = [], 0
    for event in track:
        tick += event.time
        found.append((tick, event))
    return found


def test_the_language_model_of_the_settings_is_used(segued: Segued) -> None:
    class Model(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = message(PROPOSAL)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            flags = ("--planner-backend", "ollama", "--planner-ollama-url", url)
            code, out, stderr = segued("plan", "music for a knight's funeral in space", *flags)
        finally:
            server.shutdown()
            serving.join()
    assert (code, stderr) == (0, "")
    assert out.startswith("The Last Orbit")
    assert "genre      cinematic  <- proposed by the language model" in out
    with unreachable_address() as url:
        flags = (*flags[:-1], url)
        code, out, _ = segued("plan", "music for a knight's funeral in space", *flags)
    assert code == 0
    assert "! the language model was not used: the server cannot be reached" in out
