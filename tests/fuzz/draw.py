"""Random values of one call: the same for the same seed and number, whatever other calls there are."""

import math
import random
from dataclasses import dataclass, field

import numpy as np
import torch

NAN, INFINITY = math.nan, math.inf


class UsersError(Exception):
    """Raised by code that stands for a user's: it must arrive unchanged."""


class Draw(random.Random):
    """Random choices of call ``number`` of a campaign."""

    def __new__(cls, seed, number):
        return super().__new__(cls)

    def __init__(self, seed, number):
        super().__init__(f"{seed}/{number}")
        self.number = number
        self.noted = []

    def chance(self, share):
        """Return True in this share of the cases."""
        return self.random() < share

    def note(self, text):
        """Keep what was chosen, for the description of the call."""
        self.noted.append(text)

    def junk(self):
        """Return a value that hardly any argument takes; a new object at every call."""
        kind = self.choice(list(JUNK))
        return JUNK[kind]()

    def ids(self, *shape, low=3, high=60):
        """Return random token ids."""
        count = math.prod(shape)
        return torch.tensor([self.randrange(low, high) for _ in range(count)], dtype=torch.long).reshape(shape)

    def flags(self, *shape, share=0.5):
        """Return a random mask."""
        return torch.tensor([self.chance(share) for _ in range(math.prod(shape))], dtype=torch.bool).reshape(shape)

    def numbers(self, *shape, scale=1.0):
        """Return random numbers."""
        return torch.tensor([self.gauss(0, scale) for _ in range(math.prod(shape))]).reshape(shape)

    def some(self, table, most=3, wrong=0.08):
        """Return a few keyword arguments: values from lists by name; a share of them junk."""
        names = self.sample(list(table), k=min(len(table), self.randrange(most + 1)))
        return {name: self.junk() if self.chance(wrong) else self.choice(table[name]) for name in names}


JUNK = {
    "none": lambda: None,
    "text": lambda: "nonsense",
    "empty text": lambda: "",
    "bytes": lambda: b"x",
    "true": lambda: True,
    "minus one": lambda: -1,
    "zero": lambda: 0,
    "half": lambda: 0.5,
    "huge": lambda: 2**70,
    "huge float": lambda: 1e300,
    "nan": lambda: NAN,
    "infinity": lambda: INFINITY,
    "complex": lambda: 1j,
    "list": lambda: [],
    "nested list": lambda: [[1, 2], [3]],
    "list of none": lambda: [None],
    "tuple": lambda: (1, 2, 3),
    "dict": lambda: {},
    "dict of numbers": lambda: {3: 0.5},
    "dict of text": lambda: {"policy": "Edit"},
    "set": lambda: {1},
    "object": object,
    "class": lambda: dict,
    "function": lambda: print,
    "array": lambda: np.ones(3),
    "numpy number": lambda: np.float32(0.5),
    "tensor": lambda: torch.ones(2),
    "whole tensor": lambda: torch.tensor(3),
    "nan tensor": lambda: torch.full((1, 12), NAN),
    "empty tensor": lambda: torch.zeros(0),
    "meta tensor": lambda: torch.ones(1, 12, device="meta"),
    "module": lambda: torch.nn.Linear(2, 2),
    "range": lambda: range(3),
}


@dataclass
class Call:
    """One call of a public entry.

    Attributes
    ----------
    entry : str
        For the table of counts.
    run : callable
        Makes the call.
    check : callable
        Takes what it returned; raises ``AssertionError`` if that is not well formed.
    outcome : callable
        Takes what it returned and names the outcome.
    text : str
        Describes the call.
    subject : Subject or None
        Whose model it uses.
    inputs : object
        What must be unchanged afterwards.
    plain : callable or None
        The same without this package: an error that it raises too is the model's own.
    samples : bool
        Whether the call may use torch's random numbers.
    generates : bool
        Whether the model generates, after which it remembers the prompt's positions as after a plain generation.
    errors : tuple of type
        Errors that are documented for this entry beside the usual ones.
    mode : str
        In which the call is made: a name in ``oracle.MODES``.
    """

    entry: str
    run: object
    check: object = lambda found: None
    text: str = ""
    subject: object = None
    inputs: object = None
    plain: object = None
    samples: bool = False
    generates: bool = False
    errors: tuple = ()
    mode: str = "usual"
    outcome: object = lambda found: "returned"
    number: int = -1
    notes: list = field(default_factory=list)
