import os

from support.fault_record import RECORD


def pytest_sessionfinish(session):
    """Under pytest-xdist, give the record of a worker to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = RECORD.plain()


class Merging:
    """Takes the records of workers."""

    def pytest_testnodedown(self, node, error):
        RECORD.merge(getattr(node, "workeroutput", {}).get("faults", []))


def pytest_configure(config):
    """Register what only pytest-xdist knows."""
    if config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(Merging())


def pytest_terminal_summary(terminalreporter):
    """Print how many faults were injected where, and write the record that ``LIME_FAULTS_RECORD`` names."""
    if not RECORD.total:
        return
    terminalreporter.section("injected faults")
    for line in RECORD.table():
        terminalreporter.line(line)
    path = os.environ.get("LIME_FAULTS_RECORD")
    if path:
        RECORD.write(path)
        terminalreporter.line(f"written: {path}")
