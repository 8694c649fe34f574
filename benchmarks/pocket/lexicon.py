"""Words of the pocket domain: people, things, and the sentences that problems are made of.

Every clause is a sentence without its full stop. `{a}` and `{b}` are the numbers of the clause in reading order; where
a clause carries one number only it is `{b}`, because it is the right operand of the step it leads to. The other slots
are filled by the scene. No clause holds a cue word of the method ("wait", "yes", "check", "another", ...): cues belong
to the checks of a trace alone.
"""

from __future__ import annotations

from dataclasses import dataclass

GIRLS = (  # noqa: SIM905 - a list literal takes a line a word
    "Mia Ada Zoe Lena Nora Ruth Ivy Emma Clara Tess Maya Rosa Lucy Jane Olga Nina Anna Sara Leah Dora Hana Iris "
    "Kate Lily Elsa Faye Gwen Joan Mona Tara"
).split()
BOYS = (  # noqa: SIM905 - a list literal takes a line a word
    "Ben Tom Sam Leo Max Omar Paul Finn Hugo Noah Ivan Luke Carl Dean Eric Fred Glen Hans Jack Karl Liam Mark Nick "
    "Otto Pete Ravi Seth Theo Umar Will"
).split()
THINGS = (  # noqa: SIM905 - a list literal takes a line a word
    "apples marbles stickers pencils cookies shells cards coins buttons stamps beads balloons flowers stones nuts "
    "candies crayons ribbons badges pears lemons muffins magnets feathers keys tickets plums pens erasers dolls"
).split()
BOXES = ("boxes", "bags", "packs", "baskets", "jars", "trays", "tins", "sacks")
KIN = ("sister", "brother", "mother", "father", "aunt", "uncle", "cousin", "grandmother", "teacher", "neighbor")
STOPS = ("museum", "park", "school", "market", "harbor", "library", "stadium", "bridge", "zoo", "hospital")
GOODS = ("notebooks", "caps", "sandwiches", "puzzles", "plants", "scarves", "cups", "toys")
JOBS = ("washing cars", "walking dogs", "cutting grass", "painting fences", "selling juice", "feeding cats")
ASIDES = (
    "The walk to school takes {n} minutes",
    "It is {n} degrees outside",
    "There are {n} houses in the street",
    "The shop closes in {n} minutes",
    "Some of them are {n} years old",
    "It has rained for {n} days",
)
LINKS = ("Then ", "Later, ", "After that, ", "Next, ", "In the evening, ", "The next day, ", "", "", "")


@dataclass(frozen=True)
class Final:
    """A way to end a problem: what is asked, and what the last step says.

    Attributes:
        clauses: Sentences that bring the last number; empty where the running total itself is asked for.
        questions: Wordings of the question.
        now: What the last step concludes, with `{c}` for its result; also the answer line.
    """

    clauses: tuple[str, ...]
    questions: tuple[str, ...]
    now: str


@dataclass(frozen=True)
class Setting:
    """A small world with its own sentences for the same few operations."""

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
    now: str
    finals: dict[str, Final]


