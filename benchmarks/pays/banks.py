"""Facts for the general questions. Each bank has three lists: easy, medium and hard."""

from __future__ import annotations

from typing import Final

CAPITALS: Final[tuple[dict[str, str], ...]] = (
    {
        "France": "Paris",
        "Germany": "Berlin",
        "Italy": "Rome",
        "Spain": "Madrid",
        "Japan": "Tokyo",
        "China": "Beijing",
        "Russia": "Moscow",
        "Egypt": "Cairo",
        "Greece": "Athens",
        "Portugal": "Lisbon",
        "Ireland": "Dublin",
        "Austria": "Vienna",
    },
    {
        "Norway": "Oslo",
        "Finland": "Helsinki",
        "Hungary": "Budapest",
        "Peru": "Lima",
        "Kenya": "Nairobi",
        "Thailand": "Bangkok",
        "Cuba": "Havana",
        "Iran": "Tehran",
        "Chile": "Santiago",
        "Canada": "Ottawa",
        "Australia": "Canberra",
        "Vietnam": "Hanoi",
    },
    {
        "Slovenia": "Ljubljana",
        "Mongolia": "Ulaanbaatar",
        "Ghana": "Accra",
        "Senegal": "Dakar",
        "Latvia": "Riga",
        "Paraguay": "Asuncion",
        "Zambia": "Lusaka",
        "Laos": "Vientiane",
        "Uganda": "Kampala",
        "Bhutan": "Thimphu",
        "Mali": "Bamako",
        "Fiji": "Suva",
    },
)
"""Capitals by country."""

SYMBOLS: Final[tuple[dict[str, str], ...]] = (
    {
        "hydrogen": "H",
        "oxygen": "O",
        "carbon": "C",
        "nitrogen": "N",
        "helium": "He",
        "iron": "Fe",
        "gold": "Au",
        "sodium": "Na",
    },
    {
        "silver": "Ag",
        "copper": "Cu",
        "lead": "Pb",
        "tin": "Sn",
        "zinc": "Zn",
        "mercury": "Hg",
        "potassium": "K",
        "neon": "Ne",
    },
    {
        "tungsten": "W",
        "antimony": "Sb",
        "manganese": "Mn",
        "cadmium": "Cd",
        "rubidium": "Rb",
        "palladium": "Pd",
        "strontium": "Sr",
        "zirconium": "Zr",
    },
)
"""Chemical symbols by element."""

GERMAN: Final[tuple[dict[str, str], ...]] = (
    {
        "dog": "Hund",
        "house": "Haus",
        "water": "Wasser",
        "book": "Buch",
        "cat": "Katze",
        "mother": "Mutter",
        "bread": "Brot",
        "milk": "Milch",
    },
    {
        "bird": "Vogel",
        "window": "Fenster",
        "horse": "Pferd",
        "chair": "Stuhl",
        "train": "Zug",
        "city": "Stadt",
        "shoe": "Schuh",
        "key": "Schlüssel",
    },
    {
        "butterfly": "Schmetterling",
        "turtle": "Schildkröte",
        "spoon": "Löffel",
        "thunder": "Donner",
        "hedgehog": "Igel",
        "owl": "Eule",
        "elbow": "Ellbogen|Ellenbogen",
        "squirrel": "Eichhörnchen",
    },
)
"""German words by English word."""

WORDS: Final[tuple[tuple[str, ...], ...]] = (
    ("apple", "table", "green", "house", "cloud", "bread", "river", "stone", "light", "plant", "mouse", "chair"),
    ("kettle", "balloon", "pepper", "letter", "bottle", "banana", "carrot", "hammer", "summer", "coffee", "rabbit"),
    (
        "mississippi",
        "strawberry",
        "committee",
        "bookkeeper",
        "assessment",
        "television",
        "parallelogram",
        "accommodation",
    ),
)
"""Words to count letters in, and to sort."""
