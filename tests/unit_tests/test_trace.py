"""Tests of the trace of a turn and of its HTML page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from rich.console import Console
from typer.testing import CliRunner

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, Trace, recording
from langchain_spec_thinking.callbacks import drive_with_callbacks
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.view import takeovers_table
from langchain_spec_thinking.evaluation import Variant, evaluate
from langchain_spec_thinking.evaluation.questions import Question
from langchain_spec_thinking.report import AuthorUsage, Dropped, Report, Segment
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.viewing.takeovers import takeovers_of
from tests.unit_tests.test_chat_models import TEXTS, merged, pair, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIL = '</span><script>alert("x")</script>&amp;<img src=x onerror=y>'
VOID = {"meta", "line", "img", "br"}


class Reader(HTMLParser):
    """A parser that reads a page like a browser: it knows the open elements and the place of each text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag not in VOID:
            self._open.append((tag, given.get("class") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.append((self._open[-1][1], data))

    def text(self, kind: str) -> str:
        return "".join(text for where, text in self.texts if where == kind)


def full_trace() -> Trace:
    """Return a trace with everything that a page can show. Its texts are malicious HTML."""
    segments = [
        Segment("speculative", "thinking", "draft", 0, 4, 2, None, 0.5),
        Segment("inserted", "thinking", "excessive_reflection", 4, 9),
        Segment("target", "thinking", "excessive_reflection", 9, 9 + len(EVIL), 7, EVIL, 1.5),
        Segment("speculative", "answer", "answer", 0, len(EVIL), 4, None, 0.25),
        Segment("speculative", "answer", "answer", len(EVIL), len(EVIL), 9, None, 0.25),
    ]
    dropped = [Dropped("speculative", "thinking", 4, EVIL, 3), Dropped("target", "thinking", 9 + len(EVIL), "half", 1)]
    usage = {"speculative": AuthorUsage(2, 10, 5, 9, 3), "target": AuthorUsage(1, 10, 5, 8, 1)}
    report = Report(segments=segments, dropped=dropped, usage=usage, degraded=[EVIL])  # type: ignore[arg-type]
    calls = (ToolCall("1", EVIL, EVIL),)
    return Trace("One.Hold!" + EVIL, EVIL, report, EVIL, f"{EVIL} + /home/me/large", "stop", calls)


HTML = st.lists(
    st.sampled_from([*"<>&\"'= /!-\n", "a", "x", EVIL, "\ud800", "\x00", "]]>", "<!--", "</style>"]), max_size=6
).map("".join)
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "body",
        "style",
        "article",
        "header",
        "h1",
        "h2",
        "p",
        "strong",
        "b",
        "div",
        "pre",
    ),
    *("section", "svg", "text", "line", "rect", "a", "ul", "li", "span", "small", "code", "details"),
    *("summary", "table", "tr", "th", "td"),
}
OWN_ATTRIBUTES = {
    *("lang", "charset", "name", "content", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "rx", "role", "href"),
    *("aria-label", "tabindex", "class", "id", "title"),
}


class Numbers(int):
    """A number that shows HTML, like a text in a file in place of a number."""

    def __str__(self) -> str:
        return EVIL

    def __format__(self, _: str) -> str:
        return EVIL


@given(texts=st.lists(HTML, min_size=8, max_size=8), seconds=st.floats(0, 10))
def test_nothing_in_a_turn_becomes_markup(texts: list[str], seconds: float) -> None:
    author, kind, cue, text, question, model, call, degraded = texts
    odd: Any = {"author": author, "kind": kind}
    segments = [
        Segment(**odd, channel="thinking", start=0, end=2, tokens=Numbers(3), cue=cue, seconds=seconds),
        Segment("target", "answer", odd["kind"], 0, len(text), Numbers(3), cue, seconds),
    ]
    dropped = [
        Dropped(odd["author"], "thinking", 0, text, Numbers(1)),
        Dropped("target", "answer", 0, text, Numbers(2)),
    ]
    usage: Any = {author: AuthorUsage(*[Numbers(1)] * 5), "target": AuthorUsage()}
    report = Report(segments=segments, dropped=dropped, usage=usage, degraded=[degraded])
    page = Reader(Trace(text, text, report, question, model, "stop", (ToolCall(call, call, call),)).html())
    assert set(page.tags) <= ALLOWED
    assert {name for name, _ in page.attributes} <= OWN_ATTRIBUTES
    assert all(value is not None and value.startswith("#run-") for name, value in page.attributes if name == "href")


