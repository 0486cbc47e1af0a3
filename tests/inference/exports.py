"""Small models with figures of their own, saved as files."""

import torch

from geomtp.decoders.light import Light
from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.types import ClassMap

MEAN, STD = (90.0, 100.0, 110.0), (40.0, 50.0, 60.0)
CLASSES = ClassMap(("ship", "plane", "Ärger"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
LIGHT = Light((1.25, 0.8, 1.0), (-10.0, 20.0, 5.0))
TINY = "test_resnet"


def saved_model(folder, tasks, encoder=TINY, size=64, sources=("harbour",)):
    """A model with random weights and statistics, and the file it was saved to."""
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(
            encoder=encoder,
            image_size=size,
            sources={name: SourceConfig(CLASSES, tasks, MEAN, STD, LIGHT) for name in sources},
            semantic_channels=8,
            detector_channels=8,
            fc_channels=8,
            change_channels=(8, 8, 8, 8),
        )
    ).eval()
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "statistics.means")):
            buffer.normal_(std=0.1)
        if name.endswith(("running_var", "statistics.variances")):
            buffer.uniform_(0.5, 2)
    for classifier in (c for d in model.decoders.values() for c in d.classifiers.values()):
        for parameter in classifier.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    path = folder / "model.safetensors"
    save(model, path)
    return model, path


def pixels(count, height, width, seed=1):
    """Images as they lie in files: (count, 3, height, width), 0…255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).float()


def normalised(images):
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def sizes_of(images):
    return [tuple(images.shape[-2:])] * len(images)
