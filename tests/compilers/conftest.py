"""Models that tests share. torch runs in a child here too, as in the product."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compilers.intake import resolve
from compilers.spec_io import PreparedModel
from tests.compilers.graphs import cnn, save

_EXPORT = """
import sys, torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 5)
    def forward(self, image, scale):
        x = torch.nn.functional.gelu(self.norm(self.conv(image)), approximate="tanh")
        return {"logits": self.head(x.mean((2, 3))) * scale["by"], "features": x}
image, scale = torch.zeros(2, 3, 8, 8), {"by": torch.ones(1)}
shapes = {"image": {0: torch.export.Dim("batch", min=1, max=8)}, "scale": {"by": {}}}
program = torch.export.export(Net().eval(), (image,), {"scale": scale}, dynamic_shapes=shapes)
torch.export.save(program, sys.argv[1])
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .pt2 with an open batch, a keyword argument in a dict and two outputs in another."""
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _EXPORT, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedModel:
    """The small CNN, prepared once."""
    folder = tmp_path_factory.mktemp("prepared")
    return resolve(str(save(cnn("batch"), folder / "cnn.onnx")), folder / "cache", log=folder / "log")
