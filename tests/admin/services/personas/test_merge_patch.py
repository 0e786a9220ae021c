"""Merge patches: what RFC 7396 shows in its appendix, and what a patch of a struct may look like."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from admin.services.personas.merge_patch import merged, patch_type


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # Appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_does_what_the_rfc_shows(target: Any, patch: Any, result: Any) -> None:
    before = msgspec.json.encode(target)
    assert merged(target, patch) == result
    assert msgspec.json.encode(target) == before


class Round(msgspec.Struct, tag_field="shape", tag="round"):
    radius_mm: int = 1


class Square(msgspec.Struct, tag_field="shape", tag="square"):
    side_mm: int = 1


class Plate(msgspec.Struct, kw_only=True):
    owner: Annotated[str, msgspec.Meta(max_length=5)]
    form: Round | Square = msgspec.field(default_factory=Round)
    colours: dict[Literal["rim", "middle"], str] = {}
    weight_g: int | None = None


PlatePatch = patch_type(Plate)


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"owner": "Ann"},
        {"form": None, "colours": None, "weight_g": None},
        {"form": {"shape": "square", "side_mm": None}},
        {"colours": {"rim": "red", "middle": None}},
    ],
)
def test_a_patch_says_what_it_changes_and_nothing_else(patch: dict[str, Any]) -> None:
    assert msgspec.to_builtins(msgspec.convert(patch, PlatePatch)) == patch


@pytest.mark.parametrize(
    "patch",
    [
        {"owner": None},  # it has no default to go back to
        {"owner": "Wilhelmina"},
        {"form": {"side_mm": 4}},
        {"form": {"shape": "square", "radius_mm": 4}},
        {"colours": {"edge": "red"}},
        {"price": 3},
        [],
    ],
)
def test_a_patch_that_no_plate_could_follow_is_refused(patch: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(patch, PlatePatch)
