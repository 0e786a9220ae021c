"""JSON merge patches (RFC 7396): what is sent are the fields that change; `null` gives one its default back. Pure."""

from functools import reduce
from operator import or_
from types import GenericAlias, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec


def merged(target: Any, patch: Any) -> Any:
    """The target with the patch applied; neither is changed. Section 2 of the RFC."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def patch_type(struct: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """What a patch of such a struct must look like: every field may be left out, and `null` if it has a default.

    Structs within it are treated alike; one that is chosen by a tag must be named by it, for its fields depend on that.
    """
    config = struct.__struct_config__
    fields = [
        (field.name, _or_left_out(_patched(field.type), field), msgspec.UNSET)
        for field in msgspec.structs.fields(struct)
    ]
    return msgspec.defstruct(
        f"{struct.__name__}Patch",
        fields,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        tag_field=config.tag_field,
        tag=config.tag,
        namespace={"__doc__": struct.__doc__},
    )


def _patched(kind: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return reduce(or_, (_patched(each) for each in get_args(kind)))
    if origin is dict:
        key, value = get_args(kind)
        return GenericAlias(dict, (key, _patched(value) | None))
    return patch_type(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else kind


def _or_left_out(kind: Any, field: msgspec.structs.FieldInfo) -> Any:
    return kind | msgspec.UnsetType if field.required else kind | NoneType | msgspec.UnsetType
