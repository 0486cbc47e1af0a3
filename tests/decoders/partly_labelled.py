"""Images of which not all is labelled, and what every detector has to make of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geomtp.decoders.decoder import Decoder
from geomtp.types import FeaturePyramid, SizeHW, Targets

HOUSE = Targets(boxes=torch.tensor([[4.0, 4.0, 40.0, 36.0]]), box_labels=torch.tensor([1]))
NO_HOUSE = Targets(boxes=torch.zeros(0, 4), box_labels=torch.zeros(0, dtype=torch.long))
UNLABELLED = (Targets(), Targets())


def trained_losses(
    decoder: Decoder,
    pyramid: FeaturePyramid,
    targets: Sequence[Targets],
    size_hw: SizeHW = (64, 64),
) -> dict[str, Tensor]:
    """The losses of "town", which were seen to be finite and to reach all but the layers of "sea".

    Of two images without any label they are zero together.
    """
    losses = decoder.loss(pyramid, targets, [size_hw] * 2, "town")
    total = torch.stack(list(losses.values())).sum()
    assert total.isfinite()
    total.backward()
    for name, parameter in decoder.named_parameters():
        if "sea" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    if tuple(targets) == UNLABELLED:
        assert float(total.detach()) == 0
    return losses
