"""A step of Oriented R-CNN beside torchvision's Faster R-CNN: what rotation costs.

    OMP_NUM_THREADS=1 python -m benchmarks.detector_steps [--sizes 512 800] [--repeats 3]
    python -m benchmarks.detector_steps --sizes 512 --repeats 0 --steps train --beside oriented_det

Both look at the same image with the same objects of 15 classes through a ResNet-50 (timm's; and
torchvision's own) with a feature pyramid of 256 channels, both with random weights. Both keep 1000
proposals of a level and of an image, suppress them at 0.8, train on 512 regions by SGD and report
up to 2000 detections from a score of 0.05 on. To have as much to do as trained ones, and the same
number of boxes, batch norms know the statistics of the image, proposals are anchors as they are,
and the classifiers are louder and never say background: each region becomes an object or two.

``--beside oriented_det`` takes another Oriented R-CNN in plain torch, that of the package of this
name (``pip install --no-deps oriented-det``), as its own settings have it but for the numbers of
proposals, its batch norms frozen.

Each model lives in a process of its own, and the two take turns step by step. Times are processor
time; the peak is the highest resident size of the process, everything included.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from geomtp.geometry import enclosing_boxes, regularise
from geomtp.model import ModelConfig, SourceConfig, build_model
from geomtp.types import Batch, ClassMap, Targets

CLASSES, PROPOSALS, OBJECTS, LOUDER = 15, 1000, 30, 100.0
OTHERS = ("torchvision", "oriented_det")


@dataclass(frozen=True)
class Contender:
    """A model, its box head, which sees each region, and how many boxes it finds, or its loss."""

    model: torch.nn.Module
    box_head: torch.nn.Module
    predict: Callable[[], int]
    loss: Callable[[], Tensor]


def draw(size_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """One image (1, 3, H, W), the rotated boxes of its objects, and their classes."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, size_px, size_px, generator=generator)
    unit = torch.rand(OBJECTS, 5, generator=generator)
    low = torch.tensor([40.0, 40.0, 24.0, 12.0, -1.5])
    high = torch.tensor([size_px - 40.0, size_px - 40.0, 96.0, 48.0, 1.5])
    labels = torch.randint(0, CLASSES, (OBJECTS,), generator=generator)
    return image, regularise(low + unit * (high - low)), labels


@torch.no_grad()
def calibrate(
    backbone: torch.nn.Module,
    corrections: torch.nn.Conv2d,
    classifier: torch.nn.Linear,
    background: int,
    image: Tensor,
) -> None:
    """Give both models as much to do: see the top of this file."""
    corrections.weight.zero_()
    corrections.bias.zero_()
    classifier.weight.mul_(LOUDER)
    classifier.weight[background] = 0
    classifier.bias[background] = -1e9
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    backbone.train()(image[..., :128, :128])
    for norm in norms:
        norm.momentum = 0.1


def ours(size_px: int) -> Contender:
    image, rboxes, labels = draw(size_px)
    classes = ClassMap(tuple(f"class {k}" for k in range(CLASSES)))
    model = build_model(
        ModelConfig(
            encoder="resnet50",
            image_size=size_px,
            sources={"drawn": SourceConfig(classes, ("rotated",))},
            proposals=PROPOSALS,
        )
    )
    decoder = model.decoders["rotated"]
    proposer, classifier = decoder.trunk.rpn_head, decoder.classifiers["drawn"].fc_cls
    calibrate(model.encoder, proposer.rpn_reg, classifier, -1, image)
    size_hw = (size_px, size_px)
    batch = Batch(image, (Targets(rboxes=rboxes, rbox_labels=labels),), (size_hw,), "drawn")
    return Contender(
        model,
        decoder.trunk.box_head,
        predict=lambda: len(model.predict(image, [size_hw], "drawn")[0].rboxes),
        loss=lambda: model.total_loss({"drawn": batch})[0],
    )


