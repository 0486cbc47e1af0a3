import pytest
import torch
from torch import Tensor, nn

from geomtp.checkpoints import (
    export_official,
    import_official,
    read_foreign,
    resize_position_table,
    resize_relative_table,
)

SIDE = 4


class Stack(nn.Module):
    """Convolutions with a position table; officially the layers have other names."""

    def __init__(self, side: int = SIDE, with_bias: bool = True) -> None:
        super().__init__()
        self.side = side
        self.stem = nn.Conv2d(3, 8, 3)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 1, bias=with_bias), nn.BatchNorm2d(8))
        self.pos_embed = nn.Parameter(torch.randn(1, side * side, 8))
        self.relative = nn.Parameter(torch.randn(2 * side - 1, 8))

    def official_keys(self) -> dict[str, str]:
        return {key: official_name(key) for key in self.state_dict()}

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        if key == "pos_embed":
            return resize_position_table(tensor, (self.side, self.side))
        if key == "relative":
            return resize_relative_table(tensor, len(self.relative))
        return tensor

    def official_constants(self) -> dict[str, Tensor]:
        return {"index": torch.arange(self.side)}

    def official_ignored(self) -> dict[str, str]:
        return {"norm.weight": "no forward pass uses it"}


def official_name(key: str) -> str:
    key = key.replace("stem.", "patch_embed.proj.").replace("relative", "attn.rel_pos_h")
    return key.replace("body.0.", "blocks.0.conv.").replace("body.1.", "blocks.0.norm.")


class Plain(nn.Module):
    """A module with a key table and nothing else."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(2, width)

    def official_keys(self) -> dict[str, str]:
        return {"fc.weight": "head.weight", "fc.bias": "head.bias"}


def assert_same(have: nn.Module, want: nn.Module) -> None:
    for key, tensor in want.state_dict().items():
        assert torch.equal(have.state_dict()[key], tensor), key


@pytest.mark.parametrize("prefix", ["", "encoder.", "backbone.", "module.encoder.", "module."])
def test_every_prefix_round_trips(prefix):
    source, target = Stack(), Stack()
    source.body[1].running_mean += 3
    source.body[1].num_batches_tracked += 7
    official = {prefix + key: tensor for key, tensor in export_official(source).items()}
    report = import_official(official, into=target)
    assert_same(target, source)
    assert set(report.used) == set(source.state_dict())
    assert report.missing == report.unexpected == report.interpolated == ()
    assert report.prefix == prefix.removeprefix("module.")
    assert report.ignored == {report.prefix + "index": "follows from the settings"}


def test_export_gives_official_names_values_and_constants():
    module = Stack()
    official = export_official(module)
    assert set(official) == {
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "blocks.0.conv.weight",
        "blocks.0.conv.bias",
        *(f"blocks.0.norm.{n}" for n in ("weight", "bias", "running_mean", "running_var")),
        "blocks.0.norm.num_batches_tracked",
        "pos_embed",
        "attn.rel_pos_h",
        "index",
    }
    assert torch.equal(official["patch_embed.proj.weight"], module.stem.weight)
    assert official["index"].tolist() == [0, 1, 2, 3]
    assert not any(tensor.requires_grad for tensor in official.values())
    with torch.no_grad():
        module.stem.weight.zero_()
    assert official["patch_embed.proj.weight"].abs().sum() > 0


def test_a_full_model_and_another_image_size():
    source, target = Stack(side=6), Stack(side=4)
    official = {f"encoder.{key}": tensor for key, tensor in export_official(source).items()}
    official |= {"encoder.norm.weight": torch.ones(8), "encoder.extra": torch.ones(1)}
    official |= {f"semsegdecoder.{i}": torch.ones(1) for i in range(5)}
    del official["encoder.patch_embed.proj.bias"]
    bias = target.stem.bias.detach().clone()
    report = import_official(official, into=target)
    assert report.missing == ("stem.bias",)
    assert torch.equal(target.stem.bias, bias)
    assert report.unexpected == ("encoder.extra",)
    assert report.interpolated == (
        ("pos_embed", (1, 36, 8), (1, 16, 8)),
        ("relative", (11, 8), (7, 8)),
    )
    assert torch.equal(target.pos_embed, resize_position_table(source.pos_embed, (4, 4)))
    assert torch.equal(target.relative, resize_relative_table(source.relative, 7))
    assert report.ignored["encoder.norm.weight"] == "no forward pass uses it"
    assert report.ignored["semsegdecoder.3"] == "outside of encoder.*"
    assert str(report).splitlines() == [
        "used            10  keys begin with 'encoder.'",
        "interpolated     2  pos_embed (1, 36, 8) → (1, 16, 8), relative (11, 8) → (7, 8)",
        "missing          1  stem.bias",
        "unexpected       1  encoder.extra",
        "ignored          7  5 × outside of encoder.*, 1 × follows from the settings, "
        "1 × no forward pass uses it",
    ]


@pytest.mark.parametrize("side", [4, 6])
def test_masked_autoencoders_lose_class_token_and_decoder(side):
    source, target = Stack(side), Stack(4)
    official = export_official(source)
    of_token = torch.full((1, 1, 8), 100.0)
    official |= {
        "cls_token": torch.zeros(1, 1, 8),
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_blocks.0.weight": torch.zeros(2),
        "pos_embed": torch.cat([of_token, official["pos_embed"]], dim=1),
    }
    report = import_official(official, into=target)
    assert torch.equal(target.pos_embed, resize_position_table(source.pos_embed, (4, 4)))
    assert [key for key, why in report.ignored.items() if "autoencoding" in why] == [
        "cls_token",
        "mask_token",
        "decoder_blocks.0.weight",
    ]


class WithToken(nn.Module):
    """A module that has a class token itself."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 2))
        self.pos_embed = nn.Parameter(torch.randn(1, 5, 2))

    def official_keys(self) -> dict[str, str]:
        return {"cls_token": "cls_token", "pos_embed": "pos_embed"}


