import os

import pytest
from support.fault_record import RECORD


def pytest_sessionfinish(session):
    """Under pytest-xdist, give the record of a worker to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = RECORD.plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take the record of a worker."""
    RECORD.merge(getattr(node, "workeroutput", {}).get("faults", []))


def pytest_terminal_summary(terminalreporter, config):
    """Print how many faults were injected where, and write the record that ``LIME_FAULTS_RECORD`` names."""
    if not RECORD.total or hasattr(config, "workerinput"):
        return
    terminalreporter.section("injected faults")
    for line in RECORD.table():
        terminalreporter.line(line)
    path = os.environ.get("LIME_FAULTS_RECORD")
    if path:
        RECORD.write(path)
        terminalreporter.line(f"written: {path}")
