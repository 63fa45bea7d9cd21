"""What people who work on this run: ``nox -s fast``, ``full``, ``coverage``, ``types``, ``docs``, ``figures``.

CI is ``.ci/run``.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["fast", "types"]
_ENDLESS = ("-n", "auto", "--dist=loadgroup")


@nox.session
def fast(session: nox.Session) -> None:
    """Tests of less than three seconds each, and the linters."""
    session.install("-e", ".[cpu,test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("pytest", "-m", "not slow", *_ENDLESS, *session.posargs)


@nox.session
def full(session: nox.Session) -> None:
    """All tests; those of torch and transformers with these installed."""
    session.install("-e", ".[cpu,test]", "torch", "onnxscript", "transformers", "onnxslim", "onnxsim", "polygraphy")
    session.run("pytest", *_ENDLESS, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines and branches the quick tests run, in all processes; ``htmlcov/index.html`` shows the others."""
    session.install("-e", ".[cpu,test]", "pytest-cov")
    how = ("--cov", "--cov-report=term:skip-covered", "--cov-report=html")
    session.run("pytest", "-m", "not slow", *_ENDLESS, *how, *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over everything."""
    session.install("-e", ".[cpu,test]")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, into build/site."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def figures(session: nox.Session) -> None:
    """One tool of tools/figures, by name: ``nox -s figures -- cifar_repair resnet56_jpeg``."""
    session.install("-e", ".[cpu,torch,report]")
    name, *words = session.posargs
    session.run("python", f"tools/figures/{name}.py", *words)
