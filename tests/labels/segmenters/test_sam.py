import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.geometry import decode_rle
from geomtp.labels import AnnotatedObject, Annotations
from geomtp.labels.masks.run_lengths import rle_area, rle_box
from geomtp.labels.segmenters.prompts import Frame, prompt_boxes
from geomtp.labels.segmenters.sam import SamSegmenter
from geomtp.labels.segmenters.sam_models import SamModels, load_sam
from tests.labels.tiny_sam import save

pytest.importorskip("transformers", reason="needs the extra 'sam'")

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return {kind: save(kind, root / kind) for kind in ("sam", "sam_hq", "sam2")}


@pytest.fixture(scope="module")
def sam(folders):
    return load_sam(folders["sam"])


def picture(folder, size_hw):
    path = folder / f"{size_hw[0]}x{size_hw[1]}.png"
    coarse = RNG.integers(0, 256, (size_hw[0] // 8 + 1, size_hw[1] // 8 + 1, 3), dtype=np.uint8)
    pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[: size_hw[0], : size_hw[1]]
    Image.fromarray(pixels).save(path)
    return path


def objects(count, size_hw, largest=30):
    height, width = size_hw
    rows = RNG.uniform([0, 0, 5, 5, -1.5], [width, height, largest, largest, 1.5], (count, 5))
    return tuple(AnnotatedObject("a", "1", rbox_cxcywha=tuple(row)) for row in rows.tolist())


class Echo(torch.nn.Module):
    """A stand-in for SAM whose mask is the prompt box itself, at the places that SAM gives it."""

    def __init__(self, side=1024):
        super().__init__()
        prompts = SimpleNamespace(image_size=side, patch_size=16)
        self.config = SimpleNamespace(prompt_encoder_config=prompts)
        self.side, self.embedded, self.decoded = side, 0, []

    def get_image_embeddings(self, pixel_values):
        assert pixel_values.shape == (1, 3, self.side, self.side)
        self.embedded += 1
        return torch.zeros(1, 1, 1, 1)

    def forward(self, image_embeddings, input_boxes, multimask_output):
        assert multimask_output
        self.decoded.append(input_boxes.shape[1])
        low = self.side // 4
        x1, y1, x2, y2 = ((input_boxes[0] + 0.5) / 4).split(1, dim=1)  # as SAM's prompt encoder
        centres = torch.arange(low) + 0.5
        # The distance to the box's edge, so that the zero of interpolated logits lies on the edge.
        along = torch.minimum(centres - x1, x2 - centres)
        across = torch.minimum(centres - y1, y2 - centres)
        box = torch.minimum(along[:, None, :], across[:, :, None])
        masks = torch.stack([-torch.ones_like(box), box, box + 9], dim=1)[None]
        scores = torch.tensor([0.2, 0.9, 0.5]).expand(1, len(box), 3)
        return SimpleNamespace(pred_masks=masks, iou_scores=scores)


def echo(side=1024, **settings):
    import transformers

    processor = transformers.SamImageProcessor()
    model = Echo(side)
    models = SamModels(model, processor, torch.device("cpu"), torch.float32)
    return model, SamSegmenter(models, **settings)


@pytest.mark.parametrize("size_hw", [(600, 800), (1024, 1024), (301, 1000), (1500, 1100)])
def test_prompts_arrive_where_the_boxes_lie(tmp_path, size_hw):
    """Through resizing, padding, prompt, mask and back: the box again, to half a pixel."""
    found = objects(12, size_hw, 200)
    _, segmenter = echo(window_px=2000)
    masks = segmenter.segment(picture(tmp_path, size_hw), Annotations("a.png", size_hw, found))
    pixel = max(size_hw) / 1024  # of the model's picture
    for mask, want in zip(masks, prompt_boxes(found, size_hw, "rh"), strict=True):
        assert (mask.prompt, mask.score) == ("rh", pytest.approx(0.9))
        if (want[2:] - want[:2]).min() > 10:
            got = np.array(rle_box(mask.rle, size_hw))
            assert np.abs(got - want).max() <= 0.5 * max(pixel, 1) + 0.5  # rounded to pixels


def test_large_images_are_embedded_once_per_window_and_decoded_in_batches(tmp_path):
    size = (1100, 2300)
    found = objects(40, size, 100)
    model, segmenter = echo(boxes_per_batch=7)
    path = picture(tmp_path, size)
    masks = segmenter.segment(path, Annotations("a.png", size, found))
    assert len(masks) == sum(model.decoded) == 40
    assert max(model.decoded) <= 7
    assert model.embedded <= 2 * 3
    whole = echo(window_px=4000)[1].segment(path, Annotations("a.png", size, found))
    for a, b in zip(masks, whole, strict=True):
        a, b = np.array(rle_box(a.rle, size)), np.array(rle_box(b.rle, size))
        if (a[2:] - a[:2]).min() > 25:  # a pixel of the smaller picture's mask has 9
            assert np.abs(a - b).max() <= 2.5


def test_small_objects_are_zoomed(tmp_path):
    size = (1000, 1000)
    item = AnnotatedObject("a", "1", rbox_cxcywha=(500.5, 500.25, 5, 4, 0))
    model, segmenter = echo(zoom_below_px=16)
    masks = segmenter.segment(picture(tmp_path, size), Annotations("a.png", size, (item,)))
    assert rle_box(masks[0].rle, size) == (498, 498, 503, 502)
    assert model.embedded == 1


@pytest.mark.parametrize("kind", ["sam", "sam_hq", "sam2"])
@pytest.mark.parametrize("prompt", ["h", "r", "rh"])
def test_a_batch_gives_what_one_by_one_gives(folders, tmp_path, kind, prompt):
    size = (50, 70)
    models, path = load_sam(folders[kind]), picture(tmp_path, size)
    annotations = Annotations("a.png", size, objects(9, size))
    together = SamSegmenter(models, prompt=prompt).segment(path, annotations)
    alone = SamSegmenter(models, prompt=prompt, boxes_per_batch=1).segment(path, annotations)
    assert len({mask.rle for mask in together}) > 1  # the prompts matter
    for a, b in zip(together, alone, strict=True):
        assert a.prompt == prompt
        assert a.score == pytest.approx(b.score, abs=1e-3)
        a, b = decode_rle([a.rle, b.rle], size).numpy()
        assert (a != b).sum() <= 2  # float noise where a logit is all but zero


def test_masks_and_scores_are_those_of_the_library(folders, sam, tmp_path):
    """The same picture and boxes through transformers' own steps, half a pixel taken off."""
    from transformers import SamImageProcessor, SamModel, SamProcessor

    size = (45, 60)
    path = picture(tmp_path, size)
    pixels = np.array(Image.open(path))
    annotations = Annotations("a.png", size, objects(6, size))
    found = SamSegmenter(sam, prompt="rh").segment(path, annotations)
    boxes = prompt_boxes(annotations.objects, size, "rh")
    processor = SamProcessor(SamImageProcessor.from_pretrained(folders["sam"]))
    inputs = processor(images=pixels, input_boxes=[boxes.tolist()], return_tensors="pt")
    frame = Frame((0, 0, 60, 45), (48, 64), (64, 64))
    shifted = inputs["input_boxes"].float() - 0.5
    torch.testing.assert_close(frame.box_prompts(boxes)[None], shifted, atol=1e-4, rtol=0)
    model = SamModel.from_pretrained(folders["sam"]).eval()
    with torch.no_grad():
        out = model(pixel_values=inputs["pixel_values"], input_boxes=shifted)
    masks = processor.image_processor.post_process_masks(
        out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0]
    for i, mask in enumerate(found):
        best = int(out.iou_scores[0, i].argmax())
        assert mask.score == pytest.approx(float(out.iou_scores[0, i, best].clamp(0, 1)), abs=1e-5)
        want = masks[i, best].numpy()
        assert (decode_rle([mask.rle], size)[0].numpy() != want).sum() <= 2


def test_half_precision_embeds_but_decodes_exactly(folders):
    pixels = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    box = torch.tensor([[5.0, 6, 40, 50]])
    found = []
    for dtype in ("float32", "bfloat16"):
        models = load_sam(folders["sam"], dtype=dtype)
        embedding = models.embed(pixels, (0, 0, 64, 64))
        features = embedding.features["image_embeddings"]
        logits, scores = models.decode_boxes(embedding, box, multimask=True)
        assert {features.dtype, logits.dtype, scores.dtype} == {torch.float32}
        found.append(features)
    error = (found[0] - found[1]).abs().mean() / found[0].abs().mean()
    assert 1e-4 < error < 0.1


def test_one_mask_instead_of_the_best_of_three(sam, tmp_path):
    size = (64, 64)
    path, annotations = picture(tmp_path, size), Annotations("a.png", size, objects(8, size))
    best = SamSegmenter(sam).segment(path, annotations)
    one = SamSegmenter(sam, multimask=False).segment(path, annotations)
    assert [m.rle for m in best] != [m.rle for m in one]


def test_no_objects_read_no_pixels(sam):
    assert SamSegmenter(sam).segment(None, Annotations("a.png", (9, 9), ())) == []


def test_an_empty_mask_is_a_mask(tmp_path):
    """A box between two pixel centres of the low mask gives no pixel."""
    _, segmenter = echo()
    item = AnnotatedObject("a", "1", rbox_cxcywha=(2000, 2000, 1, 1, 0.1))
    size = (2048, 2048)
    masks = segmenter.segment(picture(tmp_path, size), Annotations("a.png", size, (item,)))
    assert rle_area(masks[0].rle) <= 9


def test_mistakes_get_a_sentence(folders, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder: expected the weights of SA"):
        load_sam(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty cannot be used as weights of SAM: "):
        load_sam(tmp_path / "empty")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert/config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"config\.json says 'bert', expected sam, sam_hq, sam2"):
        load_sam(tmp_path / "bert")
    with pytest.raises(ValueError, match="cannot compute on device 'gpu'"):
        load_sam(folders["sam"], device="gpu")
    with pytest.raises(ValueError, match="unknown dtype 'half'; known: auto, float32, bfloat16"):
        load_sam(folders["sam"], dtype="half")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install geomtp\[sam\]"):
        load_sam(folders["sam"])


def test_both_layouts_of_folders(folders, tmp_path):
    """The processor's settings in their own file, or nested; SAM 2 as part of a video model."""
    from transformers import SamImageProcessor, SamProcessor

    nested = shutil.copytree(folders["sam"], tmp_path / "nested")
    (nested / "preprocessor_config.json").unlink()
    SamProcessor(SamImageProcessor.from_pretrained(folders["sam"])).save_pretrained(nested)
    assert not (nested / "preprocessor_config.json").exists()
    video = shutil.copytree(folders["sam2"], tmp_path / "video")
    config = json.loads((video / "config.json").read_text())
    (video / "config.json").write_text(json.dumps(config | {"model_type": "sam2_video"}))
    pixels = RNG.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    box = torch.tensor([[5.0, 6, 40, 50]])
    for one, other in ((folders["sam"], nested), (folders["sam2"], video)):
        found = [load_sam(folder) for folder in (one, other)]
        found = [
            m.decode_boxes(m.embed(pixels, (0, 0, 48, 64)), box, multimask=True) for m in found
        ]
        torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_weights_that_lack_a_tensor(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["sam"], tmp_path / "torn")
    tensors = load_file(folder / "model.safetensors")
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"1 tensors are missing, among them 'mask_decoder\.iou_to"
    ):
        load_sam(folder)
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="torn cannot be used as weights of SAM: "):
        load_sam(folder)


def test_pickles_are_never_read(folders, tmp_path):
    shutil.copytree(folders["sam"], tmp_path / "pickled")
    (tmp_path / "pickled/model.safetensors").unlink()
    torch.save({}, tmp_path / "pickled/pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickled cannot be used as .*safetensors"):
        load_sam(tmp_path / "pickled")
