"""Pass specs print and parse; every wrong option has its message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from graphprune import passes
from graphprune.errors import OptionError
from graphprune.pass_infra.base import Pass, option_infos, parse_spec
from graphprune.pass_infra.context import Context
from graphprune.passes.layer_cka import LayerCKA
from graphprune.plan.plan import Decision


@dataclass(frozen=True)
class Everything(Pass):
    """One option of every type."""

    name: ClassVar[str] = "everything"
    paper: ClassVar[str] = "none"

    count: int = field(default=3, metadata={"help": "a number"})
    share: float = field(default=0.5, metadata={"help": "a share"})
    loud: bool = field(default=False, metadata={"help": "a switch"})
    mode: Literal["a", "b"] = field(default="a", metadata={"help": "a choice"})
    keep: tuple[str, ...] = field(default=(), metadata={"help": "names"})
    limit: int | None = field(default=None, metadata={"help": "maybe a number"})

    def decide(self, context: Context) -> Decision:
        raise NotImplementedError


def everything(name: str) -> type[Pass]:
    assert name == "everything"
    return Everything


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("everything", Everything()),
        ("everything{}", Everything()),
        ("everything{count=7,share=0.25}", Everything(count=7, share=0.25)),
        ("everything{ loud=true , mode=b }", Everything(loud=True, mode="b")),
        ("everything{keep=x|y.*|z}", Everything(keep=("x", "y.*", "z"))),
        ("everything{limit=4}", Everything(limit=4)),
        ("everything{limit=auto}", Everything()),
    ],
)
def test_parse_and_print_again(spec: str, expected: Everything) -> None:
    parsed = parse_spec(spec, everything)
    assert parsed == expected
    assert parse_spec(str(parsed), everything) == expected


def test_prints_only_what_was_changed() -> None:
    assert str(Everything()) == "everything"
    assert str(Everything(loud=True, keep=("x", "y"))) == "everything{loud=true,keep=x|y}"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("everything{count=7", "has no closing brace"),
        ("everything{count}", "'count' in pass spec 'everything{count}' is not key=value"),
        ("everything{size=1}", "pass everything has no option 'size'; its options are: count, keep, limit"),
        ("everything{count=many}", "option count of pass everything is 'many', not a int"),
        ("everything{loud=yes}", "write true or false"),
        ("everything{mode=c}", "choose one of a, b"),
        ("everything{limit=few}", "option limit of pass everything is 'few'"),
    ],
)
def test_wrong_specs(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=r"(?s).*") as caught:
        parse_spec(spec, everything)
    assert message in str(caught.value)


def test_option_infos_tell_types_and_defaults() -> None:
    told = {info.name: (info.type, info.default, info.help) for info in option_infos(Everything)}
    assert told["limit"] == ("int or auto", "auto", "maybe a number")
    assert told["mode"] == ("a or b", "a", "a choice")
    assert told["keep"][0] == "names separated by |"


def test_a_pass_that_decides_nothing_cannot_be_made() -> None:
    @dataclass(frozen=True)
    class Idle(Pass):
        name: ClassVar[str] = "idle"
        paper: ClassVar[str] = "none"

    with pytest.raises(TypeError, match=r"abstract method '?decide"):
        Idle()  # type: ignore[abstract]


def test_registry() -> None:
    assert passes.find("layer-cka") is LayerCKA
    with pytest.raises(
        OptionError, match="there is no pass 'layer-xyz'; did you mean layer-kl; the passes are: layer-cka"
    ):
        passes.find("layer-xyz")
    assert all(info.help for name in passes.names() for info in option_infos(passes.find(name)))


def test_passes_folder_has_one_name() -> None:
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parent.parent.parent / "passes" / "__init__.py"
    spec = importlib.util.spec_from_file_location("passes", path)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=r"import graphprune\.passes"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_third_party_pass_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    entries = [EntryPoint("everything", f"{__name__}:Everything", "graphprune.passes")]
    monkeypatch.setattr(passes, "entry_points", lambda group: entries)
    assert passes.find("everything") is Everything
    assert passes.names() == [*passes._BUILT_IN, "everything"]
    entries[0] = EntryPoint("broken", "no.such.module:X", "graphprune.passes")
    with pytest.raises(OptionError, match="pass 'broken' cannot be imported"):
        passes.find("broken")
    entries[0] = EntryPoint("wrong", f"{__name__}:Everything", "graphprune.passes")
    with pytest.raises(OptionError, match="is not a pass named 'wrong'"):
        passes.find("wrong")
