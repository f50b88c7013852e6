"""No job is lost and none has two results: killed and stopped bridges, several of them, and a restart of Redis."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.bridge.bridges import JOBS, RESULTS, wait_until
from tests.runtime.redis_server import PROGRAM

if TYPE_CHECKING:
    from tests.bridge.bridges import Bridge, Lists
    from tests.bridge.conftest import StartBridge
    from tests.runtime.redis_server import RedisServer

pytestmark = pytest.mark.reference(PROGRAM)


def jobs(count: int) -> list[dict[str, str]]:
    return [{"job_id": f"job-{number}", "file_path": "song.flac"} for number in range(count)]


def all_once(lists: Lists, count: int) -> None:
    """Wait for the results of `jobs(count)`: each once, and nothing is left behind."""
    wait_until(lambda: lists.client.llen(RESULTS) >= count)
    wait_until(lambda: set(lists.left()) == {RESULTS})
    found = Counter((result := lists.pop())["job_id"] + " " + result["status"] for _ in range(count))
    assert found == Counter(f"job-{number} completed" for number in range(count))
    assert not lists.left()


@pytest.mark.parametrize("place", ["bridge.before_result", "bridge.after_result"])
def test_a_killed_bridge_loses_and_repeats_nothing(start_bridge: StartBridge, lists: Lists, place: str) -> None:
    lists.push(*jobs(4))
    first = start_bridge(failpoints=f"{place}=kill*2")
    assert first.process.wait(60) == -signal.SIGKILL
    assert lists.client.llen(RESULTS) in {1, 2}
    start_bridge()
    all_once(lists, 4)


@pytest.mark.slow
def test_two_bridges_share_the_jobs_of_a_third_that_was_killed_at_work(start_bridge: StartBridge, lists: Lists) -> None:
    dying = start_bridge("--bridge-count", "3", failpoints="bridge.before_result=pause")
    lists.push(*jobs(8))
    wait_until(lambda: lists.left().get(JOBS) == 5)
    dying.kill()
    others = [start_bridge(), start_bridge()]
    all_once(lists, 8)
    ended = [sum(line["event"] == "a job ended" for line in each.logged()) for each in others]
    assert sum(ended) == 8


@pytest.mark.slow
def test_a_stopped_bridge_that_goes_on_pushes_no_second_result(start_bridge: StartBridge, lists: Lists) -> None:
    stopped = start_bridge("--bridge-count", "1", failpoints="bridge.before_result=sleep(5s)")
    lists.push(*jobs(3))
    wait_until(lambda: lists.left().get(JOBS, 0) <= 2)
    stopped.process.send_signal(signal.SIGSTOP)
    start_bridge()
    wait_until(lambda: lists.client.llen(RESULTS) == 3)
    stopped.process.send_signal(signal.SIGCONT)
    wait_until(lambda: any("another worker has the job" in line["event"] for line in stopped.logged()))
    all_once(lists, 3)


def test_sigterm_ends_the_jobs_in_work_and_leaves_the_others(start_bridge: StartBridge, lists: Lists) -> None:
    bridge = start_bridge("--bridge-count", "1", failpoints="bridge.before_result=sleep(1s)")
    lists.push(*jobs(3))
    wait_until(lambda: lists.left().get(JOBS, 0) <= 2)
    assert bridge.terminate() == 0
    left = lists.left()
    assert left.get(JOBS, 0) + left[RESULTS] == 3
    start_bridge()
    all_once(lists, 3)


def test_a_job_that_does_not_end_in_time_is_given_back(start_bridge: StartBridge, lists: Lists) -> None:
    bridge = start_bridge("--server-drain", "0.5s", failpoints="bridge.before_result=pause")
    lists.push(*jobs(1))
    wait_until(lambda: not lists.left().get(JOBS))
    assert bridge.terminate() == 0
    assert lists.left() == {JOBS: 1}
    assert not lists.client.exists(f"{JOBS}:losses")
    start_bridge()
    all_once(lists, 1)


def test_a_job_that_ends_every_worker_fails_at_last(start_bridge: StartBridge, lists: Lists) -> None:
    from segued.bridge.worker import MAX_LOSSES

    bridge = start_bridge(failpoints="bridge.before_result=pause")
    lists.push(*jobs(1))
    wait_until(lambda: not lists.left().get(JOBS))
    lists.client.hincrby(f"{JOBS}:losses", _digest_of_the_held_job(lists), MAX_LOSSES - 1)
    bridge.kill()
    start_bridge()
    result = lists.pop()
    assert (result["job_id"], result["status"]) == ("job-0", "failed")
    assert f"lost {MAX_LOSSES} times" in result["error"]
    wait_until(lambda: not lists.client.exists(f"{JOBS}:losses"))


def _digest_of_the_held_job(lists: Lists) -> str:
    import hashlib

    (name,) = lists.client.keys(f"{JOBS}:processing:*")
    return hashlib.sha1(lists.client.lrange(name, 0, -1)[0], usedforsecurity=False).hexdigest()


def test_a_restart_of_redis_loses_and_repeats_nothing(
    start_bridge: StartBridge, lists: Lists, redis_server: RedisServer
) -> None:
    first = start_bridge("--bridge-count", "1", failpoints="bridge.before_result=sleep(300ms)")
    second = start_bridge("--bridge-count", "1", failpoints="bridge.before_result=sleep(300ms)")
    lists.push(*jobs(6))
    wait_until(lambda: lists.client.llen(RESULTS) >= 1)
    redis_server.kill()
    for bridge in (first, second):
        wait_until(partial(_has_noticed, bridge))  # it takes a job, or has a result
    redis_server.start()
    all_once(lists, 6)


def _has_noticed(bridge: Bridge) -> bool:
    notices = ("Redis does not answer, or refuses", "a result cannot be pushed yet")
    return any(line["event"] in notices for line in bridge.logged())


@pytest.mark.slow
def test_jobs_wait_while_the_service_is_away(start_bridge: StartBridge, lists: Lists, server: object) -> None:
    from tests.mesh.harness import Segued

    assert isinstance(server, Segued)
    start_bridge()
    server.kill()
    lists.push(*jobs(2))
    wait_until(lambda: not lists.left().get(JOBS))
    assert not lists.client.llen(RESULTS)
    server.start()
    all_once(lists, 2)