PERSON = Setting(
    items=tuple(THINGS),
    start=(
        "{name} has {b} {items}",
        "{name} starts with {b} {items}",
        "{name} owns {b} {items}",
        "At first {name} has {b} {items}",
    ),
    start_two=(
        "{name} has {a} red {items} and {b} blue {items}",
        "{name} has {a} {items} at home and {b} {items} at school",
        "{name} finds {a} {items} on Monday and {b} on Tuesday",
    ),
    start_groups=("{name} has {a} {boxes} with {b} {items} in each", "{name} buys {a} {boxes} of {b} {items} each"),
    gain=(
        "{other} gives {obj} {b} more",
        "{sub} finds {b} more",
        "{sub} buys {b} more {items}",
        "{poss} {kin} brings {obj} {b} {items}",
        "{sub} wins {b} {items} in a game",
        "{name} gets {b} {items} as a gift",
        "{sub} collects {b} more {items}",
        "{other} hands {name} {b} {items}",
    ),
    lose=(
        "{sub} gives {b} {items} to {other}",
        "{sub} loses {b} of them",
        "{sub} sells {b} {items}",
        "{sub} leaves {b} {items} at school",
        "{other} takes {b} of them",
        "{name} trades away {b} {items}",
        "{poss} {kin} borrows {b} {items}",
        "{sub} drops {b} {items} on the way home",
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
    now="{name} has {c} {items}",
    finals={
        "total": Final(
            (),
            ("How many {items} does {name} have now?", "How many {items} does {name} have in the end?"),
            "{name} has {c} {items}",
        ),
        "share": Final(
            ("{sub} shares them equally among {b} friends", "{sub} puts them into {b} equal {boxes}"),
            ("How many {items} are in each share?", "How many {items} is that for each?"),
            "each share has {c} {items}",
        ),
        "price": Final(
            ("{sub} sells all of them for {b} dollars each", "a shop pays {b} dollars for each of them"),
            ("How many dollars does {sub} get?", "How much money does {name} make?"),
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
        "need": Final(
            ("{name} wants to have {a} {items}", "{sub} needs {a} {items} for a party"),
            ("How many more {items} does {sub} need?", "How many {items} are missing?"),
            "{c} {items} are missing",
        ),
    },
)

BUS = Setting(
    items=("passengers",),
    start=(
        "A bus leaves with {b} passengers",
        "There are {b} passengers on a bus",
        "A train starts with {b} passengers",
    ),
    start_two=("A bus has {a} passengers upstairs and {b} downstairs", "{a} women and {b} men are on a bus"),
    start_groups=("A train has {a} cars with {b} passengers in each", "{a} groups of {b} people are on a bus"),
    gain=("{b} people get on at the {stop}", "{b} more people get on", "at the {stop} {b} passengers join"),
    lose=("{b} people get off at the {stop}", "{b} passengers leave", "at the {stop} {b} people step out"),
    gain_groups=("{a} groups of {b} people get on", "{a} families of {b} people join at the {stop}"),
    lose_groups=("{a} groups of {b} people get off", "{a} people get off at each of {b} stops"),
    double=("the number of passengers doubles at the {stop}",),
    halve=("half of the passengers get off at the {stop}", "half of them leave"),
    now="there are {c} passengers",
    finals={
        "total": Final(
            (),
            ("How many passengers are there now?", "How many people are still on board?"),
            "there are {c} passengers",
        ),
        "share": Final(
            ("the passengers split into {b} equal groups",),
            ("How many people are in each group?",),
            "each group has {c} people",
        ),
        "price": Final(
            ("each of them pays {b} dollars",), ("How many dollars is that in all?",), "they pay {c} dollars"
        ),
        "need": Final(("there is room for {a} passengers",), ("How many seats are free?",), "{c} seats are free"),
    },
)

FARM = Setting(
    items=("hens", "sheep", "goats", "ducks", "cows", "rabbits"),
    start=("A farmer has {b} {items}", "There are {b} {items} on a farm", "A farm starts the year with {b} {items}"),
    start_two=(
        "A farmer has {a} white {items} and {b} brown {items}",
        "There are {a} young and {b} old {items} on a farm",
    ),
    start_groups=("A farm has {a} barns with {b} {items} in each", "A farmer keeps {a} pens of {b} {items} each"),
    gain=(
        "the farmer buys {b} {items}",
        "{b} {items} are born",
        "{b} more {items} arrive",
        "a neighbor brings {b} {items}",
    ),
    lose=(
        "the farmer sells {b} {items}",
        "{b} {items} run away",
        "{b} of them go to {other}",
        "the farmer gives {b} {items} to a school",
    ),
    gain_groups=("the farmer buys {a} pens of {b} {items} each", "{a} {items} are born in each of {b} weeks"),
    lose_groups=("the farmer sells {a} {items} to each of {b} neighbors", "{a} carts take away {b} {items} each"),
    double=("the number of {items} doubles", "the farmer buys as many {items} as there already are"),
    halve=("half of the {items} are sold", "half of them move to {other}'s farm"),
    now="there are {c} {items}",
    finals={
        "total": Final(
            (), ("How many {items} are on the farm now?", "How many {items} are left?"), "there are {c} {items}"
        ),
        "share": Final(
            ("the {items} are put into {b} equal pens",),
            ("How many {items} are in each pen?",),
            "each pen has {c} {items}",
        ),
        "price": Final(
            ("each of them is worth {b} dollars",),
            ("How many dollars are they worth in all?",),
            "they are worth {c} dollars",
        ),
        "times": Final(
            ("{other}'s farm has {b} times as many {items}",),
            ("How many {items} does {other} have?",),
            "{other} has {c} {items}",
        ),
        "need": Final(
            ("the farmer wants {a} {items}",), ("How many more {items} are needed?",), "{c} {items} are missing"
        ),
    },
)

PURSE = Setting(
    items=("dollars",),
    start=("{name} has {b} dollars", "{name} has saved {b} dollars", "In {name}'s purse there are {b} dollars"),
    start_two=(
        "{name} saves {a} dollars in May and {b} dollars in June",
        "{name} has {a} dollars in a purse and {b} in a jar",
    ),
    start_groups=("{name} earns {a} dollars an hour for {b} hours", "{name} saves {a} dollars a week for {b} weeks"),
    gain=(
        "{sub} earns {b} dollars by {job}",
        "{poss} {kin} gives {obj} {b} dollars",
        "{sub} finds {b} dollars",
        "{other} pays {obj} back {b} dollars",
    ),
    lose=(
        "{sub} spends {b} dollars on {goods}",
        "{sub} gives {b} dollars to {poss} {kin}",
        "{sub} pays {b} dollars for a ticket",
        "{sub} lends {other} {b} dollars",
    ),
    gain_groups=(
        "{sub} earns {a} dollars an hour for {b} hours of {job}",
        "{sub} sells {a} {goods} for {b} dollars each",
    ),
    lose_groups=("{sub} buys {a} {goods} for {b} dollars each", "{sub} spends {a} dollars a day for {b} days"),
    double=("{poss} {kin} doubles the money",),
    halve=("{sub} spends half of the money on {goods}", "{sub} gives half of it to {other}"),
    now="{name} has {c} dollars",
    finals={
        "total": Final(
            (), ("How many dollars does {name} have now?", "How much money is left?"), "{name} has {c} dollars"
        ),
        "share": Final(
            ("{sub} splits the money evenly over {b} weeks",),
            ("How many dollars is that a week?",),
            "each week gets {c} dollars",
        ),
        "more": Final(
            ("{other} has {b} dollars more than {name}",),
            ("How much do they have together?",),
            "together they have {c} dollars",
        ),
        "times": Final(
            ("{other} has {b} times as much money",),
            ("How many dollars does {other} have?",),
            "{other} has {c} dollars",
        ),
        "need": Final(("a bicycle costs {a} dollars",), ("How many dollars are missing?",), "{c} dollars are missing"),
    },
)

SHELF = Setting(
    items=("books", "papers", "maps", "films", "games"),
    start=("A library has {b} {items}", "There are {b} {items} on a shelf", "A shop starts the day with {b} {items}"),
    start_two=(
        "There are {a} old {items} and {b} new {items} on a shelf",
        "A shop has {a} {items} in front and {b} in the back",
    ),
    start_groups=("A library has {a} shelves with {b} {items} each", "A shop unpacks {a} {boxes} of {b} {items} each"),
    gain=(
        "{b} {items} are brought back",
        "{b} new {items} arrive",
        "{other} donates {b} {items}",
        "{b} more {items} are put there",
    ),
    lose=(
        "{b} {items} are lent out",
        "{other} borrows {b} {items}",
        "{b} of them are sold",
        "{b} {items} are thrown away",
    ),
    gain_groups=("{a} {boxes} of {b} {items} each arrive", "{a} people bring back {b} {items} each"),
    lose_groups=("{a} people borrow {b} {items} each", "{a} {items} are sold in each of {b} hours"),
    double=("the number of {items} doubles",),
    halve=("half of the {items} are lent out", "half of them are sold"),
    now="there are {c} {items}",
    finals={
        "total": Final((), ("How many {items} are there now?", "How many {items} are left?"), "there are {c} {items}"),
        "share": Final(
            ("they are put into {b} equal {boxes}",), ("How many {items} are in each?",), "each one holds {c} {items}"
        ),
        "price": Final(
            ("they are all sold for {b} dollars each",), ("How many dollars is that in all?",), "they bring {c} dollars"
        ),
        "need": Final(("there is room for {a} {items}",), ("How many more {items} fit?",), "{c} more {items} fit"),
    },
)

SETTINGS = (PERSON, PERSON, PERSON, BUS, FARM, PURSE, SHELF)
