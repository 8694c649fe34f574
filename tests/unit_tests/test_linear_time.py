"""Parsers of text that a model, a server or a file brings: four times the text takes about four times the steps."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import langchain_spec_thinking
from langchain_spec_thinking import DelegationPolicy
from langchain_spec_thinking.backends.openai.stream_events import ChunkReader
from langchain_spec_thinking.backends.redaction import Redactor, without_credentials
from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.call_format import FREE_TEXT
from langchain_spec_thinking.backends.replies.call_formats import CALL_FORMATS
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.continuation import Payload
from langchain_spec_thinking.backends.replies.echo import EchoFilter
from langchain_spec_thinking.backends.replies.thought_reader import ThoughtDelivery
from langchain_spec_thinking.evaluation import checks
from langchain_spec_thinking.evaluation.mining import openings
from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.message_text import without_thought
from langchain_spec_thinking.pocket import boxed
from langchain_spec_thinking.policy import Delegation, FirstTokenEntropy, ScoreAndAccept, TargetLeads
from langchain_spec_thinking.policy.escalation.values import value_of
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.surrogates import SurrogateJoiner
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Message, Turn
from langchain_spec_thinking.viewing.trace import Trace
from tests.unit_tests.backends import tiny
from tests.unit_tests.steps import steps_of
from tests.unit_tests.wire import delta, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Parser = Callable[[Iterable[str]], object]
    """Reads a text that arrives in pieces."""

pytestmark = pytest.mark.counts_work
RATIO_MAX = 5
"""Most steps for four times the text, as a multiple. Linear work has 4 or less. Quadratic work has 16."""
ADD = {"type": "function", "function": {"name": "add", "parameters": {}}}
ASKED = Turn((Message("user", "2 + 3?"),), tools=Tools((ADD,)))

# Each hostile text is a beginning, and a unit that is repeated after it.
BLANK = [("", " "), ("", "\n"), ("", "\n "), ("", "\t\r"), ("", "\f\n"), ("a", " "), ("a.\n\n", " "), ("a.\n\n", "\n")]
STEPS = [("", "a\n\n"), ("", "\nb"), ("a.\n\n", "b"), ("a.\n\n", "b "), ("a.\n\nhold", " "), ("", "Wait. So\n\n")]
TAGS = [("", "<"), ("", "<think>"), ("", "</think"), ("a</think>", " "), ("a</think>", "</think>"), ("<think>", " ")]
BRACKETS = [("", "{"), ("", "["), ("", "}"), ("{", " "), ('{"name"', " "), ('{"name": "add", "arguments": ', "[")]
JSON = [('{"name": "add", "arguments": {"x": "', unit) for unit in ("a", "\\", '\\"', "}", "1")]
CALLS = [
    *[("<tool_call>", unit) for unit in ("a", "<", "</tool_call", "<tool_call>", "{}</tool_call>", " ", '"')],
    *[("[TOOL_CALLS]", unit) for unit in (" ", "[", "{}", ";", "1", '"', "[TOOL_CALLS]", "]")],
    *[("", unit) for unit in ("<tool_call>{}</tool_call>", "[TOOL_CALLS]{}", "<|python_tag|>", "`", ";", "; ")],
    *[("```", unit) for unit in ("a", "`", "\n", '\n{"name": "add"')],
]
XML = [
    *[("<tool_call>", unit) for unit in ("<function=", "</function>", "<parameter=", "<tool_call>")],
    *[("<tool_call><function=add>", unit) for unit in ("</tool_call>", "</function>", "</function> ", "</parameter>")],
    *[("<tool_call><function=add></function>", unit) for unit in (" ", "\n<", "</tool_cal", "</function>", "x")],
    *[("", unit) for unit in ("<function=add></function>", "<function=add><parameter=a>1</parameter></function>")],
]
HARMONY = [
    *[("<|channel|>", unit) for unit in ("a", " ", "<", "<|message|", "<|channel|>", "<|message|>", "<|end|>", "to=")],
    *[("<|channel|>analysis<|message|>", unit) for unit in ("a", "<|end|>", "<|end|><|channel|>final<|message|>a")],
    *[("analysis", unit) for unit in ("a", "A", " ", "assistantfina", "assistantfinal")],
]
FENCES = [("", "```"), ("", "`"), ("", "```\n</think>\n"), ("</think>", "\t"), ("a\n", "</think>a\n")]
HALVES = [("", "\ud83d"), ("", "\ude00"), ("", "é")]
# All blocks are closed: in a longer one blank lines become boundaries, which is more work for each character.
BLOCKS = [("", "```\na\n\n```\n\n"), ("", '{\n"a": [\n\n]}\n'), ("", "$$\n\n"), ("", "```\n\n"), ("$$", " a")]
TEXTS = BLANK + STEPS + TAGS + HALVES + BLOCKS
FEW = [("", " "), ("", "\n"), ("a.\n\n", " "), ("", "a\n\n"), ("", "<think>"), ("", "\ud83d")]


def policy_parser(
    policy: DelegationPolicy, stop: tuple[str, ...] = (), top_logprobs: tuple[float, ...] = (), *, thinks: bool = True
) -> Parser:
    """Return a parser that gives all models of a turn the same text."""

    def read(pieces: Iterable[str]) -> None:
        machine = Delegation(policy, thinks=thinks, max_tokens=10**9, stop=stop)
        machine.start()
        for piece in pieces:
            machine.receive(piece, 1, top_logprobs or None)
        machine.end("stop")

    return read


def call_parser(form: str) -> Parser:
    def read(pieces: Iterable[str]) -> None:
        parser = plan_answer(ASKED, CALL_FORMATS[form]).parser()
        assert parser is not None
        for piece in pieces:
            list(parser.feed(piece))
        list(parser.rest())

    return read


def chunk_parser(
    chunk: Callable[[str], Any], endpoint: Any = "chat", *, calls: bool = False, held: bool = False
) -> Parser:
    plan = plan_answer(ASKED, CALL_FORMATS["hermes"]) if calls else FREE_TEXT

    def read(pieces: Iterable[str]) -> None:
        payload = Payload(endpoint, {}, prefills=("a prefill of the request",), plan=plan)
        reader = ChunkReader(payload, ASKED, 10**9, len, ThoughtDelivery(opened_by_prompt=held))
        for piece in pieces:
            list(reader.read(chunk(piece)))
        list(reader.rest())
        list(reader.calls())

    return read


def echo_parser(prefills: tuple[str, ...], space: str = "", overlap: str = "") -> Parser:
    def read(pieces: Iterable[str]) -> None:
        echo = EchoFilter(prefills, space, overlap)
        for piece in pieces:
            echo.pass_on(piece)
        echo.rest()

    return read


def surrogate_parser(pieces: Iterable[str]) -> None:
    joiner = SurrogateJoiner()
    for piece in pieces:
        joiner.join(piece)
    joiner.rest()


def whole(read: Callable[[str], object]) -> Parser:
    """Return a parser that reads the joined text."""
    return lambda pieces: read("".join(pieces))


def json_or_error(text: str) -> None:
    with suppress(ValueError):
        read_json(text)


def render(text: str) -> None:
    template = ChatTemplate(tiny.byte_tokenizer())
    template.prompt_text(Turn((Message("user", text),)))


def show(text: str) -> None:
    """Show a turn in which each character is a segment, with a dropped draft before it."""
    report = Report()
    for character in text:
        report.drop("speculative", "answer", character, 1)
        report.request("speculative", None)
        report.commit("speculative", "answer", "draft", character, 1)
    Trace("", text, Report.from_dict(json.loads(json.dumps(report.as_dict())))).html()


def native_call(fragment: str) -> dict[str, Any]:
    return delta(tool_calls=[{"index": 0, "function": {"name": "", "arguments": fragment}}])


def with_logprobs(piece: str) -> dict[str, Any]:
    tokens = [{"token": character, "top_logprobs": []} for character in piece]
    chunk = delta(content=piece)
    chunk["choices"][0]["logprobs"] = {"content": tokens}
    return chunk


SMALL, LARGE = 2_000, 32_000  # the shorter of two texts, in characters
PIECES = 400
"""Number of pieces of the shorter text, if it arrives in pieces."""
PARSERS: list[tuple[str, Parser, list[tuple[str, str]], int]] = [
    ("the paper's policy", policy_parser(DelegationPolicy()), TEXTS, SMALL),
    ("an answer without a thought", policy_parser(DelegationPolicy(), thinks=False), FEW, SMALL),
    ("the policy of instruct models", policy_parser(DelegationPolicy.non_reasoning(), thinks=False), FEW, SMALL),
    ("takeovers of a whole step", policy_parser(DelegationPolicy(takeover_tokens=None)), TEXTS, SMALL),
    ("three line breaks as boundary", policy_parser(DelegationPolicy(boundary="\n\n\n")), FEW, SMALL),
    ("a word as boundary", policy_parser(DelegationPolicy(boundary="abab")), [*FEW, ("", "aba")], SMALL),
    ("the large model leads", policy_parser(DelegationPolicy(trigger=TargetLeads())), FEW, SMALL),
    ("entropy", policy_parser(DelegationPolicy(trigger=FirstTokenEntropy()), (), (-1.0, -2.0)), FEW, SMALL),
    ("scores", policy_parser(DelegationPolicy(trigger=ScoreAndAccept())), TEXTS, LARGE),
    (
        "stop strings",
        policy_parser(DelegationPolicy(), ("a" * 49 + "b", " " * 49 + "b", "\n" * 49 + "b"), thinks=False),
        [("", "a"), *FEW],
        SMALL,
    ),
    ("calls of Hermes", call_parser("hermes"), BLANK + BRACKETS + JSON + CALLS, SMALL),
    ("calls of Qwen", call_parser("qwen_xml"), BLANK + CALLS[:7] + XML, SMALL),
    ("calls of Mistral", call_parser("mistral"), BLANK + BRACKETS + JSON + CALLS, SMALL),
    ("calls of Mistral, begun", whole(lambda text: call_parser("mistral")(["[TOOL_CALLS]", *text])), JSON, SMALL),
    ("calls of Llama", call_parser("llama"), BLANK + BRACKETS + JSON + CALLS, SMALL),
    ("content of a chat", chunk_parser(lambda piece: delta(content=piece)), FEW, SMALL),
    ("content with calls", chunk_parser(lambda piece: delta(content=piece), calls=True), CALLS[:7] + FEW, SMALL),
    ("reasoning of a chat", chunk_parser(lambda piece: delta(reasoning=piece)), FEW, SMALL),
    ("a completion", chunk_parser(text, "completions"), FEW, SMALL),
    ("channels of harmony", chunk_parser(lambda piece: delta(content=piece)), HARMONY, SMALL),
    ("a reply that is held", chunk_parser(lambda piece: delta(content=piece), held=True), TAGS + BLANK + FENCES, SMALL),
    ("reasoning and white space", chunk_parser(lambda piece: delta(reasoning="a", content=piece)), FEW, SMALL),
    ("tags in an old message", whole(without_thought), TAGS + BLANK + FENCES, SMALL),
    ("fragments of a call", chunk_parser(native_call), FEW, SMALL),
    ("log-probabilities", chunk_parser(with_logprobs), [("", " ")], 600),
    ("an echo", echo_parser(("a" * 30_000 + "b",), "\n"), [("", "a")], SMALL),
    ("an echo of white space", echo_parser((), " " * 30_000), BLANK, SMALL),
    ("an overlap", echo_parser((), "", "a" * 10**4), [("", "a"), *TEXTS], SMALL),
    ("halves of characters", surrogate_parser, HALVES, SMALL),
    ("a user's message", whole(render), [*BLANK, *TAGS, ("", "\ue000"), ("", "\ue0001"), ("", "<|im_start|>")], SMALL),
    ("an error of a server", whole(Redactor(["sk-abc123def4"]).text), [("", "sk-abc12"), ("", "a"), ("", "-x")], SMALL),
    ("an address", whole(without_credentials), [("", "a"), ("", "a://"), ("a://", "@"), ("", "a:/")], SMALL),
    ("a page", whole(show), [("", "<")], 60),
    ("JSON", whole(json_or_error), [*BRACKETS, *JSON, ("[", "[],"), ('{"a":', "1")], SMALL),
    (
        "the check `exact`",
        whole(lambda text: checks.exact(text, "1")),
        [*FEW, ("\\boxed{", "{"), ("", "\\boxed{")],
        SMALL,
    ),
    ("openings of steps", whole(lambda text: list(openings(text))), FEW, SMALL),
    (
        "the value of an answer",
        whole(value_of),
        [
            *[
                ("", unit)
                for unit in (" ", "\n", "a", "a ", "1", "1 ", "1,111", "1,", "1/", "1 1/2 ", "= ", "x = ", "- ", ". ")
            ],
            *[
                ("", unit)
                for unit in ("answer ", "answer is ", "answer:", "\\boxed{", "\\text{", "{", "[", "```", "```\n", "**")
            ],
            *[
                ("", unit)
                for unit in ("may ", "1 may ", "not ", "more ", "3 and ", "(a)", "(A) ", "1\u202f111", "\u0661", "$")
            ],
            *[
                ("A. ", "a"),
                ("(A) ", " "),
                ("yes", " "),
                ("No. ", " "),
                ("\\boxed{", "\\frac"),
                ("\\boxed{", "9^"),
                ("5", "e"),
            ],
            *[
                ('{"a": ', "["),
                ('{"a": "', "1"),
                ("[", "1,"),
                ("may", " "),
                ("5.", " "),
                ("answer", " "),
                ("answer is", ":"),
            ],
        ],
        SMALL,
    ),
    ("a boxed number", whole(boxed), [("\\boxed{", "1"), ("", "\\boxed{"), ("", "\\boxed{1}")], SMALL),
]


def pieces_of(beginning: str, unit: str, characters: int, size: int) -> list[str]:
    text = (beginning + unit * characters)[:characters]
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("at_once", [False, True], ids=["in small pieces", "at once"])
@pytest.mark.parametrize(("parser", "texts", "characters"), [p[1:] for p in PARSERS], ids=[p[0] for p in PARSERS])
def test_the_work_is_linear_in_the_text(
    parser: Parser, texts: list[tuple[str, str]], characters: int, at_once: bool
) -> None:
    characters = 3 * characters if at_once else characters
    size = 10**9 if at_once else max(1, characters // PIECES)
    parser(pieces_of("", "a", 10, 1))  # what is made once does not count
    for beginning, unit in texts:
        few, many = (pieces_of(beginning, unit, length, size) for length in (characters, 4 * characters))
        ratio = steps_of(partial(parser, many)) / steps_of(partial(parser, few))
        assert ratio < RATIO_MAX, f"{beginning!r}, then {unit!r}"


# The engine of regular expressions works unseen. So each pattern without a limit has a reason why it is linear.
UNLIMITED = {
    r"(?<!`)`[^`\n]+`(?!`)|\\\\"
    r"|(?:(?P<lead>[:：])[ \t]*)?(?:(?P<fence>`{3,}|(?<!.)~{3,})(?P<language>[a-z])?|(?P<math>\$\$|\\[][]))"  # noqa: RUF001
    r"|\\(?P<edge>begin|end)\{(?P<name>[a-z]{1,20}\*?)\}|(?P<table></?table\b)": (
        "a repetition begins after a mark that it cannot contain"
    ),
    r"(?:[ \t>]|[-*+][ \t]|[0-9]{1,9}[.)][ \t])*": "it is matched at the start only, and nothing follows",
    r"""[ \t]*[{\[]\s*(?:$|["'0-9{\[-])""": "it is matched at the start only",
    r'"(?:[^"\\]|\\.?)*+(?:"|$)|[\[\]{}]': "the repetition gives nothing back, and a quotation mark or the end follows",
    r"requested\D{0,20}(\d+)": "only the beginning of an error is read, so the text is short",
    r"max_\w*tokens|completion|output": "only the beginning of an error is read, so the text is short",
    r"to=(?:functions\.)?([^\s<]+)": "nothing that could fail follows the repetition",
    r"<\|channel\|>\s*(\w*)": "nothing that could fail follows the repetitions",
    r'"name"\s*:\s*"([^"]+)"': "each repetition ends at a character that it cannot contain",
    "\ue000(\\d+)\ue001": "a digit cannot be one of the marks around it",
    r"[a-z][a-z0-9_-]+": "it is matched at the start only",
    r"(?!openai:|huggingface:)[A-Za-z_][\w.]*:[A-Za-z_]\w*": "it is matched at the start only",
    r"\s+": "nothing that could fail follows",
    r"\n[ \t\r]*\n\s*": "the middle contains no line break, and nothing that could fail follows the end",
    r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*": "it is matched at the start only, and a letter cannot be a hyphen",
    r"(?P<name>.+?)@(?P<url>\w+://[^#]+)(?:#(?P<tokenizer>.*))?": "only a setting of the user is matched",
    r"(?P<name>[^@#]+)(?:#(?P<tokenizer>.*))?": "only a setting of the user is matched",
    r"""[.!?…。！？][)\]\"'”’*]*\Z""": "only the last few characters before a tag are matched",  # noqa: RUF001 - Chinese
    r"^\[[^]]*\] \S+ ": "it is matched at the start only",
    r"(?<!\w)(?P<scheme>\w+://)(?:\S*@)?(?P<place>[^\s?#]*)\S*": "a scheme begins where a word begins",
    r"%[0-9A-Fa-f]{2}|[xX]{4,}|_{3,}|-{3,}|((?:(?![xX]{4}|_{3}|-{3})[A-Za-z0-9_-])+)": "nothing follows a repetition",
    r"\(?([A-Ja-j])\)(.*)|([A-J])(?:[.:]?\s*|[.:]\s(.*))": "it is matched at the start only",
    r"\s*(?:[/&(]|,?\s*(?:and|or)\b|,\s*\(?[a-j]\b|(?:\S+\s+){0,2}(?:not|wrong|incorrect|false)\b)": (
        "it is matched at the start only, and white space is not in a word"
    ),
    r"\s*(?:,|because\b|since\b|as\b)": "it is matched at the start only",
    r"(yes|no|true|false)(?:$|[.,!;:](?!\s*\d)|\s+(?:it|he|she|they|that|this|there|i|we|you)\b)": (
        "it is matched at the start only"
    ),
    **dict.fromkeys(
        [r"[ \t]*\n", r"[ \t]*\n[ \t]*\n", r"[ \t]*", r"[ \t]*(?:\n[ \t]*)?"],
        "it is matched at the start only, and a blank is no line break",
    ),
    r"=|[^\s=]+": "nothing follows a repetition",
    r"[!-~]+": "nothing follows the repetition",
    r"https?://[^\s'\"]*[^\s'\".,:;)]": "only punctuation at the end is read twice",
    r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}": "each repetition ends at a character that it cannot contain",
    r"\\[a-z]+": "nothing follows a repetition",
    r"(-?)\\[dt]?frac(?:\{(\d+)\}\{(\d+)\}|(\d)(\d))": "it is matched at the start only",
    r"(?:[-+*/().\d{}A-Za-z]|(?<![\d]{5})(?<![)}])\^(?:\d|[a-z]|\{-?\d{1,2}\})(?!\^)|(?<=[)}])\^\d(?!\^)"
    r"|\\(?:frac|sqrt|pi|cdot|times|sin|cos|tan|ln)(?![a-z]))+": "each character begins one alternative at most",
    r"(?:answer|result|choice|option)\s*(?:is|are|=|:)+[\s:]*([^\n]+)": "each repetition begins after a word",
    r"\\left|\\right|\\[,;!: ]|\$|\s+": "nothing follows a repetition",
    r"\n+|[^\S\n]*[^\s<]+|<[^\s>]*>?|[^\S\n]+": "what one alternative reads in vain, the last one takes",
}
COMPOSED = {
    "numbers.py": "a word is matched as a whole, and the parts of a number are separated by other characters",
    "endings.py": "the marks of a letter are limited",
    "boundary.py": "between two line breaks, the white space contains no line break",
    "chat_templates.py": "control tokens are literal",
    "context_overflow.py": "only the beginning of an error is read, so the text is short",
    "refusals.py": "a literal text of at most 100 characters is searched for",
    "lone_closing_tag.py": "the marks are literal",
    "message_text.py": "a tag begins or ends each repetition, up to the first closing tag or the end of the text",
    "thought_formats.py": "the marks of harmony are literal",
    "cues.py": "white space between the words of a cue contains no letter",
    "listed_prices.py": "only the address of a server is matched, with the patterns of the list of prices",
    "xml_calls.py": "a name contains no `<`, and a value is read up to the first tag that ends it",
}
"""Files that make patterns from other texts: marks, names and settings."""


def patterns() -> list[tuple[str, ast.expr]]:
    """Return the patterns of all regular expressions of the package, with the names of their files."""
    package = Path(langchain_spec_thinking.__file__).parent
    return [
        (file.name, node.args[0])
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and re.fullmatch(r"re\.[a-df-z]\w*", ast.unparse(node.func))
    ]


def test_each_unlimited_regular_expression_is_known_to_be_linear() -> None:
    literal = {str(pattern.value) for _, pattern in patterns() if isinstance(pattern, ast.Constant)}
    assert {pattern for pattern in literal if re.search(r"[*+]|,\}", pattern)} == set(UNLIMITED)
    assert {file for file, pattern in patterns() if not isinstance(pattern, ast.Constant)} == set(COMPOSED)
