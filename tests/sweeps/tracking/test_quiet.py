"""A database that restarts costs no point and prints no traceback; a full disk of our own is not called MLflow's fault."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from dualsweep.sweeps.tracking.delivery import Delivery
from dualsweep.sweeps.tracking.ledger import Ledger
from dualsweep.sweeps.tracking.spool import FOLDER, Spool
from dualsweep.sweeps.tracking.wire import is_refusal
from tests.stores import empty_store

ROOT = Path(__file__).parent.parent.parent.parent
#: A store whose metrics have no values, as in a database that is being restored, and a pool whose connection broke.
AWAY = """
import sys
from pathlib import Path
import sqlalchemy
from dualsweep.sweeps.tracking.delivery import Delivery
from dualsweep.sweeps.tracking.ledger import Ledger
from dualsweep.trainer.config.wording import first_line
uri, folder = sys.argv[1], Path(sys.argv[2])
try:
    Delivery(uri, Ledger.open(folder, uri, "faces"), folder / "spool", print).deliver()
except Exception as error:
    print("raised", first_line(error))
class Broken:
    def rollback(self): raise sqlalchemy.exc.OperationalError("", {}, Exception("server closed the connection"))
    def close(self): pass
pool = sqlalchemy.pool.QueuePool(Broken)
pool.connect().close()
"""


def spooled(folder: Path, points: int) -> Spool:
    spool = Spool(folder / FOLDER / "sweep.jsonl")
    for step in range(points):
        spool.point(step, {"objective": float(step)})
    return spool


def test_a_database_that_is_away_is_raised_in_one_line_and_gets_all_when_it_is_back(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    spooled(tmp_path, 10)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE metrics RENAME COLUMN value TO away")
    done = subprocess.run([sys.executable, "-c", AWAY, uri, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("raised (sqlite3.OperationalError)") and len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE metrics RENAME COLUMN away TO value")
    delivery = Delivery(uri, Ledger.open(tmp_path, uri, "faces"), tmp_path / FOLDER, pytest.fail)
    delivery.deliver()
    history = MlflowClient(uri).get_metric_history(str(delivery.ledger.entry("sweep").run_id), "objective")
    assert [each.step for each in history] == list(range(10))


@pytest.mark.parametrize(
    ("said", "code", "refused"),
    [
        ("(psycopg2.InterfaceError) connection already closed", BAD_REQUEST, False),
        ("(psycopg2.InternalError) current transaction is aborted", BAD_REQUEST, False),
        ("QueuePool limit of size 5 overflow 10 reached, connection timed out", BAD_REQUEST, False),
        ("(pymysql.err.DataError) (1406, Data too long for column 'connection')", BAD_REQUEST, True),
        ("Invalid value for parameter", INVALID_PARAMETER_VALUE, True),
        ("no server", TEMPORARILY_UNAVAILABLE, False),
    ],
)
def test_a_request_is_refused_for_good_only_where_it_is_at_fault_itself(said: str, code: int, refused: bool) -> None:
    assert is_refusal(MlflowException(said, code)) is refused


def test_a_ledger_without_room_is_told_once_as_what_it_is_and_points_arrive(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    told: list[str] = []
    delivery = Delivery(uri, Ledger.open(tmp_path, uri, "faces"), tmp_path / FOLDER, told.append)
    delivery.ledger.path = Path("/dev/full")
    spooled(tmp_path, 10)
    delivery.deliver()
    assert told == ["/dev/full cannot be written (No space left on device); MLflow goes on getting points all the same"]
    assert delivery.has_all()
