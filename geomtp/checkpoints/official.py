"""Official weights into our modules and back: applying key tables in both directions.

No model is known here. A module that has an official counterpart keeps its own table beside it and
offers it through ``HasOfficialKeys``; the other protocols are for modules that need more. A module
implements a protocol by having its methods, it need not inherit from it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

PREFIXES = ("", "encoder.", "backbone.")
"""What may stand before the keys of a part: nothing, or its name in a full model of MTP
("encoder.") or in a fine-tuned model of the OpenMMLab frameworks ("backbone.")."""

CLASS_TOKEN = "cls_token"
MAE_PARTS = (CLASS_TOKEN, "mask_token", "decoder_")


@runtime_checkable
class HasOfficialKeys(Protocol):
    """A module whose tensors have official names."""

    def official_keys(self) -> dict[str, str]:
        """Our state-dict key → official key, for every tensor that has a counterpart.

        The official keys are those of the file that holds this module alone, without ``encoder.``
        or ``backbone.``; a whole model gives the keys of the whole official file.
        """
        ...


@runtime_checkable
class HasOtherOfficialKeys(HasOfficialKeys, Protocol):
    """A module whose tensors have other names in official files of another kind."""

    def other_official_keys(self) -> dict[str, str]:
        """As ``official_keys`` for that kind of file, which is read, not written; may be empty."""
        ...


@runtime_checkable
class FitsOfficialTensors(HasOfficialKeys, Protocol):
    """A module that can take some official tensors of another shape, made for another image size.

    Modules without this method take tensors as they are.
    """

    def fit_official(self, our_key: str, tensor: Tensor, /) -> Tensor:
        """The official ``tensor`` in the shape of our ``our_key``; as it is where it needs nothing.

        Called for every tensor that is imported. Position tables come without class token. A tensor
        that may not be resized is returned as it is: the import then refuses it by name.
        """
        ...


@runtime_checkable
class HasOfficialConstants(HasOfficialKeys, Protocol):
    """A module whose official file also holds tensors that are no weights of ours."""

    def official_constants(self) -> dict[str, Tensor]:
        """Official key → tensor, for what our settings determine (indices) or nobody uses.

        On import these keys are passed over; on export these tensors are written, so that the
        official code can load the file strictly.
        """
        ...


@runtime_checkable
class IgnoresOfficialKeys(HasOfficialKeys, Protocol):
    """A module that has no use for some tensors of official files."""

    def official_ignored(self) -> dict[str, str]:
        """Official key → why it is not imported, in a few words."""
        ...


@dataclass(frozen=True)
class ImportReport:
    """What ``import_official`` did; ``str`` of it is a short table.

    - used: our keys that were filled
    - missing: our keys that the file does not hold; they keep their values
    - unexpected: official keys that we have no place for and know no reason to ignore
    - interpolated: (our key, official shape, our shape) of tensors that were resized
    - ignored: official key → why it was not used
    - prefix: what stood before the keys in the file
    """

    used: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    interpolated: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    ignored: Mapping[str, str]
    prefix: str

    def __str__(self) -> str:
        resized = [f"{key} {old} → {new}" for key, old, new in self.interpolated]
        reasons = Counter(self.ignored.values())
        rows = {
            "used": (len(self.used), [f"keys begin with {self.prefix!r}"] if self.prefix else []),
            "interpolated": (len(resized), resized),
            "missing": (len(self.missing), self.missing),
            "unexpected": (len(self.unexpected), self.unexpected),
            "ignored": (len(self.ignored), [f"{n} × {why}" for why, n in reasons.items()]),
        }
        return "\n".join(
            f"{name:<12} {count:>5}  {_some(list(items))}".rstrip()
            for name, (count, items) in rows.items()
        )


def import_official(state_dict: Mapping[str, Tensor], into: nn.Module) -> ImportReport:
    """Load official weights into a module, all or nothing.

    A leading ``module.`` is removed. Of the possible prefixes (and kinds of files) that one is
    taken under which most of the module's official keys are found, so an encoder takes its part out
    of a full model of MTP, a fine-tuned model or its own file alike. An encoder takes the weights
    of a masked autoencoder without class token, mask token and decoder (spec: checkpoints,
    backbones 1.7).

    Args:
        state_dict: official key → tensor.
        into: a module that offers ``official_keys``.

    Returns:
        What was used, is missing, unexpected, resized and ignored.

    Raises:
        ValueError: the module has no official counterpart, nothing in the file belongs to it, or
            tensors do not fit; the module is unchanged then.
    """
    tensors = {key.removeprefix("module."): tensor for key, tensor in state_dict.items()}
    tables = [_table(into)]
    if isinstance(into, HasOtherOfficialKeys):
        tables.append(into.other_official_keys())
    table, prefix = max(
        itertools.product(tables, PREFIXES),
        key=lambda naming: sum(naming[1] + official in tensors for official in naming[0].values()),
    )
    ignored = {key: f"outside of {prefix}*" for key in tensors if not key.startswith(prefix)}
    part = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    known = _known_reasons(into)
    part, of_autoencoder = _without_autoencoder(part, {*table.values(), *known})
    ignored |= {prefix + key: why for key, why in of_autoencoder.items()}

    own = into.state_dict()
    fitted, interpolated = _fitted(into, {o: part[f] for o, f in table.items() if f in part}, own)
    if not fitted:
        raise ValueError(
            f"nothing in these weights belongs to {type(into).__name__}: "
            f"expected keys such as {_some(list(table.values()))}; found {_some(list(state_dict))}"
        )
    missing = set(into.load_state_dict(fitted, strict=False).missing_keys)

    left = [key for key in part if key not in table.values()]
    ignored |= {prefix + key: known[key] for key in left if key in known}
    return ImportReport(
        used=tuple(fitted),
        missing=tuple(key for key in own if key in missing),
        unexpected=tuple(prefix + key for key in left if key not in known),
        interpolated=interpolated,
        ignored=ignored,
        prefix=prefix,
    )


def export_official(module: nn.Module) -> dict[str, Tensor]:
    """The module's weights under their official keys: the inverse of ``import_official``.

    Returns:
        Official key → tensor, copies on the module's device, official constants included. Tensors
        of ours that have no official counterpart are left out.

    Raises:
        ValueError: the module has no official counterpart.
    """
    table = _table(module)
    own = module.state_dict()
    exported = {official: own[our].detach().clone() for our, official in table.items()}
    if isinstance(module, HasOfficialConstants):
        exported |= module.official_constants()
    return exported


def _table(module: nn.Module) -> dict[str, str]:
    """The module's key table, checked: every key of ours exists, no official key comes twice."""
    if not isinstance(module, HasOfficialKeys):
        raise ValueError(
            f"{type(module).__name__} has no official counterpart (no method official_keys)"
        )
    table = module.official_keys()
    unknown = sorted(table.keys() - module.state_dict().keys())
    if unknown:
        raise ValueError(f"{type(module).__name__} holds no {_some(unknown)}; mend its key table")
    twice = sorted(key for key, times in Counter(table.values()).items() if times > 1)
    if twice:
        raise ValueError(f"the key table of {type(module).__name__} names {_some(twice)} twice")
    return table


