"""What can be said about the invented town: things, attributes, questions and fillers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something that can be asked about a thing.

    Attributes:
        question: How a prompt asks for it.
        statements: Two sentences that say it; `{value}` is what they say, `{thing}` a name.
        values: What it can be.
    """

    question: str
    statements: tuple[str, str]
    values: tuple[str, ...]


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = ("February", "April", "June", "August", "October", "December")
_HOURS = ("six", "seven", "eight", "nine", "ten", "eleven")

THINGS: dict[str, tuple[str, ...]] = {
    "shops": tuple(
        f"{n} shop" for n in ("Lantern", "Anchor", "Thistle", "Acorn", "Pebble", "Compass")
    ),
    "ferries": tuple(
        f"ferry {n}" for n in ("Aurora", "Marigold", "Neptune", "Dolphin", "Juniper", "Comet")
    ),
    "birds": ("moss wren", "salt gull", "dusk owl", "reed finch", "cliff martin", "marsh crane"),
    "festivals": tuple(
        f"{n} Festival" for n in ("Lamp", "Apple", "Kite", "Boat", "Bread", "Snow")
    ),
}

ATTRIBUTES: dict[str, tuple[Attribute, ...]] = {
    "shops": (
        Attribute(
            "what it sells",
            ("It sells {value}.", "The {thing} is the place to buy {value}."),
            ("candles", "honey", "rope", "boots", "maps", "cheese"),
        ),
        Attribute(
            "when it opens",
            ("It opens at {value}.", "The {thing} opens its doors at {value}."),
            _HOURS,
        ),
        Attribute(
            "where it is",
            ("It stands on {value}.", "You find the {thing} on {value}."),
            ("Mill Lane", "Harbour Street", "Church Hill", "Bridge Road", "Castle Square", "Oak Row"),
        ),
        Attribute(
            "who runs it",
            ("It is run by {value}.", "The owner of the {thing} is {value}."),
            ("Agnes", "Bruno", "Clara", "Dmitri", "Esther", "Felix"),
        ),
        Attribute(
            "which day it is closed",
            ("It is closed on {value}.", "The {thing} stays shut on {value}."),
            _DAYS,
        ),
    ),
    "ferries": (
        Attribute(
            "where it goes",
            ("It goes to {value}.", "The {thing} takes you to {value}."),
            ("Gull Island", "Long Island", "Seal Bay", "Pine Point", "Abbey Rock", "North Cove"),
        ),
        Attribute(
            "when it leaves",
            ("It leaves at {value}.", "The {thing} casts off at {value}."),
            _HOURS,
        ),
        Attribute(
            "what a ticket costs",
            ("A ticket costs {value} coins.", "A seat on the {thing} costs {value} coins."),
            ("two", "three", "four", "five", "twelve", "twenty"),
        ),
        Attribute(
            "who the captain is",
            ("Its captain is {value}.", "The {thing} sails under captain {value}."),
            ("Greta", "Hugo", "Irene", "Jonas", "Karin", "Leon"),
        ),
        Attribute(
            "which day it rests",
            ("It does not sail on {value}.", "The {thing} stays in port on {value}."),
            _DAYS,
        ),
    ),
    "birds": (
        Attribute(
            "where it nests",
            ("It nests in {value}.", "You see the nest of the {thing} in {value}."),
            ("old walls", "tall reeds", "hollow trees", "sea caves", "barn roofs", "thorn hedges"),
        ),
        Attribute(
            "what it eats",
            ("It eats {value}.", "The {thing} feeds on {value}."),
            ("snails", "berries", "small fish", "beetles", "grass seeds", "worms"),
        ),
        Attribute(
            "what colour its eggs are",
            ("Its eggs are {value}.", "The {thing} lays eggs that are {value}."),
            ("white", "blue", "green", "brown", "grey", "pink"),
        ),
        Attribute(
            "when it arrives",
            ("It arrives in {value}.", "The first {thing} of the year comes in {value}."),
            _MONTHS,
        ),
        Attribute(
            "what its call is like",
            ("Its call is like {value}.", "The {thing} sounds like {value}."),
            ("a bell", "a whistle", "a creaking door", "a drum", "a flute", "a cough"),
        ),
    ),
    "festivals": (
        Attribute(
            "when it is held",
            ("It is held in {value}.", "The {thing} takes place in {value}."),
            _MONTHS,
        ),
        Attribute(
            "where people meet",
            ("People meet at {value}.", "The {thing} begins at {value}."),
            ("the harbour", "the market", "the old mill", "the school", "the tower", "the meadow"),
        ),
        Attribute(
            "what people wear",
            ("Everyone wears {value}.", "At the {thing} one wears {value}."),
            ("red scarves", "straw hats", "paper masks", "wool coats", "silver bells", "oak leaves"),
        ),
        Attribute(
            "what is eaten",
            ("The dish of the day is {value}.", "At the {thing} one eats {value}."),
            ("plum cake", "fish soup", "roast corn", "pea stew", "pancakes", "baked pears"),
        ),
        Attribute(
            "how long it lasts",
            ("It lasts {value} days.", "The {thing} is over after {value} days."),
            ("two", "three", "four", "five", "twelve", "twenty"),
        ),
    ),
}

REQUESTS = (
    "Tell me about the {thing}: {questions}.",
    "I would like to know about the {thing}: {questions}.",
    "A visitor asks about the {thing}: {questions}.",
    "Please answer for the {thing}: {questions}.",
)

FILLERS = (
    "That is a very good question.",
    "I am happy to help you with this.",
    "There is so much to say about our town.",
    "Many people ask about this every year.",
    "It is important to look at all sides of the matter.",
    "Let me explain this step by step.",
    "As you may know, every visit is different.",
    "Of course, much more could be said here.",
    "This is a topic that I find truly wonderful.",
    "I hope that this answer is useful to you.",
    "Please feel free to ask me anything else.",
    "In short, it is well worth your time.",
    "To sum up, there are many things to consider.",
    "You will surely have a lovely day.",
    "It goes without saying that details matter.",
    "All in all, this deserves a full answer.",
)
