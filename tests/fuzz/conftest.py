"""The table of outcomes at the end of a run, also over several processes."""

import os

from .campaign import table, write


def pytest_terminal_summary(terminalreporter):
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    found = [value for one in reports for name, value in one.user_properties if name == "fuzz"]
    if not found:
        return
    outcomes = [pair for part in found for pair in part["outcomes"]]
    terminalreporter.section("outcomes of random calls")
    for line in table(outcomes):
        terminalreporter.write_line(line)
    path = os.environ.get("LIME_FUZZ_RECORD")
    if path:
        write(path, outcomes, found[0]["seed"])
        terminalreporter.write_line(f"written to {path}")
