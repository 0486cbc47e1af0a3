"""The number of threads comes back."""

import pytest
import torch

from geomtp.geometry import rotated_iou, rotated_nms
from geomtp.geometry.threads import one_thread


@pytest.fixture
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_three_threads")
def test_one_thread_inside_and_the_former_number_after():
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("_three_threads")
def test_operators_leave_the_number_alone():
    boxes = torch.tensor([[5.0, 5.0, 4.0, 2.0, 0.0]], requires_grad=True)
    assert not rotated_iou(boxes, boxes).requires_grad
    assert rotated_nms(boxes, torch.ones(1, requires_grad=True), 0.5).tolist() == [0]
    with pytest.raises(ValueError, match="scores"):
        rotated_nms(boxes, torch.ones(2), 0.5)
    assert torch.get_num_threads() == 3
