"""Stand-ins for packages that audiocraft imports and does not need to render. A real package is always preferred."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

import torch

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STEMS: Final = ("drums", "bass", "other", "vocals")
"""In the order of the separator that audiocraft asks for."""


def provide_missing_packages(names: Iterable[str] = ("av", "demucs", "num2words", "spacy", "xformers")) -> list[str]:
    """Provide a stand-in for each package that is not installed; return their names."""
    missing = [name for name in names if name not in sys.modules and importlib.util.find_spec(name) is None]
    for name in missing:
        for module in MAKERS[name]():
            sys.modules[module.__name__] = module
    return missing


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    # Other packages look for a specification to learn what is installed.
    module.__spec__ = ModuleSpec(name, None)
    for member, value in members.items():
        setattr(module, member, value)
    return module


# Attention. audiocraft uses torch's own, and this one for MAGNeT.


class LowerTriangularMask:
    """A causal mask, as an object."""


def memory_efficient_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: torch.Tensor | LowerTriangularMask | None = None,
    p: float = 0.0,
) -> torch.Tensor:
    """Attend over tensors of shape (batch, positions, heads, width)."""
    is_causal = isinstance(attn_bias, LowerTriangularMask)
    bias = attn_bias if isinstance(attn_bias, torch.Tensor) else None
    q, k, v = (each.transpose(1, 2) for each in (query, key, value))
    attended: torch.Tensor = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, dropout_p=p, is_causal=is_causal
    )
    return attended.transpose(1, 2)


def _xformers() -> list[ModuleType]:
    ops = _module(
        "xformers.ops",
        unbind=torch.unbind,
        LowerTriangularMask=LowerTriangularMask,
        memory_efficient_attention=memory_efficient_attention,
    )
    return [_module("xformers", ops=ops, __path__=[]), ops]


# Words and files, which no model needs that the backend opens.


def _not_there(package: str) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_named: object) -> NoReturn:
        raise errors.ModelInvalid(f"the model needs the package {package}, which this environment does not contain")

    return refuse


def _spacy() -> list[ModuleType]:
    return [_module("spacy", load=_not_there("spacy"))]


def _num2words() -> list[ModuleType]:
    return [_module("num2words", num2words=_not_there("num2words"))]


def _av() -> list[ModuleType]:
    return [_module("av", open=_not_there("av"))]


# The separator of a guide's voices. Without it the whole guide is the melody.


class _Unseparated:
    """A separator that finds all sound in one stem."""

    sources: ClassVar = list(STEMS)
    # The guide keeps its own rate, so it is not resampled there and back.
    samplerate = 0
    audio_channels = 1

    def to(self, _device: object) -> _Unseparated:
        return self


def _stems(_model: _Unseparated, sound: torch.Tensor, **_named: object) -> torch.Tensor:
    found = sound.new_zeros(sound.shape[0], len(STEMS), *sound.shape[1:])
    found[:, STEMS.index("other")] = sound
    return found


def _mono(sound: torch.Tensor, _from_rate: int, _to_rate: int, _channels: int) -> torch.Tensor:
    return sound.mean(dim=1, keepdim=True)


def _demucs() -> list[ModuleType]:
    pretrained = _module("demucs.pretrained", get_model=lambda _name: _Unseparated())
    parts = [pretrained, _module("demucs.apply", apply_model=_stems), _module("demucs.audio", convert_audio=_mono)]
    members = SimpleNamespace(**{part.__name__.rpartition(".")[2]: part for part in parts})
    return [_module("demucs", __path__=[], **vars(members)), *parts]


MAKERS: Final[dict[str, Callable[[], list[ModuleType]]]] = {
    "av": _av,
    "demucs": _demucs,
    "num2words": _num2words,
    "spacy": _spacy,
    "xformers": _xformers,
}
