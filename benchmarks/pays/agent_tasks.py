"""A small shop with three tools, and twenty tasks whose ends can be checked."""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INSTRUCTIONS: Final = (
    "You work in a shop that sells pens, cups, maps, lamps and chairs. Use the tools to find prices and stock, to "
    "calculate, and to order. Order only what the customer wants. When you are done, answer in one short sentence."
)
_GOODS: Final = {"pen": (2.5, 40), "cup": (6.0, 12), "map": (4.0, 25), "lamp": (24.0, 7), "chair": (55.0, 3)}
"""Price in euros and number in stock of each item."""
_OPERATORS: Final[Mapping[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass
class Shop:
    """The state that an agent changes. Each task has its own shop.

    Attributes:
        ordered: How many of each item were ordered.
    """

    ordered: dict[str, int] = field(default_factory=dict)

    def tools(self) -> list[Callable[..., str]]:
        """Return the three tools."""

        def look_up(item: str) -> str:
            """Say the price in euros and the number in stock of one item, for example of "pen"."""
            return self._look_up(item)

        def calculate(expression: str) -> str:
            """Calculate, for example "3 * 4.5 + 2"."""
            return calculated(expression)

        def order(item: str, quantity: int) -> str:
            """Order a number of one item for the customer."""
            return self._order(item, quantity)

        return [look_up, calculate, order]

    def _look_up(self, item: str) -> str:
        name = _name(item)
        if name not in _GOODS:
            return f"There is no item {item!r}. The items are {', '.join(_GOODS)}."
        price, stock = _GOODS[name]
        return f"{name}: price {price:g} euros each, {stock} in stock"

    def _order(self, item: str, quantity: int) -> str:
        name = _name(item)
        if name not in _GOODS:
            return f"There is no item {item!r}. The items are {', '.join(_GOODS)}."
        if not 0 < quantity <= _GOODS[name][1] - self.ordered.get(name, 0):
            return f"Not possible: {_GOODS[name][1] - self.ordered.get(name, 0)} of {name} are left."
        self.ordered[name] = self.ordered.get(name, 0) + quantity
        return f"Ordered: {quantity} of {name}."


def _name(item: str) -> str:
    name = item.strip().lower()
    return name.removesuffix("s")


def calculated(expression: str) -> str:
    """Return the value of a sum of numbers, or what is wrong with it."""
    try:
        return f"{round(_value(ast.parse(expression, mode='eval').body), 4):g}"
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError) as e:
        return f"This cannot be calculated: {e}"


def _value(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
    msg = "only numbers and + - * / // % are allowed"
    raise ValueError(msg)


@dataclass(frozen=True)
class Task:
    """What a customer wants, and the end that is right.

    Attributes:
        wish: The words of the customer.
        ordered: The right orders at the end.
        number: The number that the last message must contain. None: any message is right.
    """

    wish: str
    ordered: Mapping[str, int] = field(default_factory=dict)
    number: float | None = None

    def succeeded(self, shop: Shop, message: str) -> bool:
        """Return whether the orders and the last message are right."""
        numbers = {float(found.replace(",", "")) for found in _NUMBER.findall(message)}
        return shop.ordered == self.ordered and (self.number is None or self.number in numbers)


TASKS: Final = (
    Task("What does one lamp cost?", number=24),
    Task("How many chairs do you have in stock?", number=3),
    Task("What do 3 lamps cost together?", number=72),
    Task("What do 4 cups and 2 maps cost together?", number=32),
    Task("How many euros are all the maps in your stock worth?", number=100),
    Task("What is 17% of 2450?", number=416.5),
    Task("Please order 3 cups.", {"cup": 3}),
    Task("I want 2 lamps and 5 pens. Please order them.", {"lamp": 2, "pen": 5}),
    Task("Order one of each item that you sell.", dict.fromkeys(_GOODS, 1)),
    Task("Order all lamps that are in stock.", {"lamp": 7}),
    Task("I have 30 euros. Order as many pens as I can pay.", {"pen": 12}),
    Task("I have 20 euros. How many maps can I buy? Do not order anything.", number=5),
    Task("Order 10 chairs if you have that many. If not, order nothing and tell me how many you have.", number=3),
    Task("Order 20 maps if you have that many. If not, order nothing.", {"map": 20}),
    Task("Which is cheaper, a cup or a map? Order one of the cheaper item.", {"map": 1}),
    Task("Order 2 cups and tell me what they cost together.", {"cup": 2}, 12),
    Task("Order half of the cups that you have in stock.", {"cup": 6}),
    Task("I pay with 100 euros for 3 lamps. How much do I get back? Do not order anything.", number=28),
    Task("Order 4 maps and pay attention: I have 50 euros. Tell me how much money I have left.", {"map": 4}, 34),
    Task("What is the price of a chair after a discount of 20%?", number=44),
)
"""The tasks, in the order of the table."""
