"""The default suite under every supported Python, transformers and zennit: ``nox``, or one of ``nox --list``.

Behind ``--`` follow arguments of pytest: ``nox -s "tests-3.13(transformers='newest', zennit='1.0.0')" -- tests/rules``.
Each environment takes 6 GB; with uv installed they share their files.
"""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

PYTHON = ("3.11", "3.12", "3.13")
TRANSFORMERS = {"5.17.0": "transformers==5.17.0", "newest": "transformers>=5.17,<6"}
ZENNIT = ("0.5.1", "1.0.0")
OLDEST_FOR_ZENNIT_1 = (3, 11, 11)


@nox.session(python=PYTHON)
@nox.parametrize("zennit", ZENNIT)
@nox.parametrize("transformers", list(TRANSFORMERS))
def tests(session: nox.Session, transformers: str, zennit: str) -> None:
    """Run pytest in an environment with these versions."""
    if zennit == "1.0.0" and _version(session) < OLDEST_FOR_ZENNIT_1:
        session.skip("zennit 1.0.0 needs Python 3.11.11")
    session.install("--upgrade", "-e", ".[test]", TRANSFORMERS[transformers], f"zennit=={zennit}")
    session.run("python", "-m", "pytest", *(session.posargs or ("-n", "2")))


def _version(session: nox.Session) -> tuple[int, ...]:
    """Return the version of the session's Python."""
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    found = session.run("python", "-c", code, silent=True)
    return tuple(int(part) for part in str(found).strip().split("."))
