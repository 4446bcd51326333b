"""Text that others wrote is printed as it is: no markup, and no control character reaches the terminal."""

import io
import logging
import re
import sys
import warnings

import pytest
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lime_xai.command import app as commands
from lime_xai.command import screen
from lime_xai.decoding.trace import SteeringTrace, StepTrace
from lime_xai.evaluation.policies.acceptance import AcceptanceRow, acceptance_table
from lime_xai.printing import foreign, one_line, visible

EVIL = {
    "closing tag": ("[/]", "[/]"),
    "closing tag with a name": ("[/x]", "[/x]"),
    "opening tag": ("[bold red]", "[bold red]"),
    "link": ("[link=http://x]y", "[link=http://x]y"),
    "emoji": (":smile:", ":smile:"),
    "colour": ("\x1b[31mred", r"\x1b[31mred"),
    "title": ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    "c1": ("\x9b2J", r"\x9b2J"),
    "return": ("x\ry", r"x\x0dy"),
    "right to left": ("\u202eabc", r"\u202eabc"),
    "surrogate": ("\udcff", r"\udcff"),
}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
evil = pytest.mark.parametrize(("text", "shown"), EVIL.values(), ids=EVIL)


def printed(console_class, thing, **settings):
    console = console_class(file=io.StringIO(), width=200, **settings)
    console.print(thing)
    return console.file.getvalue()


@evil
def test_foreign_text_is_visible(text, shown):
    assert visible(text) == foreign(text).plain == shown
    assert one_line(f"{text}\n next") == f"{shown} next".replace(r"\x0d", " ")
    assert printed(Console, foreign(text)).strip() == shown


def test_ordinary_text_is_not_changed():
    for text in ("a\n\tb", "naïve 日本語 👍", "", "שלום"):
        assert visible(text) == text
    assert visible("a\r\nb") == "a\nb"


@evil
@pytest.mark.parametrize("kind", ["string", "text", "cell", "title", "header"])
def test_the_console_of_commands_prints_literally(text, shown, kind):
    table = Table(title=text if kind == "title" else None)
    table.add_column(text if kind == "header" else "a")
    table.add_row(text if kind == "cell" else "b" * 60)  # a title wraps at the width of its table
    thing = {"string": text, "text": Text(text)}.get(kind, table)
    found = printed(screen.LiteralConsole, thing)
    assert not CONTROL.search(found)
    if kind == "text":  # rich drops bell and carriage return when it makes a Text
        shown = shown.replace(r"\x07", "").replace(r"\x0d", "")
    assert shown in found


@evil
def test_tables_of_the_library_print_literally_on_any_console(text, shown):
    class Tokenizer:
        def decode(self, ids):
            return text

    trace = SteeringTrace([StepTrace(0, torch.tensor([1]), torch.tensor([2]))])
    rows = [AcceptanceRow(text, text, 0.5, 0.4, 0.6, "pass")]
    for table, times in ((trace.table(tokenizer=Tokenizer()), 2), (acceptance_table(text, rows), 3)):
        found = printed(Console, table)
        assert found.count(shown) == times
        assert not CONTROL.search(found)


WORDS = {"there": "[/]", "is": "[bold red]", "a": "\x1b[31mred\x1b]0;title\x07"}


def test_no_command_obeys_the_words_of_a_model(lime, picture, changed_model):
    folder = changed_model(name="[bold] \x1b[31m model", words=WORDS)
    prompt = ["--image", picture, "--prompt", "describe this picture"]
    runs = [
        ("steer", folder, *prompt, "--policy", "plausible", "--max-new-tokens", 4, "--trace", "--json", "r.json"),
        ("attribute", folder, *prompt, "--out", "[bold].png", "--save", "[x].safetensors"),
        ("audit", folder),
    ]
    for run in runs:
        result = lime(*run)
        assert result.exit_code == 0, result.output
        assert not CONTROL.search(result.output)
        if run[0] == "steer":
            assert r"plain: [/] [bold red] \x1b[31mred\x1b]0;title\x07" in result.stdout
        if run[0] == "attribute":
            assert "picture: [bold].png" in result.stdout
            assert "target '[/]'" in result.stdout


@evil
def test_no_error_obeys_what_it_names(refused, picture, text, shown):
    prompt = ["--image", picture, "--prompt", "d"]
    steer = ["steer", "scene", *prompt]
    runs = [
        (*steer, "--policy", text),
        (*steer, "--policy", f'{{"policy": "Edit", "{text}'),
        (*steer, "--device", text),
        (*steer, "--json", f"{text}/x.json"),
        ("steer", "scene", "--prompt", "d", "--image", f"{text}.png"),
        ("steer", f"./{text}", *prompt),
        ("attribute", "scene", *prompt, "--method", text),
        ("attribute", "scene", *prompt, "--out", f"x.{text}"),
        ("audit", f"./{text}"),
        ("world", "--policies", text),
        ("world", "--world", text),
        ("world", "--model", text),
        ("world", "accept", text),
        ("compare", "--methods", text),
        ("compare", "--methods", "attnlrp", "--model", text),
        ("demo", "--out", f"{text}/x.png"),
        ("demo", f"--{text}"),
    ]
    for run in runs:
        assert not CONTROL.search(refused(*run))


def test_warnings_and_logs_of_libraries_are_literal_inside_a_command(monkeypatch, lime):
    def body():
        warnings.simplefilter("always")
        warnings.warn("a [/] \x1b[31m warning", stacklevel=1)
        logging.getLogger("other").warning("a \x1b[31m record")
        raise ValueError("an [/x] \x1b[31m error\nof two lines")

    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger("other").addHandler(handler)
    monkeypatch.setattr(commands.TyperGroup, "main", lambda *args, **kwargs: body())
    result = lime("anything")
    logging.getLogger("other").removeHandler(handler)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        r"notice: a [/] \x1b[31m warning",
        r"error: an [/x] \x1b[31m error of two lines",
    ]
    assert handler.stream.getvalue().strip() == r"a \x1b[31m record"
    assert logging.getLogRecordFactory() is logging.LogRecord


def test_a_fault_of_the_library_has_its_own_status_and_a_traceback(monkeypatch, lime):
    def broken(*args, **kwargs):
        raise RuntimeError("[/] \x1b[31m")

    monkeypatch.setattr(commands.TyperGroup, "main", broken)
    result = lime("anything")
    assert result.exit_code == commands.INTERNAL == 70
    assert "Traceback" in result.stderr
    assert r"error: RuntimeError: [/] \x1b[31m (This is a fault" in result.stderr
    assert not CONTROL.search(result.output)


def test_characters_that_a_stream_cannot_encode_do_not_stop_a_command(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with screen.literal_output():
        screen.console.print("a ▒ map")
        stream.flush()
    assert stream.buffer.getvalue() == b"a ? map\n"
