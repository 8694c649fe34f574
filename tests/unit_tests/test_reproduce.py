"""The commands of the page about reproducing the paper run, here on stand-ins for models and data sets."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner

from langchain_spec_thinking.cli.commands import app
from tests.unit_tests.reproduce_models import PROMPT

PAGE = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")
HERE = "tests.unit_tests.reproduce_models"
STAND_INS = {"1.5B": f"{HERE}:small", "32B": f"{HERE}:large", "7B-Instruct": f"{HERE}:instructed"}
"""The stand-in for each model, by the end of its name."""
QUESTIONS = 3
DATA_SETS = f'''
"""A stand-in for the package `datasets`, whose questions are sums."""

COLUMNS = {{"HuggingFaceH4/MATH-500": "problem", "AI-MO/aimo-validation-aime": "problem", "math-ai/amc23": "question"}}


def load_dataset(name, config=None, *, split):
    for number in range({QUESTIONS}):
        question, answer = f"What is {{number}} + 1?", str(number + 1)
        if name == "Idavidrein/gpqa":
            wrong = {{f"Incorrect Answer {{place}}": f"{{number + 1 + place}}\\n" for place in (1, 2, 3)}}
            yield {{"Question": question, "Correct Answer": answer, **wrong}}
        else:
            yield {{COLUMNS[name]: question, "answer": answer}}
'''


def commands() -> list[list[str]]:
    """Return the arguments of each `spec-thinking` command of the page, as a shell expands them."""
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        variables = dict(re.findall(r"^(\w+)=(.*)$", block, re.MULTILINE))
        for names, line in re.findall(r"^for SET in (.*); do\n  spec-thinking (.*)\ndone$", block, re.MULTILINE):
            for name in names.split():
                values = {**variables, "SET": name}
                filled = re.sub(r"\$(\w+)", lambda match, values=values: values[match[1]], line)  # type: ignore[misc]
                found.append(shlex.split(filled))
    return found


def on_stand_ins(arguments: list[str]) -> list[str]:
    """Replace the models by their stand-ins."""
    replaced = [next((own for end, own in STAND_INS.items() if one.endswith(end)), one) for one in arguments]
    assert not any("127.0.0.1" in one for one in replaced)
    return replaced


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data sets that the script of the page writes."""
    folder = tmp_path_factory.mktemp("reproduce")
    (script,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (folder / "datasets.py").write_text(DATA_SETS, encoding="utf-8")
    (folder / "questions.py").write_text(script, encoding="utf-8")
    subprocess.run([sys.executable, "questions.py"], cwd=folder, check=True, timeout=120)
    (folder / "datasets.py").unlink()
    return folder


def test_the_page_has_a_command_for_each_data_set() -> None:
    outs = [arguments[arguments.index("--out") + 1] for arguments in commands()]
    assert outs == [f"reproduce/{name}" for name in ("math500", "aime", "gpqa", "amc23")] + [
        "reproduce/non-reasoning/math500"
    ]
    assert len(re.findall("^ *spec-thinking ", PAGE, re.MULTILINE)) == 2  # the loops that `commands` reads


def test_the_questions_have_the_prompt_of_the_paper(folder: Path) -> None:
    for name in ("math500", "aime", "gpqa", "amc23"):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        assert len(rows) == QUESTIONS
        assert all(row["question"].endswith(f"\n\n{PROMPT}") for row in rows)


@pytest.mark.parametrize("arguments", commands(), ids=lambda arguments: arguments[arguments.index("--out") + 1])
def test_a_command_of_the_page_runs(arguments: list[str], folder: Path) -> None:
    with chdir(folder):
        ran = CliRunner().invoke(app, on_stand_ins(arguments))
    assert ran.exit_code == 0, ran.output
    out = folder / arguments[arguments.index("--out") + 1]
    results = (out / "results.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (small|target|default|paper|gated) \| +([\d.]+)%", results, re.MULTILINE) == [
        ("small", "0.0"),
        ("target", "100.0"),
        ("default", "100.0"),
        ("paper", "100.0"),
        ("gated", "0.0"),  # the small model agrees with itself, and is wrong
    ]
