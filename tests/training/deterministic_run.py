"""Run as a program: a pretraining run in which nothing is drawn at random after the views.

python -m tests.training.deterministic_run DATA OUT DEVICES BATCH
"""

import sys
from pathlib import Path

from geomtp.decoders.detection.sampling import Sampler
from geomtp.training import mtp
from geomtp.training.mtp import pretrain_mtp
from tests.training.runs import small_config

TAKE_ALL = Sampler(count=10**6, positive_fraction=1.0)


def build_without_chance(config):
    model = build_model(config)
    for task in ("instance", "rotated"):
        decoder = model.decoders[task]
        decoder.roi_sampler = decoder.trunk.rpn_head.sampler = TAKE_ALL
    model.decoders["semantic"].dropout.p = 0.0
    return model


build_model = mtp.build_model


def main():
    data, out, devices, batch = sys.argv[1:]
    mtp.build_model = build_without_chance
    config = small_config(
        Path(data),
        Path(out),
        devices=int(devices),
        batch_size=int(batch),
        batch_norm="frozen",
        drop_path=0.0,
        steps=1,
    )
    pretrain_mtp(config)


if __name__ == "__main__":
    main()
