"""The architecture page and the code agree; the layout keeps its rules."""

import ast
import re
from pathlib import Path

import pytest

import lime_xai

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
STATEMENTS = re.findall(r"^\| (.+) \| `([\w/]+\.py)` \| `([\w.]+)` \|$", PAGE, flags=re.M)
PACKAGES = sorted(path.parent.name for path in (ROOT / "lime_xai").glob("*/__init__.py"))
MODULES = sorted(path for folder in ("lime_xai", "rules") for path in (ROOT / folder).rglob("*.py"))


def names_of(path):
    """Functions, classes and methods of a module, dotted."""
    found = set()

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                visit(child, f"{prefix}{child.name}.")

    visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


def test_there_are_twenty_statements():
    assert len(STATEMENTS) >= 20
    table = PAGE.split("| statement |", 1)[-1].split("\n\n", 1)[0].splitlines()
    assert len(table) - 2 == len(STATEMENTS), "a row of the table is malformed"


@pytest.mark.parametrize(("statement", "file", "name"), STATEMENTS)
def test_a_statement_names_what_exists(statement, file, name):
    assert name in names_of(ROOT / file)


def test_every_package_is_on_the_page():
    assert PACKAGES
    for package in PACKAGES:
        assert f"`lime_xai.{package}`" in PAGE


def test_files_on_the_page_exist():
    for file in re.findall(r"`((?:\w+/)+\w+\.(?:py|pyi))`", PAGE):
        assert any((ROOT / base / file).exists() for base in ("", "lime_xai", "rules")), file


def test_the_root_holds_packages_and_no_modules_but_four():
    found = {path.name for path in (ROOT / "lime_xai").glob("*.py")}
    assert found == {"__init__.py", "__main__.py", "errors.py", "printing.py"}


def test_no_public_name_hides_a_module_or_package_of_the_root():
    modules = {path.stem for path in (ROOT / "lime_xai").iterdir()}
    assert not modules & set(lime_xai.__all__)


def test_every_public_name_is_there_and_documented():
    for name in lime_xai.__all__:
        assert getattr(lime_xai, name).__doc__, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_fit(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno - docstring <= 70, node.name


def test_files_of_tests_have_names_of_their_own():
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    twice = [path.name for path in paths if sum(other.name == path.name for other in paths) > 1]
    assert not twice, f"pytest collects one file of a name only: {sorted(set(twice))}"
