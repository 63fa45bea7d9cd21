"""What runtimes on CUDA share, through torch: the time of the device, and runs captured as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_WARM_UPS = 3  # cuDNN and cuBLAS choose and allocate at the first runs, which a capture must not see


def elapsed_ms(torch: Any, launch: Callable[[], object]) -> float:
    """Milliseconds of the current device for what ``launch`` enqueues on the current stream, by CUDA events."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    launch()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def captured(torch: Any, launch: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
    """``launch`` as a CUDA graph: a function that replays it, and what it returned, which each replay overwrites."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            launch()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = launch()
    return graph.replay, outputs
