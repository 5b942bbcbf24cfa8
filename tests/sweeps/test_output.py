"""What is printed can't fail, eats nothing, and shows no secret."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TextIO, cast

import IPython.display
import pytest
from rich.table import Table

from dualsweep.sweeps.options import refused_by_the_machine, write_json
from dualsweep.sweeps.output import Screen, Tolerant
from tests.sweeps.here import dualsweep_here
from tests.test_runs_of_0_1 import unpack

ROOT = Path(__file__).parent.parent.parent


def written(text: str, encoding: str) -> str:
    raw = io.BytesIO()
    stream = Tolerant(io.TextIOWrapper(raw, encoding))
    stream.write(text)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "koi8-r", "shift_jis", "utf-8", "utf-16"])
def test_every_encoding_takes_every_text(encoding: str) -> None:
    text = "λ ≤ 0.1 ± 0.02 → “é” 漢字 😀 \ud800"
    output = written(text, encoding) if encoding != "utf-8" else written(text[:-1], encoding)
    assert "0.1" in output and "0.02" in output
    if encoding in ("ascii", "latin-1"):
        assert output.startswith("lambda <= 0.1 " + ("+-" if encoding == "ascii" else "±") + " 0.02 -> ")
    if encoding == "utf-8":
        assert output == text[:-1]


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_stream_that_takes_no_more_is_left_alone() -> None:
    stream = Tolerant(cast("TextIO", Broken()))
    assert stream.write("x") == 1
    stream.flush()
    closed = io.StringIO()
    closed.close()
    print("x", file=cast("TextIO", Tolerant(closed)), flush=True)


def test_messages_are_no_markup_and_secrets_stay_secret(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    text = "f(x) takes [batch] and [/red] of [bold]shape[/bold] :smile: [link=x]"
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    screen.print(text, soft_wrap=True)
    screen.print(table, soft_wrap=True, width=200)
    screen.print("at postgresql://me:se@cret/x@h/m and https://TOKEN@h", soft_wrap=True)
    found = capsys.readouterr().out
    assert found.count(text) == 4 and "at postgresql://me:***@h/m and https://***@h" in found


def test_no_secret_is_in_a_json_file(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"jobs": [{"entrypoint": "sweep f.yaml --output sftp://me:pw-of-mine@host/run"}], "of": (1,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "jobs": [{"entrypoint": "sweep f.yaml --output sftp://***@host/run"}], "of": [1],
    }  # fmt: skip


def test_a_notebook_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """There Rich hands what is printed to IPython, and nothing to the stream."""
    shown = list[str]()
    monkeypatch.setattr(IPython.display, "display", lambda each: shown.extend(each._repr_mimebundle_([], []).values()))
    screen = Screen()
    screen.is_jupyter = True
    screen.print("output: sftp://me:se@cret@nas/x", soft_wrap=True)
    assert len(shown) == 2 and all("output: sftp://***@nas/x" in each for each in shown)


@pytest.mark.parametrize(
    ("number", "words"), [(28, "No space left on device: /x/y"), (30, "Read-only file system: /x/y"), (2, "")]
)
def test_what_the_machine_refuses_is_one_line(number: int, words: str) -> None:
    import os

    assert refused_by_the_machine(OSError(number, os.strerror(number), "/x/y")) == words


def test_a_json_file_on_a_full_disk_is_told_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_json(file, {"a": 1})
    assert refused_by_the_machine(caught.value) == f"No space left on device: {file}"
    write_json(tmp_path / "good.json", {"a": float("nan")})
    assert json.loads((tmp_path / "good.json").read_text()) == {"a": None}


@pytest.mark.parametrize("encoding", ["ascii"])
def test_a_command_ends_the_same_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "r.yaml").write_text("name: λ≤\nformulation: [batch]\n", encoding="utf-8")
    command = [sys.executable, "-m", "dualsweep", "check", str(tmp_path / "r.yaml")]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    told = done.stderr.decode(encoding)
    assert done.returncode == 2 and "Traceback" not in told and "r.yaml:1: name:" in told and "['batch']" in told


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and a sweep that have ended, so that the same commands print their ends and train nothing."""
    return unpack(tmp_path_factory.mktemp("ended"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "command", [["explain", "runs/tiny"], ["train", "recipe.yaml", "--json"], ["sweep", "sweep.yaml", "--json"]], ids=" ".join
)
def test_the_end_of_a_run_is_printed_and_written_in_any_encoding(command: list[str], encoding: str, ended: Path) -> None:
    """With replacements for what the encoding lacks, and with the exit code and JSON file of one that lacks nothing."""
    done, whole = (
        dualsweep_here(*command, *([f"{each}.json"] if "--json" in command else []), folder=ended, encoding=each)
        for each in (encoding, "utf-8")
    )
    assert done.returncode == whole.returncode == 0, done.stderr
    assert not whole.stdout.isascii() and "slack" in whole.stdout + "slack" * (command[0] == "sweep")
    assert "+-" in done.stdout if encoding == "ascii" else "±" in done.stdout
    if "--json" in command:
        assert (ended / f"{encoding}.json").read_bytes() == (ended / "utf-8.json").read_bytes()


def test_a_disk_that_takes_no_more_of_what_is_printed_is_told() -> None:
    code = "from dualsweep.sweeps.output import tolerate; tolerate(); print('x' * 9999); print('y')"
    for arguments in (["-m", "dualsweep", "--help"], ["-c", code]):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, *arguments]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
        told = "dualsweep: not all that was to be printed could be: No space left on device\n"
        assert (done.returncode, done.stderr) == (0, told)


def test_a_closed_pipe_ends_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from dualsweep.sweeps.output import tolerate; tolerate()\n"
        "for i in range(20000): print(i)\n"
        "open(sys.argv[1], 'w').write('done')"
    )
    command = f'set -o pipefail; {sys.executable} -c "$CODE" {tmp_path}/end | head -1'
    environment = {"CODE": code, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, check=False, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "") and (tmp_path / "end").read_text() == "done"


@pytest.mark.parametrize(
    "attack", ["\x1b]0;title\x07", "\x1b[2J", "\x1b]52;c;eA==\x07", "\x9b31m", "\r\x1b[1A", "\u202e", "\x08"]
)
def test_no_text_commands_the_terminal(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    table = Table(f"head {attack}")
    table.add_row(f"cell {attack}")
    for each in (f"plain {attack} end", table):
        Screen().print(each, soft_wrap=True)
    output = stream.getvalue()
    assert "plain" in output and "cell" in output
    assert all(line.isprintable() for line in output.split("\n"))
