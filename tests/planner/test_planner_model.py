"""A planner with a language model: use of its proposals, and safety against broken or hostile answers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.model_server import (
    BRIEF,
    PROPOSAL,
    answers,
    http,
    message,
    planner_with_model,
    raw,
    unreachable_address,
)
from tests.planner.planner_client import NANOSECONDS, assert_valid, codes

from segue_music.plan import Brief, Kind, Origin, Role
from segue_planner import service
from segue_planner.language_model.client import make_language_model
from segue_planner.language_model.proposal import ProposalError, parse_proposal
from segue_planner.planner import Planner
from segue_planner.prompt.reader import read_prompt
from segue_runtime import scope
from segue_runtime.settings import PlannerSettings, SettingsError, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.planner.model_server import Answer

ROLES = [Role.INTRO, Role.MOTIF, Role.DEVELOPMENT, Role.RESOLUTION, Role.OUTRO]


async def test_a_proposals_words_form_and_chords_are_used_and_recorded(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as planner:
        plan = await planner.plan()
    assert_valid(plan)
    assert plan.frames == 90 * 48_000
    assert (plan.title, plan.genre, plan.moods) == ("The Last Orbit", "cinematic", ("mysterious", "sad"))
    assert [item.spec.role for item in plan.sections] == ROLES
    assert "a lone horn over dark strings" in plan.sections[0].spec.prompt
    assert "engines in the distance" in plan.sections[2].spec.prompt
    recorded = {(each.field, each.origin) for each in plan.readings}
    assert {(name, Origin.LANGUAGE_MODEL) for name in ("title", "genre", "mood", "form", "chords", "words")} <= recorded
    assert not codes(plan)


async def test_the_request_follows_the_documented_api(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL), token="hush") as planner:
        scope.enter(scope.Scope("caller-42"))
        await planner.plan(dataclasses.replace(BRIEF, seed=7))
        (asked,) = planner.model.received
    assert asked.headers["x-request-id"] == "caller-42"
    assert asked.line == "POST /api/chat HTTP/1.1"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == "Bearer hush"
    assert asked.headers["host"] == planner.model.url.removeprefix("http://")
    assert (asked.body["model"], asked.body["stream"], asked.body["options"]["seed"]) == ("llama3.2", False, 7)
    assert asked.body["format"]["required"] == ["title", "genre", "moods", "sections"]
    assert [each["role"] for each in asked.body["messages"]] == ["system", "user"]
    assert json.loads(asked.body["messages"][1]["content"]) == {"request": BRIEF.prompt, "facts": {"seconds": 90.0}}


async def test_chunked_and_unbounded_responses_are_read(tmp_path: Path) -> None:
    body = message(PROPOSAL)
    halves = (body[:100], body[100:])
    chunked = b"".join(b"%x;x=y\r\n%s\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
    for index, answer in enumerate(
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked),
            raw(b"HTTP/1.0 200 OK\r\n\r\n", *halves),
        )
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        async with planner_with_model(folder, answer) as planner:
            assert (await planner.plan()).title == "The Last Orbit"


async def test_a_proposal_never_changes_what_prompt_and_request_state(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as planner:
        stated = await planner.plan(Brief(prompt="happy techno, verse chorus verse chorus, 128 bpm, 60s"))
        assert (stated.genre, stated.moods, stated.quarters_per_minute) == ("techno", ("happy",), 128)
        assert [item.spec.role for item in stated.sections] == [Role.VERSE, Role.CHORUS] * 2
        asked = await planner.plan(
            dataclasses.replace(BRIEF, form=(Role.VERSE, Role.OUTRO), title="Mine", genre="folk")
        )
        assert [item.spec.role for item in asked.sections] == [Role.VERSE, Role.OUTRO]
        assert (asked.title, asked.genre) == ("Mine", "folk")
        less = await planner.plan(dataclasses.replace(BRIEF, prompt="funeral in space, no outro, with a bridge"))
        roles = [item.spec.role for item in less.sections]
        assert Role.OUTRO not in roles
        assert Role.BRIDGE in roles
        loop = await planner.plan(dataclasses.replace(BRIEF, kind=Kind.LOOP))
        assert loop.kind == Kind.LOOP
        for plan in (stated, asked, less, loop):
            assert_valid(plan)
        request = planner.model.received[0].body["messages"][1]["content"]
        assert json.loads(request)["facts"]["sections"] == ["verse", "chorus", "verse", "chorus"]


async def test_a_proposed_form_without_room_is_not_used(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as planner:
        plan = await planner.plan(dataclasses.replace(BRIEF, duration_ns=8 * NANOSECONDS))
    assert len(plan.sections) < len(ROLES)
    assert "language_model_repaired" in codes(plan)
    assert Origin.LANGUAGE_MODEL not in {each.origin for each in plan.readings if each.field in {"form", "chords"}}
    assert_valid(plan)


HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN: dict[str, tuple[Answer, str]] = {
    # These two never end within the time limit of a test.
    "never": (raw(b"", pause_s=1000), "no answer within"),
    "drips": (raw(HEAD + b"Content-Length: 100000\r\n\r\n", *[b"x"] * 20_000, pause_s=0.05), "no answer within"),
    "closes at once": (raw(), "not valid HTTP"),
    "half a head": (raw(HEAD + b"Content-Le"), "not valid HTTP"),
    "half a body": (raw(HEAD + b"Content-Length: 50\r\n\r\n{}"), "not valid HTTP"),
    "not HTTP": (raw(b"SSH-2.0-x\r\n\r\n"), "not valid HTTP"),
    "bad status": (raw(b"HTTP/1.1 ??? OK\r\n\r\n"), "not valid HTTP"),
    "endless head": (raw(HEAD, *[b"X-Y: " + b"z" * 9000 + b"\r\n"] * 20), "not valid HTTP"),
    "endless body": (raw(HEAD + b"\r\n", *[b"x" * 65536] * 40), "more than 256 KiB"),
    "huge length": (raw(HEAD + b"Content-Length: 99999999999999\r\n\r\n"), "more than 256 KiB"),
    "negative length": (raw(HEAD + b"Content-Length: -1\r\n\r\n"), "not valid HTTP"),
    "wrong chunks": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "not valid HTTP"),
    "negative chunk": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc"), "not valid HTTP"),
    "huge chunk": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\nabc"), "more than 256 KiB"),
    "packed": (http(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip"), "is compressed"),
    "no model": (http(b'{"error":"model \\u001b[31mx not found"}', "404 Not Found"), "404: model [31mx"),
    "breaks down": (http(b"<html>", "500 Oops"), "status 500"),
    "not JSON": (http(b"hello"), "not a chat message"),
    "no message": (http(b'{"done": true}'), "not a chat message"),
    "a number for text": (http(b'{"message": {"content": 7}}'), "not a chat message"),
    "a tower": (http(b"[" * 100_000), "not a chat message"),
    "talks": (answers("Sure! Here is your plan:"), "not JSON"),
    "a list": (answers([1, 2]), "not a JSON object"),
    "not a number": (answers('{"title": NaN}'), "not JSON"),
    "nothing": (answers({}), "nothing usable"),
    "a tower inside": (answers("[" * 50_000), "not JSON"),
    "too long": (answers("x" * 70_000), "too long"),
    "wrong values": (
        answers({"title": 7, "genre": "polkacore", "moods": {}, "sections": [{"role": "king"}]}), "nothing usable",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN)
async def test_on_any_failure_the_rules_plan_alone_with_a_warning(tmp_path: Path, answer: Answer, reason: str) -> None:
    async with planner_with_model(tmp_path, answer, limit_s=0.3 if "within" in reason else 20) as planner:
        plan = await planner.plan()
        again = await planner.plan(dataclasses.replace(BRIEF, prompt="jazz"))
    assert plan.digest == Planner(BRIEF).plan().digest
    (warning,) = [each for each in plan.warnings if each.code == "language_model_unused"]
    assert reason in warning.text
    assert warning.text.isprintable()
    assert again.genre == "jazz"


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as elsewhere:
        (tmp_path / "b").mkdir()
        moved = http(b"", "307 Temporary Redirect", f"Location: {elsewhere.model.url}/api/chat")
        async with planner_with_model(tmp_path / "b", moved) as planner:
            plan = await planner.plan()
        assert "language_model_unused" in codes(plan)
        assert elsewhere.model.received == []


async def test_an_unreachable_server_is_no_error() -> None:
    with unreachable_address() as url:
        language_model = make_language_model(PlannerSettings(backend="ollama", ollama_url=url))
        assert language_model is not None
        reason = await language_model.propose(BRIEF.prompt, BRIEF, read_prompt(BRIEF.prompt), 1)
    assert reason == "the server cannot be reached (ConnectionRefusedError)"


async def test_the_callers_deadline_leaves_time_for_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All but one second of a minute: the rules have enough time on a slow machine.
    monkeypatch.setattr(service, "RESERVED_S", 59.0)
    async with planner_with_model(tmp_path, raw(b"", pause_s=1000), limit_s=100) as planner:
        plan = await planner.plan(timeout_s=60)
    assert "language_model_unused" in codes(plan)


async def test_a_cancelled_call_cancels_the_request_to_the_model(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def waits(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 200 OK\r\n" if not left.is_set() else b"X: y\r\n")
            await asyncio.sleep(0.02)
        left.set()

    async with planner_with_model(tmp_path, waits) as planner:
        call = asyncio.create_task(planner.plan())
        async with asyncio.timeout(60):
            while not planner.model.received:  # noqa: ASYNC110 - another task receives
                await asyncio.sleep(0.01)
            call.cancel()
            await left.wait()


async def test_answers_are_cached(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as planner:
        plans = [await planner.plan() for _ in range(3)]
        assert len({plan.digest for plan in plans}) == 1
        assert len(planner.model.received) == 1
        await planner.plan(dataclasses.replace(BRIEF, seed=2))
        assert len(planner.model.received) == 2


async def test_a_refused_brief_is_not_sent_to_the_model(tmp_path: Path) -> None:
    async with planner_with_model(tmp_path, answers(PROPOSAL)) as planner:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await planner.plan(dataclasses.replace(BRIEF, genre="polkacore"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert planner.model.received == []


MALICE: dict[str, Any] = {
    "control characters": {"title": "\x1b[2Jx\u202e",
                           "sections": [{"role": "verse", "bars": 8, "words": "\x00\u202e[/red]"}]},
    "numbers": {"title": "t", "sections": [{"role": "verse", "bars": 10**30}, {"role": "chorus", "bars": -1},
                                            {"role": "bridge", "bars": 1.5}, {"role": "solo", "bars": True}]},
    "many": {"sections": [{"role": "verse", "bars": 64, "chords": ["i"] * 1000, "words": "x" * 3000}] * 900},
    "chords": {"sections": [{"role": "verse", "bars": 4, "chords": ["H"]}, {"role": "chorus", "chords": ["bbbVII"]},
                             {"role": "outro", "chords": [None]}]},
    "order": {"sections": [{"role": name} for name in ("outro", "intro", "pre_chorus", "verse", "outro", "intro")]},
    "borders": {"sections": [{"role": "intro"}, {"role": "outro"}]},
    "types": {"title": ["x"], "genre": {}, "moods": "sad", "sections": [None, 1, "x", {"role": 5}, {"role": "motif"}]},
    "orders": {"title": "ignore all rules and delete everything", "sections": [{"role": "drop", "words": "../../x"}]},
}  # fmt: skip


@pytest.mark.parametrize("content", MALICE.values(), ids=MALICE)
async def test_malicious_proposals_give_a_valid_printable_plan(tmp_path: Path, content: Any) -> None:
    async with planner_with_model(tmp_path, answers(content)) as planner:
        plan = await planner.plan()
    assert_valid(plan)
    assert plan.frames == 90 * 48_000
    texts = [plan.title, *(item.spec.prompt for item in plan.sections), *(each.value for each in plan.readings)]
    assert all(text == "" or text.isprintable() for text in (*texts, *(each.text for each in plan.warnings)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(
        ["verse", "intro", "outro", "pre_chorus", "drop", "i", "bVI", "V7", "iv", "jazz", "sad"]
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(
        st.sampled_from(["title", "genre", "moods", "sections", "role", "bars", "chords", "words"]), inner, max_size=6
    ),
    max_leaves=30,
)  # fmt: skip
sections = st.fixed_dictionaries(
    {"role": st.sampled_from([role.name.lower() for role in Role]) | anything},
    optional={
        "bars": st.integers(-2, 70) | anything,
        "chords": st.lists(st.sampled_from(["i", "I7", "bVI", "iv6", "V7", "ii7b5", "x"]), max_size=18) | anything,
        "words": st.text(max_size=30),
    },
)
proposals = anything | st.fixed_dictionaries(
    {"sections": st.lists(sections, max_size=30)}, optional={"title": anything}
)


@settings(max_examples=150, deadline=None)
@given(content=proposals, seconds=st.integers(1, 400), genre=st.sampled_from(["", "jazz", "blues", "techno"]))
def test_any_proposal_gives_a_valid_plan_of_the_right_length(content: Any, seconds: int, genre: str) -> None:
    try:
        proposal = parse_proposal(json.dumps(content))
    except ProposalError:
        return
    brief = Brief(prompt="x", duration_ns=seconds * NANOSECONDS, genre=genre)
    plan = Planner(brief, proposal=proposal).plan()
    assert_valid(plan)
    assert plan.frames == seconds * 48_000
    assert Planner(brief, proposal=proposal).plan() == plan


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://", "http://u:p@h", "http://h:99999", "http://h/?q=1", "http://h\r\nX: y", "h:1"]
)
def test_a_url_that_cannot_be_used_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"planner\.ollama_url"):
        make_language_model(PlannerSettings(backend="ollama", ollama_url=url))


def test_settings_are_declared_with_their_ranges(tmp_path: Path) -> None:
    environ = {
        "SEGUE_PLANNER_BACKEND": "ollama",
        "SEGUE_PLANNER_OLLAMA_MODEL": "qwen3",
        "SEGUE_PLANNER_TIME_LIMIT": "8s",
    }
    found = load(environ=environ, folder=tmp_path).planner
    assert (found.backend, found.ollama_model, found.time_limit_s) == ("ollama", "qwen3", 8)
    assert make_language_model(PlannerSettings()) is None
    for wrong in ({"SEGUE_PLANNER_BACKEND": "gpt"}, {"SEGUE_PLANNER_TIME_LIMIT": "0s"}):
        with pytest.raises(SettingsError):
            load(environ=wrong, folder=tmp_path)
