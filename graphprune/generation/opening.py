"""The ways to generate by their names, as ``--runtime`` takes them for generation."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

from graphprune.base import extras
from graphprune.errors import OptionError
from graphprune.generation.decoder import Decoder
from graphprune.generation.genai import open_genai
from graphprune.generation.loop import open_decoder
from graphprune.generation.source import DecoderSource
from graphprune.measure import machine
from graphprune.measure.ort import OrtRuntime
from graphprune.runtime.sessions import RuntimeOptions

Open = Callable[[DecoderSource, RuntimeOptions], Decoder]
OPENERS: dict[str, Open] = {"ort": open_decoder, "genai": open_genai}


def opener(name: str) -> Open:
    """What opens a decoder on the runtime of this name.

    Raises
    ------
    OptionError
        None generates by that name.
    """
    if name not in OPENERS:
        raise OptionError(f"nothing generates on the runtime '{name}'", f"choose {' or '.join(OPENERS)}")
    return OPENERS[name]


def environment(name: str, options: RuntimeOptions) -> dict[str, Any]:
    """Versions, provider, threads, machine: what a reader needs to repeat a timing."""
    if name == "ort":
        return OrtRuntime(options).environment()
    extras.onnxruntime_genai()
    facts = {
        "runtime": f"onnxruntime-genai {importlib.metadata.version('onnxruntime-genai')}",
        "provider": options.provider_name,
        "threads": options.thread_count,
    }
    return facts | machine.host()
