"""One process of `test_two_processes_give_the_numbers_of_one`: arguments rank, world, folder."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from sensorium.models.joint_embedding import Embeddings
from sensorium.objectives.info_nce import InfoNCE
from sensorium.objectives.siglip import SigLIP

# Nine rows; two processes get rows 0-5 and 6-8, and only the first has speech. Meaning 4 crosses processes.
# The second process' meanings are narrower.
PRESENT = {
    "picture": [1, 1, 0, 1, 1, 1, 1, 0, 1],
    "caption": [1, 1, 1, 1, 0, 1, 1, 1, 1],
    "speech": [0, 1, 1, 1, 0, 1, 0, 0, 0],
}
MEANINGS = [[0, 4], [1, -1], [2, -1], [3, 1], [-1, -1], [5, -1], [4, -1], [6, -1], [-1, -1]]
SPLIT = {1: [(0, 9)], 2: [(0, 6), (6, 9)]}


def main(rank: int, world: int, folder: Path) -> None:
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    start, stop = SPLIT[world][rank]
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(len(mask), 5, generator=generator) for name, mask in PRESENT.items()}
    head = nn.Linear(5, 4)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    scale, bias = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(-1.0))
    parameters = {"weight": head.weight, "bias": head.bias, "scale": scale}
    meanings = torch.tensor(MEANINGS)[start:stop, : 2 if rank == 0 else 1]
    report = {}
    for objective in (InfoNCE(), InfoNCE(chunk=2), SigLIP(), SigLIP(chunk=2)):
        present = {name: torch.tensor(mask[start:stop], dtype=torch.bool) for name, mask in PRESENT.items()}
        vectors = {
            # As `JointEmbedding` does: a column that no row of this process has does not run.
            name: F.normalize(head(inputs[name][start:stop][mask]), dim=1)
            if mask.any()
            else torch.zeros(0, 4)
            for name, mask in present.items()
        }
        losses = objective.losses(Embeddings(vectors, present, scale, bias), meanings)
        for parameter in parameters.values():
            parameter.grad = None
        sum(losses.values()).backward()
        gradients = [parameter.grad for parameter in parameters.values()]
        for gradient in gradients if world > 1 else ():
            dist.all_reduce(gradient)
            gradient /= world
        report[f"{type(objective).__name__}({objective.chunk})"] = {
            "losses": {name: loss.item() for name, loss in losses.items()},
            "gradients": {
                name: gradient.tolist() for name, gradient in zip(parameters, gradients, strict=True)
            },
        }
    (folder / f"{rank}.json").write_text(json.dumps(report))
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
