"""The attentions against the reference's numbers."""

import pytest
import torch

from geomtp.encoders.attention import GlobalAttention, RotatedVariedSizeWindowAttention
from tests.golden_cases import GoldenCase


@pytest.mark.parametrize(
    ("name", "grid_hw"), [("rvsa_attention_10x23", (10, 23)), ("rvsa_attention_16x16", (16, 16))]
)
def test_rvsa_equals_the_reference(name, grid_hw):
    case = GoldenCase.read(name)
    attention = RotatedVariedSizeWindowAttention(width=64, num_heads=4)
    weights = {
        key.removeprefix("attn.").replace(".2.", "."): value
        for key, value in case.weights().items()
    }
    missing = attention.load_state_dict(weights, strict=False).missing_keys
    assert missing == ["relative_position_index"]
    x = case.tensor("x").requires_grad_()
    y = attention(x.unflatten(1, grid_hw)).flatten(1, 2)
    case.compare("y", y)
    y.square().sum().backward()
    case.compare_gradient("grad:x", x.grad)
    stored = {key for key in case.info["tensors"] if key.startswith("grad:") and key != "grad:x"}
    compared = set()
    for key, parameter in attention.named_parameters():
        official = "grad:" + key.replace("s.weight", "s.2.weight").replace("s.bias", "s.2.bias")
        if official in stored:
            case.compare_gradient(official, parameter.grad)
            compared.add(official)
    assert compared == stored
    assert attention.relative_position_index.equal(case.tensor("relative_position_index"))


def test_global_attention_equals_the_reference():
    case = GoldenCase.read("full_attention_8x8")
    attention = GlobalAttention(width=64, num_heads=4, grid_hw=(8, 8), rel_pos=True)
    attention.load_state_dict({k.removeprefix("attn."): v for k, v in case.weights().items()})
    x = case.tensor("x").requires_grad_()
    y = attention(x.unflatten(1, (8, 8))).flatten(1, 2)
    case.compare("y", y)
    y.square().sum().backward()
    case.compare_gradient("grad:x", x.grad)
    for key in ("full_attn_rel_pos_h", "full_attn_rel_pos_w", "qkv.weight", "qkv.bias"):
        case.compare_gradient(f"grad:{key}", attention.get_parameter(key).grad)


def test_folded_positions_equal_the_explicit_bias():
    torch.manual_seed(0)
    attention = GlobalAttention(width=24, num_heads=2, grid_hw=(5, 3), rel_pos=True)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    tokens = torch.randn(2, 5, 3, 24)
    qkv = attention.qkv(tokens).view(2, 15, 3, 2, 12).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0] * 12**-0.5, qkv[1], qkv[2]
    bias = torch.empty(2, 2, 15, 15)
    for p in range(15):
        for r in range(15):
            row = attention.full_attn_rel_pos_h[p // 3 - r // 3 + 4]
            column = attention.full_attn_rel_pos_w[p % 3 - r % 3 + 2]
            bias[:, :, p, r] = query[:, :, p] @ (row + column)
    weights = (query @ key.transpose(-1, -2) + bias).softmax(-1)
    expected = attention.proj((weights @ value).transpose(1, 2).reshape(2, 5, 3, 24))
    torch.testing.assert_close(attention(tokens), expected, rtol=1e-4, atol=1e-4)
