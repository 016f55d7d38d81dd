"""What computing a metric is asked in its own process, where it may import what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from toolchain.accuracy.metrics import Labelled, Network
from toolchain.core.worker import Job


@dataclass(frozen=True, kw_only=True)
class MetricRequest:
    """Outputs to judge.

    Attributes:
        metric: as `--metric` has it.
        images: with their labels.
        network: that gave the outputs.
        outputs: npz files with `out:NAME`, in the images' order.
    """

    metric: str
    images: tuple[Labelled, ...]
    network: Network
    outputs: tuple[Path, ...]


class Values(BaseModel):
    """What a metric says, by its numbers' names."""

    model_config = ConfigDict(frozen=True)
    values: dict[str, float]


EVALUATE = Job("toolchain.accuracy.metric_job:evaluate", MetricRequest, Values)
