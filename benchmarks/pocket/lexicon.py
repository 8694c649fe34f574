"""Words of the pocket domain: people, things, and the sentences that problems are made of.

Every clause is a sentence without its full stop. `{a}` and `{b}` are the numbers of the clause in reading order; where
a clause carries one number only it is `{b}`, because it is the right operand of the step it leads to. The other slots
are filled by the story. No clause holds a cue word of the method ("wait", "yes", "check", "another", ...): cues belong
to the checks of a trace alone. No number is ever 1 or 0, so every counted noun is a plural.
"""

from __future__ import annotations

from dataclasses import dataclass

GIRLS = (  # noqa: SIM905 - a list literal takes a line a word
    "Mia Ada Zoe Lena Nora Ruth Ivy Emma Clara Tess Maya Rosa Lucy Jane Olga Nina Anna Sara Leah Dora Hana Iris Kate "
    "Lily"
).split()
BOYS = (  # noqa: SIM905 - a list literal takes a line a word
    "Ben Tom Sam Leo Max Omar Paul Finn Hugo Noah Ivan Luke Carl Dean Eric Fred Glen Hans Jack Karl Liam Mark Nick Otto"
).split()
THINGS = (  # noqa: SIM905 - a list literal takes a line a word
    "apple marble sticker pencil cookie shell card coin button stamp bead balloon flower nut crayon ribbon badge pear "
    "lemon muffin magnet feather ticket plum pen"
).split()
TREATS = ("muffin", "roll", "pie", "cake", "bagel", "donut", "waffle", "bun")
ANIMALS = ("hen", "goat", "duck", "cow", "rabbit", "horse", "lamb", "pig")
SHELVED = ("book", "map", "film", "game", "magazine", "comic")
CONTAINERS = ("bags", "packs", "baskets", "jars", "tins", "boxes")
KIN = ("sister", "brother", "mother", "father", "aunt", "uncle", "cousin", "neighbor")
STOPS = ("museum", "park", "school", "market", "harbor", "library", "stadium", "bridge", "zoo", "hospital")
GOODS = ("notebook", "cap", "sandwich", "puzzle", "plant", "scarf", "cup", "toy")
CHORES = ("washing cars", "walking dogs", "cutting grass", "painting fences", "raking leaves", "feeding cats")
TASKS = ("breakfast", "homework", "a phone call", "the dishes", "a puzzle", "a drawing", "a letter", "the laundry")
DISTRACTORS = (
    "The walk to school takes {n} minutes",
    "It is {n} degrees outside",
    "There are {n} houses on the street",
    "{other} is {n} years old",
    "It has rained for {n} days",
    "{other} lives at number {n}",
    "{other} has {n} kites",
    "The library is {n} miles away",
)
"""Sentences whose number has nothing to do with the question."""
LINKS = ("Then ", "Later, ", "After that, ", "Next, ", "The next day, ", "", "", "")
IRREGULAR = {"scarf": "scarves", "sandwich": "sandwiches"}


def plural(noun: str) -> str:
    """The plural of a noun of this lexicon."""
    return IRREGULAR.get(noun, f"{noun}s")


@dataclass(frozen=True)
class Final:
    """A way to end a problem: what is asked, and how the answer is said.

    Attributes:
        clauses: Sentences that bring the last number; empty where the running total itself is asked for.
        questions: Wordings of the question.
        now: The answer as a sentence, with `{c}` for the number.
    """

    clauses: tuple[str, ...]
    questions: tuple[str, ...]
    now: str


@dataclass(frozen=True)
class Setting:
    """A small world with its own sentences for the same few operations.

    Attributes:
        items: What is counted, in the singular.
        part: A part of what is there goes away; `{part}` is "a third" or "a quarter".
        finals: By kind: what is asked at the end.
    """

    items: tuple[str, ...]
    start: tuple[str, ...]
    start_two: tuple[str, ...]
    start_groups: tuple[str, ...]
    gain: tuple[str, ...]
    lose: tuple[str, ...]
    gain_groups: tuple[str, ...]
    lose_groups: tuple[str, ...]
    double: tuple[str, ...]
    halve: tuple[str, ...]
    part: tuple[str, ...]
    finals: dict[str, Final]