def torchvision(size_px: int) -> Contender:
    image, rboxes, labels = draw(size_px)
    model = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        min_size=size_px,
        max_size=size_px,
        rpn_pre_nms_top_n_train=PROPOSALS,
        rpn_pre_nms_top_n_test=PROPOSALS,
        rpn_post_nms_top_n_train=PROPOSALS,
        rpn_post_nms_top_n_test=PROPOSALS,
        rpn_nms_thresh=0.8,
        box_detections_per_img=2000,
    )
    corrections, classifier = model.rpn.head.bbox_pred, model.roi_heads.box_predictor.cls_score
    calibrate(model.backbone.body, corrections, classifier, 0, image)
    targets = [{"boxes": enclosing_boxes(rboxes).clamp(0, size_px), "labels": labels + 1}]
    return Contender(
        model,
        model.roi_heads.box_head,
        predict=lambda: len(model([image[0]])[0]["boxes"]),
        loss=lambda: sum(model([image[0]], targets).values()),
    )


def oriented_det(size_px: int) -> Contender:
    from oriented_det.models import OrientedRCNN

    image, rboxes, labels = draw(size_px)
    model = OrientedRCNN(
        CLASSES,
        anchor_scales=[8],
        anchor_ratios=[0.5, 1.0, 2.0],
        target_stds=(0.1, 0.1, 0.2, 0.2, 0.1),
        use_hbb_for_matching=True,
        rpn_pre_nms_top_n=PROPOSALS,
        rpn_post_nms_top_n=PROPOSALS,
        rpn_nms_threshold=0.8,
        max_detections_per_image=2000,
        final_nms_iou_threshold=0.1,
    )
    targets = [{"rboxes": rboxes, "labels": labels + 1}]
    return Contender(
        model,
        model.roi_head,
        predict=lambda: len(model([image[0]])[0]["rboxes"]),
        loss=lambda: sum(v for k, v in model([image[0]], targets).items() if k.startswith("loss")),
    )


def serve(kind: str, size_px: int) -> None:
    """Do the steps that are asked for by a line each, and answer with what they took."""
    torch.manual_seed(0)
    makers = {"ours": ours, "torchvision": torchvision, "oriented_det": oriented_det}
    contender = makers[kind](size_px)
    model, regions = contender.model, [0]
    contender.box_head.register_forward_hook(lambda *of: regions.append(len(of[1][0])))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    for line in sys.stdin:
        training = line.strip() == "train"
        model.train(training)
        found = 0
        began = time.process_time()
        if training:
            contender.loss().backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        else:
            with torch.no_grad():
                found = contender.predict()
        answer = {
            "cpu_s": time.process_time() - began,
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "regions": regions[-1],
            "detections": found,
        }
        print(json.dumps(answer), flush=True)


def compare(size_px: int, steps: Sequence[str], repeats: int, other: str) -> None:
    words = [sys.executable, "-m", "benchmarks.detector_steps", "--sizes", str(size_px)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    kinds = ("ours", other)
    processes = {kind: subprocess.Popen([*words, "--serve", kind], **pipes) for kind in kinds}
    for step in steps:  # the peak of predicting is read before the other is higher
        seen: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(repeats + 1):  # the first warms up
            for kind, process in processes.items():
                process.stdin.write(f"{step}\n")
                process.stdin.flush()
                seen[kind].append(json.loads(process.stdout.readline()))
        timed = {kind: [row["cpu_s"] for row in seen[kind][bool(repeats) :]] for kind in kinds}
        cpu = {kind: statistics.median(timed[kind]) for kind in kinds}
        peak = {kind: seen[kind][-1]["peak_gb"] for kind in kinds}
        print(
            f"{size_px} px, {step:8}"
            + "".join(f"  {kind} {cpu[kind]:.2f} s {peak[kind]:.2f} GB," for kind in kinds)
            + f"  ratio {cpu['ours'] / cpu[other]:.2f} of time, "
            f"{peak['ours'] / peak[other]:.2f} of memory"
            + "".join(
                f"  {name} {seen['ours'][-1][name]}, {seen[other][-1][name]}"
                for name in ("regions", "detections")
            ),
            flush=True,
        )
    for process in processes.values():
        process.stdin.close()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 800])
    parser.add_argument(
        "--repeats", type=int, default=3, help="timed steps after one warm-up; 0: it alone"
    )
    parser.add_argument("--steps", nargs="+", default=["predict", "train"], metavar="STEP")
    parser.add_argument("--beside", choices=OTHERS, default="torchvision")
    parser.add_argument(
        "--serve", choices=("ours", *OTHERS), help="(for the processes of the benchmark)"
    )
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.sizes[0])
        return
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.repeats} steps"
    )
    for size_px in arguments.sizes:
        compare(size_px, arguments.steps, arguments.repeats, arguments.beside)


if __name__ == "__main__":
    main()