def test_a_module_with_a_class_token_keeps_its_position():
    source, target = WithToken(), WithToken()
    report = import_official(export_official(source), into=target)
    assert_same(target, source)
    assert report.ignored == {}


def test_other_types_are_converted():
    source, target = Stack(), Stack()
    official = {key: tensor.half() for key, tensor in export_official(source).items()}
    import_official(official, into=target)
    assert target.stem.weight.dtype == torch.float32
    torch.testing.assert_close(target.stem.weight, source.stem.weight, atol=1e-3, rtol=1e-3)


def test_misfits_are_named_and_nothing_is_loaded():
    target = Plain(width=4)
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    official = export_official(Plain(width=6)) | {"head.weight": torch.zeros(4, 2)}
    with pytest.raises(ValueError, match=r"fc.bias: the file has \(6,\), the module \(4,\)"):
        import_official(official, into=target)
    for key, tensor in before.items():
        assert torch.equal(target.state_dict()[key], tensor)


def test_weights_of_something_else_are_refused():
    strange = {f"layer{i}.weight": torch.zeros(1) for i in range(6)}
    with pytest.raises(ValueError) as caught:
        import_official(strange, into=Plain())
    assert str(caught.value) == (
        "nothing in these weights belongs to Plain: expected keys such as head.weight, head.bias; "
        "found layer0.weight, layer1.weight, layer2.weight, layer3.weight, … (2 more)"
    )


def test_modules_without_or_with_a_wrong_table_are_named():
    with pytest.raises(ValueError, match="Linear has no official counterpart"):
        import_official({}, into=nn.Linear(1, 1))
    with pytest.raises(ValueError, match="Linear has no official counterpart"):
        export_official(nn.Linear(1, 1))
    module = Plain()
    module.official_keys = lambda: {"fc.weight": "head.weight", "gone": "head.gone"}
    with pytest.raises(ValueError, match="Plain holds no gone"):
        export_official(module)
    module.official_keys = lambda: {"fc.weight": "head.weight", "fc.bias": "head.weight"}
    with pytest.raises(ValueError, match=r"names head.weight twice"):
        export_official(module)


def test_through_a_file(tmp_path):
    source, target = Stack(), Stack()
    weights = {f"module.encoder.{k}": t for k, t in export_official(source).items()}
    torch.save({"state_dict": weights, "epoch": 1}, tmp_path / "official.pth")
    import_official(read_foreign(tmp_path / "official.pth"), into=target)
    assert_same(target, source)
