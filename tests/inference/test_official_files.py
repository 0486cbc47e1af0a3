"""What is told of files of official weights."""

import pytest
import torch

from geomtp.checkpoints import export_official
from geomtp.encoders.presets import create_encoder
from geomtp.inference import weight_files
from geomtp.inference.official_files import fitting_encoder, kind_of_official, lines_on_official

TWO_STAGES = {
    "neck.fpn_convs.0.conv.weight": 8,
    "rpn_head.rpn_cls.weight": 3,
    "rpn_head.rpn_reg.weight": 12,
    "roi_head.bbox_head.fc_cls.weight": 21,
}
KINDS = [
    ({"encoder.pos_embed": 1, "semsegdecoder.decode_head.x": 1, "rotdetdecoder.neck.x": 1},
     "MTP, pretraining: semantic, rotated"),
    ({"backbone.pos_embed": 1, "head.fc.weight": 45}, "fine-tuned, scene (MMPretrain): 45 classes"),
    ({"backbone.x": 1, "decode_head.psp_modules.0.1.conv.weight": 8,
      "decode_head.conv_seg.weight": 7}, "fine-tuned, semantic (MMSegmentation): 7 classes"),
    ({"backbone.x": 1, "decode_head.blocks.0.conv1.0.weight": 8, "decode_head.conv_seg.weight": 2},
     "fine-tuned, change (Open-CD): 2 classes"),
    ({"backbone.x": 1, "bbox_head.retina_cls.weight": 540, "bbox_head.retina_reg.weight": 36},
     "fine-tuned, horizontal (MMDetection, RetinaNet): 60 classes"),
    ({"backbone.x": 1, **TWO_STAGES},
     "fine-tuned, horizontal (MMDetection, Faster R-CNN): 20 classes"),
    ({"backbone.x": 1, **TWO_STAGES, "roi_head.mask_head.conv_logits.weight": 20},
     "fine-tuned, instance (MMDetection, Mask R-CNN): 20 classes"),
    ({"backbone.x": 1, **TWO_STAGES, "rpn_head.rpn_reg.weight": 18},
     "fine-tuned, rotated (MMRotate, Oriented R-CNN): 20 classes"),
    ({"head.fc.weight": 1000}, None),
    ({"backbone.x": 1}, None),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "kind"), KINDS)
def test_kinds_of_whole_models(rows, kind):
    assert kind_of_official({key: torch.zeros(count, 1) for key, count in rows.items()}) == kind


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_the_encoder_that_fits(prefix, tmp_path):
    encoder = create_encoder("vit_s_rvsa", image_size=96, in_channels=4)
    tensors = {prefix + key: tensor for key, tensor in export_official(encoder).items()}
    fit = fitting_encoder(tensors)
    assert (fit.name, fit.image_size, fit.in_channels) == ("vit_s_rvsa", 96, 4)
    assert fit.total - fit.count == 10  # the stem, the positions, two tables in four blocks
    path = tmp_path / "official.pth"
    torch.save({"state_dict": tensors}, path)
    said = weight_files.inspect(path)
    assert "fits vit_s_rvsa: 235 of its 245 tensors in its shapes; made for 96 px and 4 ch" in said
    assert "--encoder vit_s_rvsa --image-size 96 --in-channels 4 --out OUT.safetensors" in said
    weight_files.import_weights(
        path, tmp_path / "ours.safetensors", encoder="vit_s_rvsa", image_size=96, in_channels=4
    )


def test_files_of_something_else_and_sizes_that_mean_nothing(tmp_path):
    assert lines_on_official({"layer1.0.conv1.weight": torch.zeros(8, 3, 3, 3)}) == []
    with pytest.raises(ValueError, match="image size and channels are those of the weights"):
        weight_files.import_weights("a.pth", "b.safetensors", like="c.safetensors", image_size=96)
    with pytest.raises(FileNotFoundError, match="a folder: name a file in it"):
        weight_files.inspect(tmp_path)
