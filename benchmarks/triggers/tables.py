"""The results of the comparison as a table and as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.triggers.entries import COIN
from langchain_spec_thinking.evaluation.results import Evaluation
from langchain_spec_thinking.evaluation.statistics import mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.triggers.trials import VariantAnswers
    from langchain_spec_thinking.evaluation.results import Figures

_ALONE = {"speculative": "small model alone", "target": "large model alone"}
HEADING = (
    "wanted",
    "trigger",
    "setting",
    "target share",
    "right",
    "minus coin at boundaries",
    "minus coin over questions",
)


def figures(found: Sequence[VariantAnswers]) -> list[dict[str, Any]]:
    """Return the figures of every variant, each compared with two coins, question by question.

    The first coin is drawn at every boundary (`interpolate_coins`). The second coin is drawn once for each question. It
    sends a share of the questions to the target that equals the variant's share of the tokens.
    """
    names = {(one.name, one.share): f"{one.name} {one.share}" for one in found}
    alone = {name: one for (one, _), name in names.items() if one in {"speculative", "target"}}
    evaluation = Evaluation(
        {names[one.name, one.share]: one.outcomes for one in found},
        {name: alone.get(name) for name in names.values()},  # type: ignore[misc]
    )
    coins = [evaluation.figures[name] for (one, _), name in names.items() if one in {*alone.values(), COIN}]
    return [_of(one, evaluation, names[one.name, one.share], coins) for one in found]


def _of(one: VariantAnswers, evaluation: Evaluation, name: str, coins: Sequence[Figures]) -> dict[str, Any]:
    mine = evaluation.figures[name]
    found: dict[str, Any] = {
        "trigger": one.name,
        "wanted": one.share,
        "setting": one.setting,
        "accuracy": mine.accuracy.as_dict(),
        "target_share": mine.target_share.as_dict(),
        "takeovers": mine.takeovers,
        "tokens": {side: mine.tokens(side) for side in ("speculative", "target")},
        "errors": mine.errors,
    }
    if evaluation.alone[name] is None:
        share = mine.target_share.value
        _, difference = evaluation.compare_with_coin(name, share)
        found["less_whole_questions"] = difference.as_dict()
        if one.name != COIN:
            expected = interpolate_coins(share, coins)
            found["less_coin"] = mean([a - b for a, b in zip(mine.is_right, expected, strict=True)]).as_dict()
    return found


def interpolate_coins(share: float, coins: Sequence[Figures]) -> list[float]:
    """Return for each question how likely a right answer is with a coin at every boundary and a share of the target.

    The coin was run at a few probabilities, and both models alone are the ends of this range. For a share between two
    runs, the result is a mixture of both: each question is answered by one of the two runs, in the proportion that
    gives the share.

    Args:
        share: Share of the tokens for the target, from 0 to 1.
        coins: The runs, on the same questions.
    """
    ordered = sorted(coins, key=lambda run: run.target_share.value)
    above = next(n for n, run in enumerate(ordered) if n and run.target_share.value >= share)
    low, high = ordered[above - 1], ordered[above]
    (low_target, low_all), (high_target, high_all) = ((run.tokens("target"), run.length) for run in (low, high))
    weight = (share * low_all - low_target) / (high_target - low_target - share * (high_all - low_all))
    return [weight * b + (1 - weight) * a for a, b in zip(low.is_right, high.is_right, strict=True)]


def rows(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the figures as text, in the order of `HEADING`."""
    return [
        [
            f"{one['wanted']:.0%}" if one["setting"] else "",
            _ALONE.get(one["trigger"], one["trigger"]),
            one["setting"],
            f"{one['target_share']['value']:.1%}",
            _percent("{value:.1f} ({low:.1f} to {high:.1f})", one["accuracy"]),
            _percent("{value:+.1f} ({low:+.1f} to {high:+.1f})", one.get("less_coin")),
            _percent("{value:+.1f} ({low:+.1f} to {high:+.1f})", one.get("less_whole_questions")),
        ]
        for one in found
    ]


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = [HEADING, ["---:", "---", "---"] + ["---:"] * (len(HEADING) - 3), *rows(found)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw right answers against the target's share, with the line of the coins over whole questions."""
    import matplotlib as mpl  # noqa: PLC0415 - only the command draws

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    ends = [(100 * o["target_share"]["value"], 100 * o["accuracy"]["value"]) for o in found if not o["setting"]]
    axes.plot(*zip(*ends, strict=True), "s:", color="0.4", label="coins over whole questions")
    for name in dict.fromkeys(one["trigger"] for one in found if one["setting"]):
        line = sorted((o for o in found if o["trigger"] == name), key=lambda o: o["target_share"]["value"])
        x, y = ([100 * o[key]["value"] for o in line] for key in ("target_share", "accuracy"))
        bars = [[100 * abs(o["accuracy"][end] - o["accuracy"]["value"]) for o in line] for end in ("low", "high")]
        axes.errorbar(x, y, bars, fmt="o--" if name.startswith("coin") else "o-", capsize=3, alpha=0.85, label=name)
    axes.set(xlabel="tokens of the large model (%)", ylabel="right answers (%)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _percent(form: str, interval: dict[str, float] | None) -> str:
    return form.format(**{name: 100 * value for name, value in interval.items()}) if interval else ""
