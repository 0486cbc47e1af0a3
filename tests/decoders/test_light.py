import numpy as np
import pytest
import torch

from geomtp.decoders.light import Light


def test_the_second_date_gets_the_statistics_of_the_first():
    light = Light.between(((90.0, 60.0), (12.0, 10.0)), ((60.0, 65.0), (6.0, 20.0)))
    assert light == Light((2.0, 0.5), (-30.0, 27.5))
    rng = np.random.default_rng(0)
    after = torch.tensor(rng.normal(size=(1, 2, 40, 40))) * torch.tensor([6.0, 20.0])[:, None, None]
    after += torch.tensor([60.0, 65.0])[:, None, None]
    mean, std = (100.0, 50.0), (40.0, 30.0)
    units = [torch.tensor(part)[:, None, None] for part in (mean, std)]
    found = light.applied((after - units[0]) / units[1], mean, std)
    # by hand, in the units of the files
    wanted = after * torch.tensor([2.0, 0.5])[:, None, None]
    wanted += torch.tensor([-30.0, 27.5])[:, None, None]
    torch.testing.assert_close(found, (wanted - units[0]) / units[1])


@pytest.mark.parametrize("gain, offset", [((1.0,), (0.0, 0.0)), ((0.0,), (1.0,))])
def test_what_is_no_light_is_refused(gain, offset):
    with pytest.raises(ValueError, match="a positive gain and an offset per channel"):
        Light(gain, offset)


def test_padding_becomes_the_mean():
    light, mean, std = Light((1.25, 0.8), (-10.0, 20.0)), (90.0, 100.0), (40.0, 50.0)
    value = light.becomes_mean(mean, std)
    # 1.25 · 80 − 10 = 90, and 0.8 · 100 + 20 = 100
    assert value == pytest.approx((-0.25, 0.0))
    images = torch.tensor(value)[None, :, None, None].expand(1, 2, 3, 3)
    torch.testing.assert_close(light.applied(images, mean, std), torch.zeros(1, 2, 3, 3))