def _without_autoencoder(
    part: dict[str, Tensor], expected: set[str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights less what only a masked autoencoder uses, and what that was.

    ``expected``: official keys that the module has, or has left out for reasons of its own.
    """
    foreign = [key for key in part if key.startswith(MAE_PARTS) and key not in expected]
    kept = {key: tensor for key, tensor in part.items() if key not in foreign}
    if CLASS_TOKEN in foreign and "pos_embed" in kept:
        kept["pos_embed"] = kept["pos_embed"][:, 1:]  # its first position is the class token's
    return kept, dict.fromkeys(foreign, "only for masked autoencoding")


def _fitted(
    module: nn.Module, found: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]]:
    """Our key → tensor in our shape, and which were resized. Raises ValueError for misfits."""
    fitted: dict[str, Tensor] = {}
    interpolated, misfits = [], []
    for key, tensor in found.items():
        fit = (
            module.fit_official(key, tensor) if isinstance(module, FitsOfficialTensors) else tensor
        )
        was, now, want = tuple(tensor.shape), tuple(fit.shape), tuple(own[key].shape)
        if now != want:
            misfits.append(f"{key}: the file has {was}, the module {want}")
        elif was != now:
            interpolated.append((key, was, now))
        fitted[key] = fit
    if misfits:
        raise ValueError(
            f"{len(misfits)} official tensors do not fit into {type(module).__name__} — "
            f"{_some(misfits, separator='; ')}; build it with the settings of the file"
        )
    return fitted, tuple(interpolated)


def _known_reasons(module: nn.Module) -> dict[str, str]:
    """Official key → why the module passes it over."""
    reasons: dict[str, str] = {}
    if isinstance(module, HasOfficialConstants):
        reasons |= dict.fromkeys(module.official_constants(), "follows from the settings")
    if isinstance(module, IgnoresOfficialKeys):
        reasons |= module.official_ignored()
    return reasons


def _some(items: list[str], count: int = 4, separator: str = ", ") -> str:
    """The first few items in one line."""
    more = f"{separator}… ({len(items) - count} more)" if len(items) > count else ""
    return separator.join(items[:count]) + more
