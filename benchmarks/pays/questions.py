"""General questions of mixed difficulty with checkable answers: twelve kinds, each at three levels."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import random
from typing import TYPE_CHECKING, Final

from benchmarks.pays.banks import CAPITALS, GERMAN, SYMBOLS, WORDS
from langchain_spec_thinking.evaluation.questions import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVELS: Final = 3
ASK: Final = (
    "Solve this step by step in at most two short sentences. End with a last line of this form:\n"
    "Answer: <the answer alone>"
)
"""How to answer. Short replies keep the time of a comparison low."""
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NAMES: Final = ("Anna", "Ben", "Carla", "David", "Eva", "Felix")
_GOODS: Final = ("pens", "maps", "cups", "books", "lamps", "balls")


def _sum(rng: random.Random, level: int) -> tuple[str, str]:
    a, b = rng.randint(12, 99), rng.randint(12, 99)
    if level == 0:
        return f"What is {a} + {b}?", str(a + b)
    if level == 1:
        a, c = rng.randint(200, 900), rng.randint(20, 99)
        return f"What is {a} - {b} + {c}?", str(a - b + c)
    return f"What is {a} * {b}?", str(a * b)


def _units(rng: random.Random, level: int) -> tuple[str, str]:
    a, b = rng.randint(2, 9), rng.randint(5, 55)
    if level == 0:
        return f"How many minutes are {a} hours?", str(60 * a)
    if level == 1:
        return f"How many minutes are {a} hours and {b} minutes?", str(60 * a + b)
    c = rng.randint(2, 9)
    return (
        f"A bottle holds {a * 250} millilitres. How many litres do {4 * c} bottles hold?",
        f"{a * c}",
    )


def _story(rng: random.Random, level: int) -> tuple[str, str]:
    who, what = rng.choice(_NAMES), rng.choice(_GOODS)
    n, p = rng.randint(3, 9), rng.randint(2, 9)
    if level == 0:
        return f"{who} buys {n} {what}. Each costs {p} euros. How many euros does {who} pay?", str(n * p)
    paid = (n * p // 10 + rng.randint(1, 3)) * 10
    if level == 1:
        return (
            f"{who} buys {n} {what} for {p} euros each and pays with {paid} euros. How many euros does {who} get back?",
            str(paid - n * p),
        )
    boxes, lost = rng.randint(3, 8), rng.randint(2, 9)
    per = 2 * rng.randint(3, 8)
    left = boxes * per - 2 * lost
    return (
        (
            f"{who} has {boxes} boxes with {per} {what} each. {who} loses {2 * lost} {what} and shares the rest "
            f"equally between two friends. How many {what} does each friend get?"
        ),
        str(left // 2),
    )


def _largest(rng: random.Random, level: int) -> tuple[str, str]:
    if level == 0:
        numbers = [str(n) for n in rng.sample(range(100, 999), 4)]
    elif level == 1:
        whole = rng.randint(2, 9)
        numbers = [f"{whole}.{n}" for n in (rng.randint(2, 9), rng.randint(11, 19), rng.randint(101, 189))]
        rng.shuffle(numbers)
    else:
        pairs = ((3, 4, 5, 7), (2, 3, 5, 8), (4, 7, 3, 5), (5, 9, 1, 2), (7, 8, 8, 9), (2, 5, 3, 8), (5, 6, 7, 9))
        a, b, c, d = rng.choice(pairs)
        texts = [f"{a}/{b}", f"{c}/{d}"]
        best = texts[0] if a * d > c * b else texts[1]
        rng.shuffle(texts)
        return f"Which fraction is larger, {texts[0]} or {texts[1]}?", best
    return f"Which of these numbers is the largest: {', '.join(numbers)}?", max(numbers, key=float)


def _date(rng: random.Random, level: int) -> tuple[str, str]:
    day, step = rng.randrange(7), rng.randint(2, 5)
    if level == 0:
        return f"Today is {_DAYS[day]}. Which day of the week is it in {step} days?", _DAYS[(day + step) % 7]
    if level == 1:
        step = rng.randint(10, 40)
        return f"Today is {_DAYS[day]}. Which day of the week is it in {step} days?", _DAYS[(day + step) % 7]
    start = dt.date(2023, rng.randint(1, 11), rng.randint(15, 28))
    end = start + dt.timedelta(rng.randint(16, 40))
    return (
        (
            f"Which date is {(end - start).days} days after {start:%B} {start.day}, 2023? "
            "Write month and day, for example: March 5"
        ),
        f"{end:%B} {end.day}",
    )


def _letters(rng: random.Random, level: int) -> tuple[str, str]:
    word = rng.choice(WORDS[level or rng.randrange(LEVELS)])
    if level == 0:
        return f"How many letters has the word '{word}'?", str(len(word))
    letter = rng.choice(sorted({letter for letter in word if word.count(letter) > 1}))
    return f"How often does the letter '{letter}' occur in the word '{word}'?", str(word.count(letter))


def _sorting(rng: random.Random, level: int) -> tuple[str, str]:
    if level == 0:
        words = rng.sample(WORDS[0], 3)
        return f"Which of these words comes first in the alphabet: {', '.join(words)}?", min(words)
    if level == 1:
        numbers = rng.sample(range(10, 99), 4)
        shown = ", ".join(map(str, numbers))
        return f"Sort these numbers, smallest first: {shown}", ", ".join(map(str, sorted(numbers)))
    words = rng.sample(WORDS[1], 5)
    return f"Which of these words is the third one in alphabetical order: {', '.join(words)}?", sorted(words)[2]


def _code(rng: random.Random, level: int) -> tuple[str, str]:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(3, 6)
    programs = (
        (f"x = {a}\ny = {b}\nprint(x * y + {c})", f"x = [{a}, {b}, {c}]\nprint(len(x) + x[0])"),
        (f"t = 0\nfor i in range({c}):\n    t += i\nprint(t + {a})", f"x = 'python'\nprint(x[{c - 2}:{c}])"),
        (
            f"t = 1\nfor i in range(1, {c + 1}):\n    if i % 2:\n        t = t * {a} - i\nprint(t)",
            f"x = [{a}, {b}, {c}, {a + b}]\nprint(sum(n for n in x if n % 2 == 0) * {c})",
        ),
    )
    program = rng.choice(programs[level])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program, {})  # noqa: S102 - our own programs
    return f"What does this Python program print?\n\n{program}\n", printed.getvalue().strip()


def _fact(rng: random.Random, level: int) -> tuple[str, str]:
    n = rng.randint(20, 99)
    if level == 0:
        return f"Is {n} an even number? Answer yes or no.", _yes(n % 2 == 0)
    if level == 1:
        n, d = rng.randint(100, 400), rng.choice((3, 4, 6, 9))
        n -= (n % d) * rng.randint(0, 1)
        return f"Is {n} divisible by {d}? Answer yes or no.", _yes(n % d == 0)
    n = rng.choice(
        (51, 53, 57, 59, 61, 67, 71, 77, 79, 83, 87, 89, 91, 97, 101, 111, 113, 117, 119, 127, 133, 137, 143)
    )
    return f"Is {n} a prime number? Answer yes or no.", _yes(all(n % d for d in range(2, n)))


def _percent(rng: random.Random, level: int) -> tuple[str, str]:
    if level == 0:
        p, n = rng.choice((10, 50)), 20 * rng.randint(2, 20)
        return f"What is {p}% of {n}?", str(p * n // 100)
    p, n = rng.choice((15, 20, 30, 35, 40, 60, 75)), 20 * rng.randint(3, 20)
    if level == 1:
        return f"What is {p}% of {n}?", str(p * n // 100)
    return f"A coat costs {n} euros. Its price falls by {p}%. What is the new price in euros?", str(n - p * n // 100)


def _sequence(rng: random.Random, level: int) -> tuple[str, str]:
    a, d = rng.randint(2, 9), rng.randint(3, 9)
    if level == 0:
        terms = [a + d * i for i in range(5)]
    elif level == 1:
        terms = [a * 2**i for i in range(5)]
    else:
        terms = [a + d * i + i * i for i in range(6)]
    *shown, following = terms
    return f"What is the next number: {', '.join(map(str, shown))}, ...?", str(following)


def _knowledge(rng: random.Random, level: int) -> tuple[str, str]:
    bank, form = rng.choice(
        (
            (CAPITALS, "What is the capital of {}?"),
            (SYMBOLS, "What is the chemical symbol of {}?"),
            (GERMAN, "What is the German word for '{}'? Leave out the article."),
        )
    )
    asked, answer = rng.choice(sorted(bank[level].items()))
    return form.format(asked), answer


def _choice(rng: random.Random, level: int) -> tuple[str, str]:
    country, capital = rng.choice(sorted(CAPITALS[level].items()))
    others = [city for city in CAPITALS[level].values() if city != capital]
    options = [capital, *rng.sample(others, 3)]
    rng.shuffle(options)
    lines = "\n".join(f"{letter}) {city}" for letter, city in zip("ABCD", options, strict=True))
    question = f"Which city is the capital of {country}? Answer with the letter.\n{lines}"
    return question, f"{'ABCD'[options.index(capital)]}) {capital}"


def _yes(true: bool) -> str:  # noqa: FBT001 - a private helper with one argument
    return "yes" if true else "no"


KINDS: Final[dict[str, Callable[[random.Random, int], tuple[str, str]]]] = {
    "sums": _sum,
    "units": _units,
    "stories": _story,
    "largest": _largest,
    "dates": _date,
    "letters": _letters,
    "sorting": _sorting,
    "code": _code,
    "yes or no": _fact,
    "percent": _percent,
    "sequences": _sequence,
    "knowledge": _knowledge,
    "choices": _choice,
}
"""Each makes a question and its right answer, at a level from 0 (easy) to 2 (hard)."""


def general_questions(each: int, seed: int, without: Sequence[Question] = ()) -> list[Question]:
    """Make questions: `each` of every kind at every level, in random order.

    Args:
        each: Number of questions of one kind at one level.
        seed: Makes the questions repeatable.
        without: Questions that must not occur again, for example those on which a rule was chosen.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    seen = {question.question for question in without}
    made = []
    for kind, make in KINDS.items():
        for level in range(LEVELS):
            for number in range(each):
                text, answer = _new(make, rng, level, seen)
                made.append(Question(f"{kind} {level} {seed}-{number}", f"{text}\n{ASK}", answer))
    rng.shuffle(made)
    return made


def _new(
    make: Callable[[random.Random, int], tuple[str, str]], rng: random.Random, level: int, seen: set[str]
) -> tuple[str, str]:
    """Make a question that was not made before."""
    for _ in range(1000):
        text, answer = make(rng, level)
        if f"{text}\n{ASK}" not in seen:
            seen.add(f"{text}\n{ASK}")
            return text, answer
    msg = f"{text}: no further question of this kind exists"
    raise ValueError(msg)
