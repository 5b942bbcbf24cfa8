"""The UI's address and its refusals; that it serves is shown in test_front_in_browser.py."""

from __future__ import annotations

import socket

import pytest

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.server import front_link, ui
from dualsweep.analysis.trials import SweepRecord

RECORD = SweepRecord("7", "s", "abc", {"objective": "minimize"})


def test_the_link_to_the_front() -> None:
    assert (
        front_link("http://host:1/", RECORD)
        == "http://host:1/#/experiments/7/runs/abc/artifacts/front.html?workflowType=machine_learning"
    )


def test_an_http_store_is_its_own_ui() -> None:
    with ui("https://mlflow.example.org/team/") as server:
        assert server.process is None and server.base_url == "https://mlflow.example.org/team"


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ReviewError, match=r"port must be free, but got \d+"):
            ui("sqlite:///mlflow.db", port=taken.getsockname()[1])


def test_only_loopback() -> None:
    with pytest.raises(ReviewError, match=r"but got '0\.0\.0\.0'"):
        ui("sqlite:///mlflow.db", host="0.0.0.0")


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ReviewError, match="must answer within") as caught:
        ui("nosuchdialect://x/y", port=port, timeout=120)
    assert "nosuchdialect" in str(caught.value)