JSON_VALUES = st.one_of(
    *(
        HTML,
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.just(EVIL),
        st.just(10**4000),
        st.just(float("nan")),
    ),
    *(st.lists(HTML, max_size=2), st.dictionaries(HTML, HTML, max_size=2)),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value, as the dict or list and the key in it."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


@given(data=st.data(), value=JSON_VALUES)
def test_a_changed_file_is_refused_or_shown_safely(data: st.DataObject, value: Any, tmp_path_factory: Any) -> None:
    """One value anywhere in the file is replaced, or one key."""
    file = tmp_path_factory.mktemp("changed") / "run.json"
    full_trace().save(file)
    content = json.loads(file.read_text(encoding="utf-8"))
    place, key = data.draw(st.sampled_from(list(places(content))))
    if isinstance(place, dict) and isinstance(value, str) and data.draw(st.booleans()):
        place[value] = place.pop(key)
    else:
        place[key] = value
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        trace = Trace.load(file)
    except ValueError as error:
        assert str(error).startswith(f"{file}: expected a file written by Trace.save")  # noqa: PT017 - or it is shown
        return
    page = Reader(trace.html())
    assert set(page.tags) <= ALLOWED
    assert {name for name, _ in page.attributes} <= OWN_ATTRIBUTES
    result = CliRunner().invoke(app, ["show", str(file)])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output


def test_a_saved_turn_does_not_control_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    replace(full_trace(), question="\x1b]0;x\x07[/bold]\x9b2J!", answer="\x1b[2J" + EVIL[4:]).save(file)
    file.write_text(file.read_text(encoding="utf-8").replace("2J!", "2J\\ud800"), encoding="utf-8")
    result = CliRunner().invoke(app, ["show", str(file)])
    assert (result.exit_code, "\x1b" in result.output, "\x9b" in result.output) == (0, False, False)
    assert "]0;x[/bold]2J\ufffd" in result.output


def test_a_file_holds_the_whole_turn(tmp_path: Path) -> None:
    trace = full_trace()
    trace.save(tmp_path / "run.json")
    loaded = Trace.load(tmp_path / "run.json")
    assert loaded.report.as_dict() == trace.report.as_dict()
    assert loaded.html() == trace.html()
    assert (loaded.calls, loaded.finish_reason) == (trace.calls, "stop")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "speculative_thinking": {}}'])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.json: expected a file written by Trace\.save"):
        Trace.load(file)


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("make", [pair, plain])
def test_a_message_and_its_run_give_the_same_trace(make: Any, output_version: str) -> None:
    model = make(output_version=output_version)
    messages = [model.invoke("2 + 3?"), merged(model.stream("2 + 3?"))]
    run = model.new_run([HumanMessage("2 + 3?")])
    assert list(drive_with_callbacks(run, None))
    traces = [*(Trace.of(message, "2 + 3?") for message in messages), Trace.of_run(run, model.model_name)]
    for trace in traces:
        assert "".join(text for _, text in trace.pieces("answer")) == trace.answer
        for segment in trace.report.segments:
            segment.seconds = 0.0
    assert len({trace.html() for trace in traces}) == 1
    assert traces[0].thinking == run.turn.thinking


def test_a_message_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"only the keys \['model_name'\]"):
        Trace.of(AIMessage("x", response_metadata={"model_name": "m"}))


def test_tool_calls_are_kept() -> None:
    call = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'
    tool = {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {}}}
    message = plain(call).bind_tools([tool]).invoke("x")
    trace = Trace.of(message)
    assert [(made.name, json.loads(made.arguments)) for made in trace.calls] == [("add", {"a": 2})]
    assert "add({" in Reader(trace.html()).text("")


@given(TEXTS, TEXTS)
def test_dropped_drafts_are_at_their_places(written: str, taken_over: str) -> None:
    models = ScriptedBackend(written, thinks=True), ScriptedBackend(taken_over)
    policy = DelegationPolicy(takeover_tokens=4, reflection_limit=1)
    model = ChatSpeculativeThinking(speculative=models[0], target=models[1], policy=policy, max_tokens=60)
    run = model.new_run([HumanMessage("x")])
    list(drive_with_callbacks(run, None))
    trace = Trace.of_run(run, "m")
    pieces = [*trace.pieces("thinking"), *trace.pieces("answer")]
    assert sum(isinstance(piece, Dropped) for piece, _ in pieces) == len(run.report.dropped)
    for channel, text in {"thinking": trace.thinking, "answer": trace.answer}.items():
        shown = ""
        for piece, words in trace.pieces(channel):  # type: ignore[arg-type]
            if isinstance(piece, Segment):
                shown += words
            else:
                assert piece.at == len(shown)
        assert shown == text
    Reader(trace.html())


def test_the_page_escapes_the_text_of_models() -> None:
    page = Reader(full_trace().html())
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert {name for name, _ in page.attributes} & {"src", "onerror", "style"} == set()
    assert page.text("spec-speculative").startswith("speculativeOne.")
    assert EVIL in page.text("spec-target")
    assert EVIL in page.text("spec-tip")
    assert "Hold!" in page.text("spec-inserted")


def test_the_page_loads_no_other_files() -> None:
    page = full_trace().html()
    assert not re.search(r"https?:|url\(|@import|//", page.replace("</", ""))


def test_bars_link_to_segments_and_drafts_are_reachable_by_keyboard() -> None:
    page = Reader(full_trace().html())
    links = [value for name, value in page.attributes if name == "href"]
    assert links == [f"#{name}" for name in page.ids]
    assert len(links) == len(full_trace().report.segments)
    assert page.attributes.count(("tabindex", "0")) == len(full_trace().report.dropped)


