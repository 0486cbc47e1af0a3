"""The tasks that follow pretraining, in a whole model."""

import pytest
import torch

from geomtp.model import ModelConfig, SourceConfig, build_model, load, save
from geomtp.types import Batch, ClassMap, Targets

LAND = SourceConfig(ClassMap(("field", "forest", "water")), tasks=("scene",))
PAIR = SourceConfig(ClassMap(("building",)), tasks=("semantic", "change"))


def small_model(encoder="resnet10t"):
    torch.manual_seed(0)
    options = {} if encoder == "resnet10t" else {"pyramid": False}
    config = ModelConfig(
        encoder=encoder,
        image_size=64,
        sources={"land": LAND, "pair": PAIR},
        encoder_options={"drop_path": 0.0, **options},
        semantic_channels=8,
        change_channels=(16, 8, 8, 8),
    )
    return build_model(config)


def batches(labelled=True):
    torch.manual_seed(1)
    maps = torch.randint(0, 2, (2, 64, 64), dtype=torch.uint8)
    land = [Targets(scene_class=2 if labelled else None)] * 2
    pair = [Targets(semantic=m, change=1 - m) if labelled else Targets() for m in maps]
    images = torch.randn(3, 2, 3, 64, 64)
    sizes = ((64, 64), (64, 48))
    return {
        "land": Batch(images[0], tuple(land), sizes, "land"),
        "pair": Batch(images[1], tuple(pair), sizes, "pair", images_after=images[2]),
    }


@pytest.mark.parametrize("encoder", ["resnet10t", "vit_t_rvsa"])
def test_every_parameter_is_trained_and_both_ways_of_summing_agree(encoder):
    model = small_model(encoder).eval()  # batch norm and dropout would draw or move
    losses = model.loss(batches())
    assert set(losses) == {"scene/class/land", "semantic/pixel/pair", "change/pixel/pair"}
    sum(losses.values()).backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    missing = {name for name, _ in model.named_parameters()} - set(whole)
    assert all(".norm." in name or "fpn" in name for name in missing), missing
    model.zero_grad()
    total, parts = model.total_loss(batches())
    total.backward()
    for name, value in losses.items():
        assert float(parts[name]) == pytest.approx(float(value.detach()), rel=1e-5)
    for name, gradient in whole.items():
        own = dict(model.named_parameters())[name].grad
        torch.testing.assert_close(own, gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_losses_without_labels_are_zero_and_finite():
    model = small_model().train()
    total, losses = model.total_loss(batches(labelled=False))
    total.backward()
    assert float(total.detach()) == 0
    assert all(float(value) == 0 for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_change_looks_at_both_dates_of_the_same_place():
    model = small_model().eval()
    batch = batches()["pair"]
    sizes, after = batch.image_sizes_hw, batch.images_after
    found = model.predict(batch.images, sizes, "pair", images_after=after)
    second = model.predict(batch.images[1:], sizes[1:], "pair", images_after=after[1:])[0]
    torch.testing.assert_close(found[1].change_logits, second.change_logits, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        found[1].semantic_logits, second.semantic_logits, rtol=1e-3, atol=1e-4
    )
    turned = model.predict(after, sizes, "pair", images_after=batch.images)
    torch.testing.assert_close(turned[0].change_logits, found[0].change_logits)
    assert not torch.equal(turned[0].semantic_logits, found[0].semantic_logits)
    with pytest.raises(ValueError, match="images of pair need those of a second date"):
        model.predict(batch.images, sizes, "pair")


def test_it_is_saved_and_read_again(tmp_path):
    model = small_model().eval()
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config == model.config
    land = batches()["land"]
    first = model.predict(land.images, land.image_sizes_hw, "land")
    second = again.predict(land.images, land.image_sizes_hw, "land")
    assert torch.equal(first[0].scene_logits, second[0].scene_logits)
