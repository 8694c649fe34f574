"""The other small worlds of the pocket domain: a shop, shelves, a clock and a tank; `SETTINGS` holds all of them."""

from __future__ import annotations

from benchmarks.pocket.lexicon import BUS, FARM, PERSON, PURSE, SHELVED, TREATS, Final, Setting

BAKERY = Setting(
    items=TREATS,
    start=("A baker has {b} {items}", "A bakery opens with {b} {items}", "There are {b} {items} in a bakery"),
    start_two=(
        "A baker makes {a} {items} in the morning and {b} {items} at noon",
        "A bakery has {a} plain {items} and {b} sweet {items}",
    ),
    start_groups=("A baker fills {a} trays with {b} {items} each", "A baker makes {a} {items} an hour for {b} hours"),
    gain=("the baker makes {b} more", "{b} more {items} come out of the oven", "the baker adds {b} {items}"),
    lose=(
        "{name} buys {b} {items}",
        "the baker sells {b} {items}",
        "{b} of them get burnt",
        "{other} eats {b} of them",
    ),
    gain_groups=("the baker makes {a} trays of {b} {items} each", "the baker makes {a} {items} an hour for {b} hours"),
    lose_groups=("{a} people buy {b} {items} each", "the baker sells {a} {items} an hour for {b} hours"),
    double=("the baker doubles the number of {items}",),
    halve=("half of the {items} are sold", "the baker gives half of them to a school"),
    part=("{part} of the {items} are sold", "the baker gives {part} of them to a school"),
    finals={
        "total": Final(
            (), ("How many {items} are there now?", "How many {items} does the baker have?"), "there are {c} {items}"
        ),
        "pack": Final(
            ("{b} {items} fit into a box",),
            ("How many boxes does the baker need for all of them?",),
            "the baker needs {c} boxes",
        ),
        "share": Final(
            ("the baker splits them evenly among {b} shops",),
            ("How many {items} does each shop get?",),
            "each shop gets {c} {items}",
        ),
        "price": Final(
            ("each {item} costs {b} dollars",),
            ("How many dollars do all of them cost?",),
            "all of them cost {c} dollars",
        ),
        "need": Final(
            ("a school orders {a} {items}",),
            ("How many more {items} does the baker need?",),
            "the baker needs {c} more {items}",
        ),
    },
)

SHELF = Setting(
    items=SHELVED,
    start=("A library has {b} {items}", "There are {b} {items} on a shelf", "A shop has {b} {items}"),
    start_two=(
        "There are {a} old {items} and {b} new {items} on a shelf",
        "A shop has {a} {items} in front and {b} {items} in the back",
    ),
    start_groups=("A library has {a} shelves with {b} {items} each", "A shop unpacks {a} boxes of {b} {items} each"),
    gain=("{b} {items} are brought back", "{b} new {items} arrive", "{other} donates {b} {items}"),
    lose=("{b} {items} are lent out", "{other} borrows {b} {items}", "{b} of them are sold"),
    gain_groups=("{a} boxes of {b} {items} each arrive", "{a} people bring back {b} {items} each"),
    lose_groups=("{a} people borrow {b} {items} each", "{a} {items} are sold in each of {b} hours"),
    double=("the number of {items} doubles",),
    halve=("half of the {items} are lent out", "half of them are sold"),
    part=("{part} of the {items} are lent out", "{part} of them are sold"),
    finals={
        "total": Final((), ("How many {items} are there now?", "How many {items} are left?"), "there are {c} {items}"),
        "share": Final(
            ("they are split evenly among {b} boxes",),
            ("How many {items} are in each box?",),
            "each box holds {c} {items}",
        ),
        "price": Final(
            ("all of them are sold for {b} dollars each",),
            ("How many dollars is that in all?",),
            "that is {c} dollars in all",
        ),
        "need": Final(("there is room for {a} {items}",), ("How many more {items} fit?",), "{c} more {items} fit"),
    },
)

CLOCK = Setting(
    items=("minute",),
    start=("{name} has {b} minutes of free time", "{name} is free for {b} minutes"),
    start_two=("{name} has {a} free minutes before lunch and {b} free minutes after lunch",),
    start_groups=("{name} has {a} breaks of {b} minutes each",),
    gain=("lunch ends {b} minutes early", "{poss} {kin} gives {obj} {b} more minutes", "{sub} gets {b} extra minutes"),
    lose=("{sub} spends {b} minutes on {task}", "{task} takes {b} minutes", "{sub} talks to {other} for {b} minutes"),
    gain_groups=("{sub} gets {a} extra breaks of {b} minutes each",),
    lose_groups=("{sub} reads {a} pages at {b} minutes a page", "{sub} plays {a} games of {b} minutes each"),
    double=("{poss} {kin} doubles the time that {sub} has left",),
    halve=("{sub} spends half of the time on {task}",),
    part=("{sub} spends {part} of the time on {task}",),
    finals={
        "total": Final(
            (), ("How many minutes does {name} have left?", "How many minutes are left?"), "{c} minutes are left"
        ),
        "pack": Final(
            ("it takes {b} minutes to read a page",),
            ("How many pages can {name} read in the time that is left?",),
            "{name} can read {c} pages",
        ),
        "need": Final(
            ("{sub} needs {a} minutes to clean the kitchen",),
            ("How many more minutes does {sub} need?",),
            "{sub} needs {c} more minutes",
        ),
    },
)

TANK = Setting(
    items=("liter",),
    start=("A tank holds {b} liters of water", "There are {b} liters of water in a tank"),
    start_two=("A tank gets {a} liters of rain in May and {b} liters in June",),
    start_groups=(
        "A pump fills a tank with {a} liters a minute for {b} minutes",
        "{a} buckets of {b} liters each fill a tank",
    ),
    gain=("{name} pours in {b} liters", "rain adds {b} liters", "a pump adds {b} liters"),
    lose=("{name} takes out {b} liters", "{b} liters leak out", "{other} uses {b} liters"),
    gain_groups=("a pump adds {a} liters a minute for {b} minutes", "{name} pours in {a} buckets of {b} liters each"),
    lose_groups=("{a} liters an hour leak out for {b} hours", "{name} takes out {a} buckets of {b} liters each"),
    double=("the rain doubles the water in the tank",),
    halve=("{name} uses half of the water", "half of it leaks out"),
    part=("{name} uses {part} of the water", "{part} of it leaks out"),
    finals={
        "total": Final(
            (), ("How many liters are in the tank now?", "How many liters of water are left?"), "there are {c} liters"
        ),
        "share": Final(
            ("{name} uses the same amount on each of the next {b} days until the tank is empty",),
            ("How many liters does {name} use each day?",),
            "{name} uses {c} liters each day",
        ),
        "pack": Final(
            ("a plant needs {b} liters of water",),
            ("How many plants can {name} water?",),
            "{name} can water {c} plants",
        ),
        "need": Final(
            ("the tank has room for {a} liters",),
            ("How many more liters fit?",),
            "{c} more liters fit",
        ),
    },
)

SETTINGS = (PERSON, PERSON, PERSON, BUS, FARM, PURSE, PURSE, BAKERY, SHELF, CLOCK, TANK)
