import pytest

import build_emoji as build
from build_emoji import Artist

BODY = '<path d="M0 0h10v10z"/>'


def artist(name: str, icons: list[str], aliases: dict | None = None, names: dict | None = None) -> Artist:
    drawn = {icon: {"body": BODY} for icon in icons}
    return Artist(name, {"icons": drawn, "aliases": aliases or {}, "width": 20, "height": 10}, names or {})


@pytest.mark.parametrize(
    ("group", "label", "family"),
    [
        ("people-body", "woman cook", "cook"),
        ("people-body", "cook", "cook"),
        ("people-body", "woman and man holding hands", "holding-hands"),
        ("people-body", "man walking: facing right", "walking"),
        ("people-body", "older person", "person"),
        ("people-body", "family: man, woman, boy", "family"),
        ("people-body", "Mrs. Claus", "claus"),
        ("objects", "man’s shoe", "mans-shoe"),
        ("food-drink", "piñata", "pinata"),
    ],
)
def test_families_join_what_differs_only_in_who_is_drawn(group, label, family):
    assert build.family(group, label) == family


def test_code_points_lose_variation_selectors():
    assert build.plain_code("1F3F3-FE0F-200D-1F308") == "1f3f3-200d-1f308"


def test_clock_faces_are_left_out_and_clocks_are_not():
    assert build.CLOCK_FACE.search("one o’clock")
    assert build.CLOCK_FACE.search("twelve-thirty")
    assert not build.CLOCK_FACE.search("alarm clock")


def test_an_alias_is_drawn_as_its_parent_turned():
    hands = artist("a", ["left"], {"right": {"parent": "left", "hFlip": True}, "again": {"parent": "right"}})
    assert hands.root("again") == "left"
    assert hands.root("none") is None
    assert 'transform=""' in hands.svg("left")
    assert "translate(20 0) scale(-1 1)" in hands.svg("again")  # 20 is the width


def test_a_drawing_without_code_points_is_found_by_name_and_used_once():
    labels = ["bear", "man: blond hair", "person: blond hair"]
    emoji = [{"thing": str(n), "label": label} for n, label in enumerate(labels)]
    names = {"0": "bear", "1": "man-blond-hair", "2": "person-blond-hair"}
    other = artist("new", list(names.values()), {"blond": {"parent": "person-blond-hair"}}, names)
    aliases = {"bear": {"parent": "bear-face"}, "man-blond-hair": {"parent": "person-blond-hair"}}
    old = artist("old", ["bear-face", "person-blond-hair"], aliases)
    # "man-blond-hair" is another name of the one drawing with blond hair: it comes first and takes it.
    assert build.icons_of(old, emoji, [other]) == {"0": "bear", "1": "man-blond-hair"}
    assert build.icons_of(other, emoji, []) == names
