"""Greedy generation by onnxruntime-genai, whose folders say how."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import ModelError, OptionError
from graphprune.generation.decoder import Generated
from graphprune.generation.source import DecoderSource
from graphprune.runtime.sessions import CPU, CUDA, RuntimeOptions, failing_in_a_sentence

_NAMES = {CUDA: "cuda"}


@dataclass(frozen=True)
class GenaiDecoder:
    """A model of onnxruntime-genai."""

    genai: Any
    model: Any
    vocabulary: int
    clock_ns: Callable[[], int] = time.perf_counter_ns

    def generate(self, ids: np.ndarray, new: int) -> Generated:
        """See :class:`graphprune.generation.decoder.Decoder`; the place of the whole cache is made before the clock."""
        total = ids.shape[1] + new
        with failing_in_a_sentence("the model may be made for fewer tokens: give shorter points"):
            parameters = self.genai.GeneratorParams(self.model)
            parameters.set_search_options(
                do_sample=False,
                batch_size=len(ids),
                max_length=total,
                min_length=total,  # so that no token ends it
            )
            generator = self.genai.Generator(self.model, parameters)
            tokens, stamps = [], [self.clock_ns()]
            generator.append_tokens(ids.astype(np.int32))
            for _ in range(new):
                generator.generate_next_token()
                tokens.append(np.array(generator.get_next_tokens(), np.int64))
                stamps.append(self.clock_ns())
        return Generated(np.stack(tokens, axis=1), np.diff(stamps) / 1e6)


def open_genai(source: DecoderSource, options: RuntimeOptions) -> GenaiDecoder:
    """The folder's model, on the provider and with the threads of ``options``.

    Raises
    ------
    RuntimeMissing
        onnxruntime-genai is not installed.
    ModelError
        The folder is none of its own, or it cannot load it.
    OptionError
        It is to run on something else than cpu and cuda.
    """
    genai = extras.onnxruntime_genai()
    if source.genai_folder is None:
        raise ModelError(
            f"{source.path} has no genai_config.json beside it, or is no folder", "give the folder, or --runtime ort"
        )
    name = options.provider_name
    if name != CPU and name not in _NAMES:
        raise OptionError(f"onnxruntime-genai is not timed on {options.provider}", "choose --provider cpu or cuda")
    content = json.loads((source.genai_folder / "genai_config.json").read_text(encoding="utf-8"))
    with failing_in_a_sentence("load it with onnxruntime_genai.Model first"):
        config = genai.Config(str(source.genai_folder))
        config.clear_providers()
        if name in _NAMES:
            config.append_provider(_NAMES[name])
        session = {"intra_op_num_threads": options.thread_count, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        model = genai.Model(config)
    return GenaiDecoder(genai, model, int(content["model"]["vocab_size"]))
