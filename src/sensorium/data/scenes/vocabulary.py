"""The things that scenes are made of: what they are called in English and Chinese, and which pairs are held out.

names written below + emoji names -> tuple[Thing]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from sensorium.data import bundled
from sensorium.data.sample import Sample

LANGUAGES = ("en", "zh")
CLASSES = 10  # two things of one class never stand together in training
GROUPS = ("animals-nature", "food-drink", "objects", "travel-places", "activities")

# The rule. Things of GROUPS that all five artists drew and whose English name is one word; from these, by hand, 150
# that can stand alone and be called by one name only. Left out: names of several or uncountable things (grapes,
# bread), places, weather and signs that are not a thing (desert, fog, label), names that hold for another thing here
# too (bird, bug, poodle beside dog), and pairs that artists draw alike (pen and pencil, chicken and rooster).
_SEEN = """
monkey gorilla dog wolf fox cat lion tiger leopard horse cow boar camel rhinoceros rat hamster rabbit chipmunk bat
bear panda turkey rooster penguin eagle owl frog crocodile turtle lizard snake dragon whale dolphin fish octopus crab
shrimp squid snail butterfly ant honeybee scorpion bouquet rose tulip seedling cactus mushroom
melon tangerine lemon banana pear peach strawberry tomato avocado eggplant potato carrot cucumber croissant hamburger
pizza taco burrito egg doughnut cookie shortcake lollipop spoon amphora
necktie dress purse backpack crown lipstick ring megaphone bell microphone radio trumpet guitar violin telephone
battery laptop keyboard camera candle flashlight notebook scroll newspaper envelope postbox pencil crayon paintbrush
briefcase calendar clipboard pushpin paperclip wastebasket hammer dagger bomb shield gear microscope door bed toilet
bathtub coffin
volcano house castle fountain tent locomotive bus ambulance taxi tractor motorcycle bicycle anchor sailboat canoe
airplane satellite rocket watch stopwatch thermometer umbrella snowflake snowman
balloon ribbon trophy basketball ticket
"""
SEEN = tuple(_SEEN.split())

# The same rule among the one thing in ten that the emoji data holds out; two words where one does not fill 30.
_UNSEEN = """
unicorn deer pig goat elephant mouse koala dove duck shark spider sunflower watermelon pineapple handbag saxophone drum
printer television package key wrench telescope syringe monorail minibus speedboat helicopter rainbow
"""
UNSEEN = (*_UNSEEN.split(), "alarm clock")

_PLURALS = {
    **{name: name for name in ("fish", "shrimp", "squid", "deer")},
    **{name: f"{name}es" for name in ("potato", "tomato", "volcano")},
    "wolf": "wolves",
    "mouse": "mice",
}
_A_BEFORE_A_VOWEL = ("unicorn",)  # letters with the sound of "you"


@dataclass(frozen=True)
class Thing:
    """One thing. code: as the emoji data calls it; en, zh: its names; class_: 0 … CLASSES - 1, for held-out pairs."""

    code: str
    en: str
    zh: str
    class_: int

    def name(self, language: str) -> str:
        return self.zh if language == "zh" else self.en

    @property
    def plural(self) -> str:
        """The English plural: "dogs", "wolves"."""
        if self.en in _PLURALS:
            return _PLURALS[self.en]
        if self.en.endswith(("s", "x", "ch", "sh")):
            return f"{self.en}es"
        if self.en.endswith("y") and self.en[-2] not in "aeiou":
            return f"{self.en[:-1]}ies"
        return f"{self.en}s"

    @property
    def with_article(self) -> str:
        """ "a dog", "an owl"."""
        vowel = self.en[0] in "aeiou" and self.en not in _A_BEFORE_A_VOWEL
        return f"{'an' if vowel else 'a'} {self.en}"


def held_out(one: Thing, other: Thing) -> bool:
    """True for a pair that never stands together in training: two different things of one class."""
    return one != other and one.class_ == other.class_


@lru_cache(maxsize=4)
def vocabulary(unseen: bool = False, things: int = len(SEEN)) -> tuple[Thing, ...]:
    """The first `things` things by a hash of their names: of training, or the `unseen` ones.

    Dealt into CLASSES by their place in that order, so that each class has a tenth of them.
    """
    names = UNSEEN if unseen else SEEN
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:things]
    known = {sample.columns["text"]: sample.fields for sample in drawn()}
    return tuple(
        Thing(known[name]["thing"], name, known[name]["names"]["zh"], place % CLASSES)
        for place, name in enumerate(ordered)
    )


@lru_cache(maxsize=1)
def drawn() -> tuple[Sample, ...]:
    """The emoji samples of all things named here, by every artist; the data set is read once."""
    split_of = {**dict.fromkeys(SEEN, "train"), **dict.fromkeys(UNSEEN, "unseen_thing")}
    return tuple(
        sample
        for sample in bundled.emoji()
        if sample.fields["group"] in GROUPS
        and split_of.get(str(sample.columns["text"])) == sample.fields["split"]
    )
