"""The checks of ``docs/_ext``: blocks of a page run alone and show something, equations need no network."""

import importlib.util
import io
import sys
from pathlib import Path

import pytest

EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"
sphinx = pytest.importorskip("sphinx.application", reason="needs sphinx: pip install -e .[docs]")
docutils = pytest.importorskip("sphinx.util.docutils")
pytest.importorskip("latex2mathml", reason="needs latex2mathml: pip install -e .[docs]")

BLOCK = ".. testcode::\n\n   {0}\n\n.. testoutput::\n\n   {1}\n"
PLAIN = ".. code-block:: python\n{0}\n   x = 1\n"


def build(folder, text, builder="html", setup=""):
    """Build a page of its own; return the application, what it warned and the page."""
    extensions = "import sys\nextensions = ['blocks_alone', 'mathml']\nhtml_math_renderer = 'mathml'\n"
    (folder / "conf.py").write_text(extensions + setup)
    (folder / "index.rst").write_text("Page\n====\n\n" + text)
    warnings = io.StringIO()
    with docutils.patch_docutils(folder), docutils.docutils_namespace():
        app = sphinx.Sphinx(folder, folder, folder / "out", folder / "trees", builder, status=None, warning=warnings)
        app.build()
    page = folder / "out" / "index.html"
    return app, warnings.getvalue(), page.read_text() if page.exists() else ""


@pytest.fixture(autouse=True)
def extensions(monkeypatch):
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    yield
    for name in ("blocks_alone", "mathml"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (".. testsetup::\n\n   x = 1\n", "readers do not see this block"),
        (".. testcleanup::\n\n   x = 1\n", "readers do not see this block"),
        (".. testcode::\n   :hide:\n\n   x = 1\n", "readers do not see this block"),
        (".. testcode::\n\n   x = 1\n", "shows nothing"),
        (".. testcode::\n\n   x = 1\n\nText between.\n\n.. testoutput::\n\n   1\n", "shows nothing"),
        ("Text.\n\n.. testoutput::\n\n   1\n", "behind no testcode"),
        (BLOCK.format("print(True, True)", "True True"), "holds only True"),
        (PLAIN.format(""), "is not run"),
        (PLAIN.format("   :caption: An example.\n"), "is not run"),
    ],
)
def test_a_block_that_breaks_the_rule_is_named(tmp_path, text, warning):
    assert warning in build(tmp_path, text)[1]


def test_a_setup_for_all_pages_is_named(tmp_path):
    assert "doctest_global_setup" in build(tmp_path, "Text.\n", setup="doctest_global_setup = 'x = 1'\n")[1]


@pytest.mark.parametrize(
    "text",
    [
        BLOCK.format("print(6 * 7)", "42"),
        PLAIN.format("   :caption: Not run here, because it needs a GPU.\n"),
        ">>> 6 * 7\n42\n",
        ".. code-block:: bash\n\n   ls\n",
    ],
)
def test_a_block_that_keeps_the_rule_passes(tmp_path, text):
    assert build(tmp_path, text)[1] == ""
    assert build(tmp_path, text, "doctest")[0].statuscode == 0


@pytest.mark.parametrize(
    "later",
    [
        BLOCK.format("print(x)", "1"),  # a name of an earlier block
        BLOCK.format("print(len(open('made').read()))", "1"),  # its file
        ">>> x\n1\n",
    ],
)
def test_a_block_has_nothing_of_an_earlier_one(tmp_path, later):
    earlier = BLOCK.format("x = 1; print(open('made', 'w').write('1'))", "1")
    app, warned, _ = build(tmp_path, earlier + "\n" + later, "doctest")
    assert app.statuscode == 1
    assert "NameError" in warned or "FileNotFoundError" in warned
    assert not (tmp_path / "made").exists()


def test_equations_are_mathml_without_scripts_of_a_network(tmp_path):
    _, warned, page = build(tmp_path, ":math:`\\log p_0`\n\n.. math:: \\frac{a}{b}\n")
    assert warned == ""
    assert "<mi>log</mi><mspace" in page
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in page
    assert 'src="http' not in page


def test_the_list_of_benchmarks_is_that_of_the_registry():
    """``python docs/benchmark_table.py`` writes it; the page on evaluation names each of them."""
    spec = importlib.util.spec_from_file_location("benchmark_table", EXTENSIONS.parent / "benchmark_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert module.written(page) == page
    guide = (EXTENSIONS.parent / "how-to" / "evaluate.md").read_text(encoding="utf-8")
    assert [name for name in module.PROTOCOLS if f"`{name}`" not in guide] == []


def test_an_unknown_command_in_an_equation_is_named(tmp_path):
    assert "latex2mathml does not know \\foo" in build(tmp_path, ":math:`\\foo x`\n")[1]
