"""``lime-xai conformance`` on a tiny model: its table, its exit status, and other people's text in it."""

import sys

import pytest
from rich.console import Console

from lime_xai.command import app as cli
from lime_xai.command import conformance as command
from lime_xai.evaluation.conformance import Conformance, Outcome


@pytest.fixture
def lime(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lime-xai", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_features_of_a_model_are_tried_and_counted(lime, untrained_folder):
    status, text = lime("conformance", untrained_folder, "--features", "attribute,attnlrp,policy contrast")
    assert status == 0
    assert "3 work, 0 refused, 0 failed" in text
    assert "policy contrast" in text


def test_a_failure_is_exit_status_1_and_its_text_is_no_markup(lime, untrained_folder, monkeypatch):
    from lime_xai.evaluation import conformance

    said = "a path [/tmp] and [bold]words[/bold]"
    found = Conformance({"attribute": Outcome("failed", said), "beams": Outcome("refused", "no [/x]")})
    monkeypatch.setattr(conformance, "check_conformance", lambda *args, **kwargs: found)
    status, text = lime("conformance", untrained_folder)
    assert status == 1
    assert "0 work, 1 refused, 1 failed" in text
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(command.conformance_table(found))
    assert said in console.export_text()


def test_an_unknown_feature_is_named(lime, untrained_folder):
    status, text = lime("conformance", untrained_folder, "--features", "beam")
    assert status == 2
    assert "Unknown feature 'beam'" in text