PERSON = Setting(
    items=tuple(THINGS),
    start=("{name} has {b} {items}", "{name} starts with {b} {items}", "At first {name} has {b} {items}"),
    start_two=(
        "{name} has {a} red {items} and {b} blue {items}",
        "{name} has {a} {items} at home and {b} {items} at school",
        "{name} gets {a} {items} on Monday and {b} {items} on Tuesday",
    ),
    start_groups=("{name} has {a} {boxes} with {b} {items} in each", "{name} buys {a} {boxes} of {b} {items} each"),
    gain=(
        "{other} gives {obj} {b} more",
        "{sub} finds {b} more",
        "{sub} buys {b} more {items}",
        "{poss} {kin} brings {obj} {b} {items}",
        "{sub} wins {b} {items} in a game",
        "{sub} collects {b} more {items}",
    ),
    lose=(
        "{sub} gives {b} {items} to {other}",
        "{sub} loses {b} of them",
        "{sub} sells {b} {items}",
        "{other} takes {b} of them",
        "{sub} trades away {b} {items}",
        "{poss} {kin} borrows {b} {items}",
    ),
    gain_groups=(
        "{sub} buys {a} {boxes} of {b} {items} each",
        "{other} brings {a} {boxes} with {b} {items} in each",
        "{sub} gets {a} {items} from each of {b} friends",
        "{sub} finds {a} {items} a day for {b} days",
    ),
    lose_groups=(
        "{sub} gives {a} {items} to each of {b} friends",
        "{sub} sells {a} {boxes} with {b} {items} in each",
        "{sub} uses {a} {items} a day for {b} days",
    ),
    double=("{other} gives {obj} as many {items} as {sub} already has", "{sub} doubles the number of {items}"),
    halve=("{sub} gives half of them to {other}", "half of them get lost", "{sub} sells half of the {items}"),
    part=("{sub} gives {part} of them to {other}", "{sub} sells {part} of the {items}", "{sub} loses {part} of them"),
    finals={
        "total": Final(
            (),
            ("How many {items} does {name} have now?", "How many {items} does {name} have in the end?"),
            "{name} has {c} {items}",
        ),
        "share": Final(
            ("{sub} shares them equally among {b} friends",),
            ("How many {items} does each friend get?",),
            "each friend gets {c} {items}",
        ),
        "pack": Final(
            ("{sub} puts {b} {items} into each bag",),
            ("How many bags does {sub} need?", "How many bags can {sub} fill?"),
            "{sub} fills {c} bags",
        ),
        "price": Final(
            ("{sub} sells all of them for {b} dollars each", "a shop pays {obj} {b} dollars for each {item}"),
            ("How many dollars does {name} get?", "How much money does {name} make?"),
            "{name} gets {c} dollars",
        ),
        "more": Final(
            ("{other} has {b} more {items} than {name}",),
            ("How many {items} do they have together?",),
            "together they have {c} {items}",
        ),
        "fewer": Final(
            ("{other} has {b} fewer {items} than {name}",),
            ("How many {items} do they have together?",),
            "together they have {c} {items}",
        ),
        "times": Final(
            ("{other} has {b} times as many {items} as {name}",),
            ("How many {items} does {other} have?",),
            "{other} has {c} {items}",
        ),
        "ahead": Final(
            ("{other} has {a} {items}",),
            ("How many more {items} does {other} have than {name}?",),
            "{other} has {c} more {items}",
        ),
        "need": Final(
            ("{name} wants to have {a} {items}", "{sub} needs {a} {items} for a party"),
            ("How many more {items} does {sub} need?",),
            "{sub} needs {c} more {items}",
        ),
    },
)

BUS = Setting(
    items=("passenger",),
    start=("A bus leaves with {b} passengers", "There are {b} passengers on a bus", "A train has {b} passengers"),
    start_two=("A bus has {a} passengers upstairs and {b} downstairs", "There are {a} women and {b} men on a bus"),
    start_groups=("A train has {a} cars with {b} passengers in each", "There are {a} groups of {b} people on a bus"),
    gain=("{b} people get on at the {stop}", "{b} more people get on", "{b} passengers join at the {stop}"),
    lose=("{b} people get off at the {stop}", "{b} passengers leave", "{b} people step out at the {stop}"),
    gain_groups=("{a} groups of {b} people get on", "{a} families of {b} people join at the {stop}"),
    lose_groups=("{a} groups of {b} people get off", "{a} people get off at each of {b} stops"),
    double=("the number of passengers doubles at the {stop}",),
    halve=("half of the passengers get off at the {stop}", "half of them leave"),
    part=("{part} of the passengers get off at the {stop}", "{part} of them leave"),
    finals={
        "total": Final(
            (),
            ("How many passengers are there now?", "How many people are on board now?"),
            "there are {c} passengers",
        ),
        "share": Final(
            ("the passengers split into {b} equal groups",),
            ("How many people are in each group?",),
            "each group has {c} people",
        ),
        "price": Final(
            ("each passenger pays {b} dollars",),
            ("How many dollars do they pay in all?",),
            "they pay {c} dollars",
        ),
        "need": Final(("there is room for {a} passengers",), ("How many seats are free?",), "{c} seats are free"),
    },
)

