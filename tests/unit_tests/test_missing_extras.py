"""What happens if a package of an extra is not installed: one short error that says what to install."""

from __future__ import annotations

import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from langchain_spec_thinking import ChatSpeculativeThinking, pocket
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.installing import require_modules
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGE = (
    "The pocket pair needs torch and transformers. Install the extra [huggingface]: `pip install '.[huggingface]'` in "
    "a clone, or `pip install 'FILE.whl[huggingface]'` with a wheel."
)


@pytest.fixture
def _no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python then takes the packages for missing ones, in every way of looking for them."""
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("_no_torch")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(ChatSpeculativeThinking.pocket, id="pair"),
        pytest.param(pocket.speculative, id="small"),
        pytest.param(pocket.target, id="large"),
    ],
)
def test_the_pocket_pair_gives_one_short_error(make: Callable[[], object]) -> None:
    with pytest.raises(ImportError) as caught:
        make()
    assert str(caught.value) == MESSAGE
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert sum(len(line.splitlines()) for line in traceback.format_exception(caught.value)) <= 20


@pytest.mark.usefixtures("_no_torch")
def test_a_pair_of_other_models_needs_no_extra() -> None:
    model = ChatSpeculativeThinking.pocket(speculative=ScriptedBackend("5"), target=ScriptedBackend("5"))
    assert model.invoke("2 + 3?").text == "5"


@pytest.mark.usefixtures("_no_torch")
@pytest.mark.parametrize("command", ["chat", "demo"])
def test_a_command_of_the_pocket_pair_prints_the_error(command: str) -> None:
    result = CliRunner().invoke(app, [command])
    assert (result.exit_code, " ".join(result.output.split())) == (1, MESSAGE)


@pytest.mark.usefixtures("_no_torch")
def test_an_evaluation_of_the_pocket_pair_prints_the_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--out", str(tmp_path)])
    assert (result.exit_code, " ".join(result.output.split())) == (1, MESSAGE)


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.module", "email.no_such_module"])
def test_a_module_of_a_package_that_others_bring_too_may_be_missing(name: str) -> None:
    with pytest.raises(ImportError, match=rf"A handler needs {name}\. Install the extra \[otel\]"):
        require_modules("A handler", "otel", name)


LISTED = """
import sys
from langchain_core.language_models import BaseChatModel
before = {name.partition(".")[0] for name in sys.modules}
import langchain_spec_thinking
print(*sorted(name for name in sys.modules if name.partition(".")[0] not in before | sys.stdlib_module_names))
"""
"""Prints the modules of all packages that the import of this package adds to what LangChain's chat models need."""
LATER = ("backends.local.model", "cli", "evaluation", "otel", "pocket")
"""Parts of this package that are imported only if they are used."""


def test_the_import_adds_no_other_package() -> None:
    """Modules are counted, because a time says nothing on a busy machine."""
    done = subprocess.run([sys.executable, "-c", LISTED], check=True, capture_output=True, text=True)  # noqa: S603
    added = done.stdout.split()
    assert {name.partition(".")[0] for name in added} == {"langchain_spec_thinking"}
    assert "langchain_spec_thinking.chat_models" in added
    assert [part for part in LATER if f"langchain_spec_thinking.{part}" in added] == []