def test_the_page_hides_folder_paths() -> None:
    assert "/home/me" not in full_trace().html()
    assert "large" in Reader(full_trace().html()).text("spec-models")


def test_two_runs_in_a_notebook_do_not_share_ids() -> None:
    pages = [Reader(Trace.of(model.invoke("x"))._repr_html_()) for model in (pair(), plain())]
    assert not set(pages[0].ids) & set(pages[1].ids)
    assert "html" not in pages[0].tags


def test_the_styles_of_a_host_page_cannot_win() -> None:
    """Hosts style lists of definitions and tables by their names, and they may use any class."""
    page = Reader(full_trace()._repr_html_())
    classes = {name for key, value in page.attributes if key == "class" for name in (value or "").split()}
    assert {name for name in classes if not name.startswith("spec-")} == set()
    assert not {"dl", "dt", "dd"} & set(page.tags)
    styles = re.sub(r"/\*.*?\*/", "", page.text(""), flags=re.DOTALL)
    outer = re.findall(r"^[.:][^{}]*?(?=\s*\{)", styles, re.MULTILINE)
    assert len(outer) >= 5
    assert [rule for rule in outer if ".spec-thinking:not(#_#_)" not in rule and rule != ".spec-thinking-page"] == []
    assert styles.index("all: initial") < styles.index("all: revert") < styles.index("--ground:")
    assert not re.search(r"\d(rem|vh)\b|!important", styles)  # a host sets the size of the root


def test_each_class_has_a_style_and_each_style_a_class() -> None:
    page = Reader(full_trace().html())
    classes = {name for key, value in page.attributes if key == "class" for name in (value or "").split()}
    assert set(re.findall(r"\.(spec-[a-z-]+)", page.text(""))) == classes


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=6))
def test_the_timeline_stays_within_its_axis(seconds: list[float]) -> None:
    segments = [
        Segment("speculative", "answer", "draft", at, at + 1, 1, None, second) for at, second in enumerate(seconds)
    ]
    page = Reader(Trace("", "x" * len(seconds), Report(segments=segments)).html())
    places = [
        float(value.removesuffix("%")) for name, value in page.attributes if name == "x" and value and "%" in value
    ]
    assert all(0 <= place <= 100 for place in places)
    assert len(places) <= 12 + len(seconds)


def test_show_prints_a_run_or_writes_a_page(tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "run.json", tmp_path / "page.html"
    Trace.of(pair().invoke("2 + 3?"), "2 + 3?").save(file)
    shown = CliRunner().invoke(app, ["show", str(file)])
    assert shown.exit_code == 0
    for expected in ("2 + 3?", "1 takeovers", "(wait)", "All takeovers (1)", "dropped draft"):
        assert expected in shown.output
    assert "[target] Hm, two and three make five indeed. [speculative] So it is 5." in shown.output
    assert "[speculative] It is 5" in shown.output
    for arguments, page in (["--html"], file.with_suffix(".html")), (["--html", str(elsewhere)], elsewhere):
        drawn = CliRunner().invoke(app, ["show", str(file), *arguments])
        assert (drawn.exit_code, drawn.output.replace("\n", "")) == (0, str(page))
        assert page.read_text(encoding="utf-8") == Trace.load(file).html()


def test_show_prints_every_takeover_with_the_draft_that_it_replaced() -> None:
    trace = full_trace()
    printed = StringIO()
    Console(file=printed, width=300).print(takeovers_table(trace))
    rows = printed.getvalue()
    [row] = [line.split("│")[1:-1] for line in rows.splitlines() if "thinking" in line]
    [takeover] = takeovers_of(trace.pieces("thinking"))
    assert takeover.draft == EVIL
    assert [cell.strip() for cell in row] == [
        f"thinking 9 to {9 + len(EVIL)}",
        f"excessive_reflection ({EVIL})",
        EVIL,
        EVIL,
        "7",
    ]


def test_show_prints_no_table_of_no_takeovers(tmp_path: Path) -> None:
    Trace.of(plain().invoke("x")).save(tmp_path / "run.json")
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "run.json")])
    assert shown.exit_code == 0
    assert "takeovers (" not in shown.output


def test_loading_a_trace_says_what_reads_a_file_of_records(tmp_path: Path) -> None:
    with recording(tmp_path / "records.jsonl"):
        pair().invoke("2 + 3?")
    with pytest.raises(
        ValueError, match=r"records\.jsonl: expected a file written by .*\.read_records reads such a file"
    ):
        Trace.load(tmp_path / "records.jsonl")


def test_show_says_what_reads_the_runs_of_an_evaluation(tmp_path: Path) -> None:
    evaluate([Question("1", "2 + 3?", "5")], [Variant("pair", pair())], tmp_path, check="exact")
    with pytest.raises(ValueError, match=r"runs\.jsonl: .*got the runs of .*calibrate sweep --runs. read such a file"):
        Trace.load(tmp_path / "runs.jsonl")


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_show_says_what_is_wrong_in_a_line(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(tmp_path / name)])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
