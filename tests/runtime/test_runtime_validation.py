"""Messages that break very many rules get a short answer."""

from __future__ import annotations

import pytest

from segue.planner.v1 import planner_pb2
from segue_runtime import errors
from segue_runtime.errors import to_status
from segue_runtime.rpc import validation


def refusal(message: planner_pb2.CreatePlanRequest) -> errors.SegueError:
    with pytest.raises(errors.InvalidField) as caught:
        validation.parse(planner_pb2.CreatePlanRequest.FromString, message.SerializeToString())
    sent = errors.from_status(to_status(caught.value, "request"))
    assert isinstance(sent, errors.InvalidField)
    return sent


def request(num_roles: int) -> planner_pb2.CreatePlanRequest:
    message = planner_pb2.CreatePlanRequest()
    message.brief.prompt = "jazz"
    message.brief.form.extend([99] * num_roles)  # type: ignore[list-item]  # no role has this number
    return message


@pytest.mark.timeout(10)
def test_of_a_megabyte_of_broken_rules_the_first_is_reported() -> None:
    error = refusal(request(900_000))
    assert [each.field for each in error.violations] == ["brief.form"]
    assert "256" in error.violations[0].description


def test_a_short_message_has_all_its_broken_rules_counted() -> None:
    error = refusal(request(200))
    assert len(error.violations) == 20
    assert error.metadata["violations"] == "200"
    assert "(and 199 more)" in error.message


def test_broken_rules_and_malformed_durations_are_reported_together() -> None:
    message = request(1)
    message.brief.duration.seconds, message.brief.duration.nanos = 30, 2_000_000_000
    assert {each.field for each in refusal(message).violations} == {"brief.form[0]", "brief.duration"}