FARM = Setting(
    items=ANIMALS,
    start=("A farmer has {b} {items}", "There are {b} {items} on a farm", "A farm starts the year with {b} {items}"),
    start_two=(
        "A farmer has {a} white {items} and {b} brown {items}",
        "There are {a} young and {b} old {items} on a farm",
    ),
    start_groups=("A farm has {a} barns with {b} {items} in each", "A farmer keeps {b} {items} in each of {a} pens"),
    gain=("the farmer buys {b} {items}", "{b} {items} are born", "{b} more {items} arrive"),
    lose=("the farmer sells {b} {items}", "{b} {items} run away", "the farmer gives {b} {items} to {other}"),
    gain_groups=("the farmer buys {a} groups of {b} {items}", "{a} {items} are born in each of {b} weeks"),
    lose_groups=("the farmer sells {a} {items} to each of {b} neighbors", "{a} trucks take away {b} {items} each"),
    double=("the number of {items} doubles", "the farmer buys as many {items} as there already are"),
    halve=("half of the {items} are sold", "half of them move to {other}'s farm"),
    part=("{part} of the {items} are sold", "{part} of them move to {other}'s farm"),
    finals={
        "total": Final(
            (),
            ("How many {items} are on the farm now?", "How many {items} are there in the end?"),
            "there are {c} {items}",
        ),
        "share": Final(
            ("the {items} are split evenly among {b} pens",),
            ("How many {items} are in each pen?",),
            "each pen has {c} {items}",
        ),
        "price": Final(
            ("each {item} eats {b} pounds of food a day",),
            ("How many pounds of food do they eat a day?",),
            "they eat {c} pounds",
        ),
        "times": Final(
            ("{other}'s farm has {b} times as many {items}",),
            ("How many {items} are on {other}'s farm?",),
            "{other}'s farm has {c} {items}",
        ),
        "need": Final(
            ("the farmer wants {a} {items}",),
            ("How many more {items} does the farmer need?",),
            "the farmer needs {c} more {items}",
        ),
    },
)

PURSE = Setting(
    items=("dollar",),
    start=("{name} has {b} dollars", "{name} has saved {b} dollars", "There are {b} dollars in {name}'s purse"),
    start_two=(
        "{name} saves {a} dollars in May and {b} dollars in June",
        "{name} has {a} dollars in a purse and {b} dollars in a jar",
    ),
    start_groups=("{name} earns {a} dollars an hour for {b} hours", "{name} saves {a} dollars a week for {b} weeks"),
    gain=(
        "{sub} earns {b} dollars by {chore}",
        "{poss} {kin} gives {obj} {b} dollars",
        "{sub} finds {b} dollars",
        "{other} pays {obj} back {b} dollars",
    ),
    lose=(
        "{sub} spends {b} dollars on a {good}",
        "{sub} gives {b} dollars to {poss} {kin}",
        "{sub} pays {b} dollars for a ticket",
        "{sub} lends {other} {b} dollars",
    ),
    gain_groups=(
        "{sub} earns {a} dollars an hour for {b} hours",
        "{sub} sells {a} {goods} for {b} dollars each",
    ),
    lose_groups=("{sub} buys {a} {goods} for {b} dollars each", "{sub} spends {a} dollars a day for {b} days"),
    double=("{poss} {kin} doubles the money",),
    halve=("{sub} spends half of the money on {goods}", "{sub} gives half of the money to {other}"),
    part=("{sub} spends {part} of the money on {goods}", "{sub} gives {part} of the money to {other}"),
    finals={
        "total": Final(
            (),
            ("How many dollars does {name} have now?", "How much money does {name} have left?"),
            "{name} has {c} dollars",
        ),
        "share": Final(
            ("{sub} spends the same amount on each of the next {b} days until nothing is left",),
            ("How many dollars does {sub} spend each day?",),
            "{sub} spends {c} dollars each day",
        ),
        "pack": Final(
            ("a {good} costs {b} dollars",),
            ("How many {goods} can {name} buy?",),
            "{name} can buy {c} {goods}",
        ),
        "more": Final(
            ("{other} has {b} dollars more than {name}",),
            ("How much do they have together?",),
            "together they have {c} dollars",
        ),
        "fewer": Final(
            ("{other} has {b} dollars less than {name}",),
            ("How much do they have together?",),
            "together they have {c} dollars",
        ),
        "times": Final(
            ("{other} has {b} times as much money",),
            ("How many dollars does {other} have?",),
            "{other} has {c} dollars",
        ),
        "need": Final(
            ("a bicycle costs {a} dollars",),
            ("How many more dollars does {name} need to buy it?",),
            "{name} needs {c} more dollars",
        ),
    },
)
