import pytest
import torch

from geomtp.checkpoints import resize_position_table, resize_relative_table
from tests.golden import fill
from tests.golden_cases import GoldenCase


def of_file(case: GoldenCase, official_key: str) -> torch.Tensor:
    """A tensor of the case's checkpoint file."""
    shape = case.info["file_keys"][official_key]
    array = fill.fill(official_key.removeprefix("encoder."), shape, "public-ckpt")
    return torch.from_numpy(array)


@pytest.mark.parametrize(
    "name, key, has_class_token",
    [
        ("load_seg_mtp_112_to_144", "encoder.pos_embed", False),
        ("load_seg_mae_112_to_144", "pos_embed", True),
    ],
)
def test_positions_equal_the_reference(name, key, has_class_token):
    case = GoldenCase.read(name)
    resized = resize_position_table(of_file(case, key), (9, 9), has_class_token)
    torch.testing.assert_close(resized, case.tensor("pos_embed"), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "key", ["blocks.2.attn.full_attn_rel_pos_h", "blocks.5.attn.full_attn_rel_pos_w"]
)
def test_relative_tables_equal_the_reference(key):
    case = GoldenCase.read("load_seg_mtp_112_to_144")
    resized = resize_relative_table(of_file(case, f"encoder.{key}"), 17)
    torch.testing.assert_close(resized, case.tensor(f"loaded:{key}"), atol=1e-6, rtol=0)


def test_what_fits_stays_as_it_is():
    pos = torch.randn(1, 9, 4)
    assert torch.equal(resize_position_table(pos, (3, 3)), pos)
    assert torch.equal(resize_position_table(pos[:, :5], (2, 2), True), pos[:, 1:5])
    table = torch.randn(13, 64)
    assert torch.equal(resize_relative_table(table, 13), table)


def test_a_plane_stays_a_plane_on_oblong_grids_and_in_half_precision():
    rows = torch.linspace(0, 1, 8).repeat_interleave(8)
    pos = torch.stack([rows, torch.full((64,), 2.0)], dim=1)[None].to(torch.bfloat16)
    resized = resize_position_table(pos, (4, 16))
    assert resized.shape == (1, 64, 2)
    assert resized.dtype == torch.bfloat16
    by_row = resized[0].unflatten(0, (4, 16)).float()  # (rows, columns, 2)
    assert torch.equal(by_row[..., 1], torch.full((4, 16), 2.0))
    assert torch.equal(by_row[:, 0, 0], by_row[:, 15, 0])
    assert (by_row[1:, 0, 0] > by_row[:-1, 0, 0]).all()


def test_other_shapes_are_named():
    with pytest.raises(ValueError, match=r"square grid, got 10 entries \(without a class token\)"):
        resize_position_table(torch.zeros(1, 10, 4), (4, 4))
    with pytest.raises(ValueError, match=r"got 8 entries \(after a class token\)"):
        resize_position_table(torch.zeros(1, 9, 4), (4, 4), has_class_token=True)
