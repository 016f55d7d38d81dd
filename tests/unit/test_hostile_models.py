"""Model files that run something when they are read: each is refused by name, and runs nothing."""

from __future__ import annotations

from pathlib import Path

from tests.support.worker_jobs import LISTED_OPERATORS, LOAD_HOSTILE
from toolchain.core import worker

# of those that tf2onnx knows: queues and iterators are where a training's inputs come from
LEFT_OUT = {
    *("FIFOQueueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2", "QueueDequeueV2"),
    *("IteratorGetNext", "IteratorV2"),
}


def test_what_touches_files_is_refused_by_the_name_of_its_operator(tmp_path: Path) -> None:
    tried = worker.call(LOAD_HOSTILE, tmp_path, what="loading hostile models")
    assert tried.written == []
    operators = {name: brief.rpartition(": ")[2] for name, brief in tried.refused.items()}
    assert operators == {
        "writes.pb": "WriteFile",
        "reads.pb": "DecodeRaw, ReadFile",
        "function.pb": "WriteFile",
        "prints.pb": "PrintV2",
        "saved-writes": "WriteFile",
        "saved-reads": "InitializeTableFromTextFileV2",
        "saved-saves": "SaveV2",
    }


def test_the_list_is_of_tensorflows_operators_and_has_all_that_can_be_converted() -> None:
    found = worker.call(LISTED_OPERATORS, None, what="listing operators")
    assert found.unknown == []
    assert set(found.converted_and_left_out) == LEFT_OUT
