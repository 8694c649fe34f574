"""A small shop with three tools, and twenty tasks whose ends can be checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INSTRUCTIONS: Final = (
    "You help the customers of a shop. You know no price and no stock, so get them with the tools. Place an order only "
    "if the customer wants to buy. When you have the results that the customer needs, call Answer."
)
Item = Literal["book", "rug", "pen", "cup", "map", "lamp", "chair"]
"""What the shop sells. No task is about the first two items, because the examples are about them."""
_GOODS: Final = {
    "book": (9.0, 30),
    "rug": (30.0, 5),
    "pen": (2.5, 40),
    "cup": (6.0, 12),
    "map": (4.0, 25),
    "lamp": (24.0, 7),
    "chair": (55.0, 3),
}
"""Price in euros and number in stock of each item."""


class Answer(BaseModel):
    """Tell the customer the number that was asked for, and finish."""

    number: float = Field(description="The number of the result: euros or pieces.")


@dataclass
class Shop:
    """The state that an agent changes. Each task has its own shop.

    Attributes:
        ordered: How many of each item were ordered.
    """

    ordered: dict[str, int] = field(default_factory=dict)

    def tools(self) -> list[Callable[..., str]]:
        """Return the three tools."""

        def get_price(item: Item, quantity: int) -> str:
            """Get the price of a quantity of one item."""
            return f"{quantity} {item} cost {_GOODS[item][0] * quantity:g} euros."

        def get_stock(item: Item) -> str:
            """Get how many of one item the shop has."""
            return f"The shop has {self._left(item)} {item}."

        def place_order(item: Item, quantity: int) -> str:
            """Order a quantity of one item for the customer."""
            return self._order(item, quantity)

        return [get_price, get_stock, place_order]

    def _left(self, item: str) -> int:
        return _GOODS[item][1] - self.ordered.get(item, 0)

    def _order(self, item: str, quantity: int) -> str:
        if not 0 < quantity <= self._left(item):
            return f"Not ordered: the shop has only {self._left(item)} {item}."
        self.ordered[item] = self.ordered.get(item, 0) + quantity
        return f"Ordered: {quantity} {item}."


@dataclass(frozen=True)
class Task:
    """What a customer wants, and the end that is right.

    Attributes:
        wish: The words of the customer.
        ordered: The right orders at the end.
        number: The number that the answer must have. None: any number is right.
    """

    wish: str
    ordered: Mapping[str, int] = field(default_factory=dict)
    number: float | None = None

    def succeeded(self, shop: Shop, answer: Answer | None) -> bool:
        """Return whether the orders and the answer are right."""
        return (
            answer is not None
            and shop.ordered == self.ordered
            and (self.number is None or answer.number == self.number)
        )


TASKS: Final = (
    # One call, whose arguments are the words of the customer.
    Task("What does one lamp cost?", number=24),
    Task("How much are 3 chairs?", number=165),
    Task("How many chairs do you still have?", number=3),
    Task("Are there any maps left, and how many?", number=25),
    Task("Do not order yet. I only want to know the price of 7 maps.", number=28),
    # One call, whose quantity the customer does not say as a number.
    Task("What would I pay for a dozen pens?", number=30),
    Task("I'll take half a dozen maps.", {"map": 6}),
    Task("We are 8 people. What does a cup for each of us cost?", number=48),
    Task("My two children need 3 pens each. Please order them.", {"pen": 6}),
    Task("Each of my 2 rooms needs 2 lamps. Please order them.", {"lamp": 4}),
    # Several calls.
    Task("I need a lamp and five pens. Please order them.", {"lamp": 1, "pen": 5}),
    Task("Order 2 cups and tell me what they cost together.", {"cup": 2}, 12),
    Task("Order 5 maps and tell me how many maps you have left then.", {"map": 5}, 20),
    Task("Order a chair for me, and tell me how many lamps you have.", {"chair": 1}, 7),
    Task("Order one of each: a pen, a cup and a map.", {"pen": 1, "cup": 1, "map": 1}),
    # What is right depends on a result.
    Task("Order all the lamps that you have.", {"lamp": 7}),
    Task("How many cups do you have? Order half of them.", {"cup": 6}),
    Task("Which is cheaper, a cup or a map? Order one of the cheaper item.", {"map": 1}),
    Task("What do 4 cups and 2 maps cost together?", number=32),
    Task("Order 10 chairs if you have that many. Otherwise tell me how many you have.", number=3),
)
"""The tasks, five of each kind, in the order of the table."""


def _called(id_: str, tool: str, result: str, **arguments: str | int) -> list[BaseMessage]:
    return [
        AIMessage("", tool_calls=[ToolCall(name=tool, args=arguments, id=id_)]),
        ToolMessage(result, tool_call_id=id_),
    ]


EXAMPLES: Final[tuple[BaseMessage, ...]] = (
    HumanMessage("What do 2 books cost?"),
    *_called("example1", "get_price", "2 book cost 18 euros.", item="book", quantity=2),
    *_called("example2", "Answer", "Answered.", number=18),
    HumanMessage("Order 4 rugs, and tell me how many books you have."),
    *_called("example3", "place_order", "Ordered: 4 rug.", item="rug", quantity=4),
    *_called("example4", "get_stock", "The shop has 30 book.", item="book"),
    *_called("example5", "Answer", "Answered.", number=30),
)
"""Two finished tasks, which come before each task. They show what calls look like."""
