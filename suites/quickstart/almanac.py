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


THINGS: dict[str, tuple[str, ...]] = {
    "shops": ("Lantern shop", "Anchor shop", "Thistle shop"),
    "ferries": ("ferry Aurora", "ferry Neptune", "ferry Juniper"),
    "birds": ("moss wren", "dusk owl", "reed finch"),
    "festivals": ("Lamp Festival", "Kite Festival", "Bread Festival"),
}

# No value belongs to two attributes of the town, so each sentence can be judged by its words.
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
            ("six", "seven", "eight", "nine", "ten", "eleven"),
        ),
        Attribute(
            "where it is",
            ("It stands on {value}.", "You find the {thing} on {value}."),
            (
                "Mill Lane",
                "Harbour Street",
                "Church Hill",
                "Bridge Road",
                "Castle Square",
                "Oak Row",
            ),
        ),
        Attribute(
            "who runs it",
            ("It is run by {value}.", "The owner of the {thing} is {value}."),
            ("Agnes", "Bruno", "Clara", "Dmitri", "Esther", "Felix"),
        ),
        Attribute(
            "which day it is closed",
            ("It is closed on {value}.", "The {thing} stays shut on {value}."),
            ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
        ),
        Attribute(
            "what colour its door is",
            ("Its door is {value}.", "You know the {thing} by its door in {value}."),
            ("red", "blue", "yellow", "orange", "purple", "turquoise"),
        ),
    ),
    "ferries": (
        Attribute(
            "where it goes",
            ("It goes to {value}.", "The {thing} takes you to {value}."),
            ("Gullholm", "Longstrand", "Sealcove", "Pinepoint", "Abbeyrock", "Northport"),
        ),
        Attribute(
            "when it leaves",
            ("It leaves at {value}.", "The {thing} casts off at {value}."),
            ("dawn", "sunrise", "noon", "teatime", "sunset", "midnight"),
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
            "which weather stops it",
            ("It stays in port in {value}.", "The {thing} does not sail in {value}."),
            ("fog", "ice", "thunder", "hail", "snow", "rain"),
        ),
        Attribute(
            "what it carries besides people",
            ("It also carries {value}.", "On board the {thing} there is room for {value}."),
            ("bicycles", "cattle", "coal", "timber", "apples", "mail"),
        ),
    ),
    "birds": (
        Attribute(
            "where it nests",
            ("It nests in {value}.", "You see the nest of the {thing} in {value}."),
            ("walls", "reeds", "treetops", "caves", "barns", "hedges"),
        ),
        Attribute(
            "what it eats",
            ("It eats {value}.", "The {thing} feeds on {value}."),
            ("snails", "berries", "minnows", "beetles", "seeds", "worms"),
        ),
        Attribute(
            "what its eggs look like",
            ("Its eggs are {value}.", "The {thing} lays eggs that are {value}."),
            ("spotted", "striped", "white", "brown", "green", "golden"),
        ),
        Attribute(
            "when it arrives",
            ("It arrives in {value}.", "The first {thing} of the year comes in {value}."),
            ("February", "April", "June", "August", "October", "December"),
        ),
        Attribute(
            "what its call is like",
            ("Its call is like a {value}.", "The {thing} sounds like a {value}."),
            ("bell", "whistle", "hinge", "drum", "flute", "cough"),
        ),
        Attribute(
            "what it fears",
            ("It fears {value}.", "Nothing scares the {thing} like {value}."),
            ("cats", "foxes", "hawks", "dogs", "weasels", "snakes"),
        ),
    ),
    "festivals": (
        Attribute(
            "where people meet",
            ("People meet at the {value}.", "The {thing} begins at the {value}."),
            ("harbour", "market", "mill", "school", "tower", "meadow"),
        ),
        Attribute(
            "what people wear",
            ("Everyone wears {value}.", "At the {thing} one wears {value}."),
            ("scarves", "hats", "masks", "coats", "ribbons", "gloves"),
        ),
        Attribute(
            "what is eaten",
            ("The dish of the day is {value}.", "At the {thing} one eats {value}."),
            ("cake", "soup", "corn", "stew", "pancakes", "pears"),
        ),
        Attribute(
            "what is played",
            ("The game of the day is {value}.", "At the {thing} one plays {value}."),
            ("chess", "bowls", "skittles", "tag", "darts", "marbles"),
        ),
        Attribute(
            "how it ends",
            ("It ends with a {value}.", "The {thing} comes to its end with a {value}."),
            ("dance", "bonfire", "concert", "race", "toast", "parade"),
        ),
        Attribute(
            "who opens it",
            ("It is opened by the {value}.", "The {thing} starts with a speech of the {value}."),
            ("mayor", "baker", "teacher", "doctor", "smith", "miller"),
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
