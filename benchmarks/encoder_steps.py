"""Time and memory of one multi-task pretraining step by encoder, with and without checkpointing.

    OMP_NUM_THREADS=1 python -m benchmarks.encoder_steps vit_b_rvsa internimage_t --size 224

Each step (three sources with one image and five objects each, all tasks, AdamW) runs in a process
of its own: forward, backward and update, after one warm-up. The peak is the highest resident size,
weights, gradients and optimiser included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys


def measure(encoder: str, size_px: int, steps: int, checkpointing: bool) -> dict[str, float]:
    command = [
        *(sys.executable, "-m", "benchmarks.pretrain_step"),
        *("--encoder", encoder, "--size", str(size_px), "--steps", str(steps)),
    ]
    if checkpointing:
        command.append("--checkpointing")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=1, help="timed steps after one warm-up")
    arguments = parser.parse_args()
    print(f"{'encoder':18}{'checkpointing':>14}{'CPU s':>8}{'wall s':>8}{'peak GB':>9}"
          f"{'weights, gradients, AdamW GB':>30}")  # fmt: skip
    for encoder in arguments.encoders:
        for checkpointing in (False, True):
            row = measure(encoder, arguments.size, arguments.steps, checkpointing)
            print(
                f"{encoder:18}{'yes' if checkpointing else 'no':>14}{row['cpu_s_per_step']:8.1f}"
                f"{row['wall_s_per_step']:8.1f}{row['peak_memory_gb']:9.2f}"
                f"{row['weights_gradients_adam_gb']:30.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
