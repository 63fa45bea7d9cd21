"""Greedy generation over ONNX Runtime: what the cache holds stays where the provider computes, bound from step to step.

A step gives the whole cache anew, so a provider may copy what is in it already. Where genai_config.json says that past
and present share a buffer (of GroupQueryAttention only), they do here, too, as with onnxruntime-genai.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.base import extras
from graphprune.data.fitting import InputSpec
from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.decoder.interface import DecoderInterface, interface_of
from graphprune.decoder.steps import next_step, prefill
from graphprune.errors import ModelError
from graphprune.generation.decoder import Generated
from graphprune.generation.source import DecoderSource
from graphprune.ir.loading import load
from graphprune.measure.ort import ON_CUDA
from graphprune.runtime.sessions import RuntimeOptions, failing_in_a_sentence, open_session

_ADVICE = "the model may be made for fewer tokens: give shorter points, e.g. --generate=16:32"
_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}


@dataclass(frozen=True)
class OrtDecoder:
    """A session with the cache's way through it; ``device`` is where the cache lies, as ONNX Runtime names it.

    ``is_shared`` tells that a step writes its present into the buffer of its past.
    """

    session: Any
    interface: DecoderInterface
    specs: Mapping[str, InputSpec]
    sizes: Mapping[str, int]
    device: tuple[str, int]
    logits_type: np.dtype[Any]
    is_shared: bool = False
    vocabulary: int = 0
    clock_ns: Callable[[], int] = time.perf_counter_ns

    def generate(self, ids: np.ndarray, new: int) -> Generated:
        """See :class:`graphprune.generation.decoder.Decoder`."""
        tokens, stamps = [], [self.clock_ns()]
        feeds: dict[str, Any] = dict(prefill(self.interface, self.specs, ids, sizes=self.sizes))
        buffers = self._buffers(feeds, ids.shape[1] + new) if self.is_shared else {}
        feeds.update((tensor.past, buffers[tensor.present]) for tensor in self.interface.cache if buffers)
        for step in range(new):
            logits, cache = self._step(feeds, buffers)
            tokens.append(logits[:, -1].argmax(axis=-1))
            stamps.append(self.clock_ns())
            if step < new - 1:
                feeds = next_step(self.interface, feeds, cache, tokens[-1][:, None])
        return Generated(np.stack(tokens, axis=1), np.diff(stamps) / 1e6)

    def _buffers(self, feeds: Mapping[str, np.ndarray], total: int) -> dict[str, Any]:
        """Places for a cache of ``total`` positions, by the names of the outputs."""
        ort, buffers = extras.onnxruntime(), {}
        for tensor in self.interface.cache:
            shape = list(feeds[tensor.past].shape)
            shape[tensor.position_axis] = total
            kind = self.specs[tensor.past].dtype.type
            buffers[tensor.present] = ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, *self.device)
        return buffers

    def _step(self, feeds: Mapping[str, Any], buffers: Mapping[str, Any]) -> tuple[np.ndarray, Mapping[str, Any]]:
        """Logits [N, S, vocabulary] in host memory, and the cache by the names of its outputs, where it was made."""
        binding = self.session.io_binding()
        for name, value in feeds.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        logits = np.empty((*feeds[self.interface.ids].shape, self.vocabulary), self.logits_type)
        if self.vocabulary:
            binding.bind_output(self.interface.logits, "cpu", 0, logits.dtype.type, logits.shape, logits.ctypes.data)
        else:
            binding.bind_output(self.interface.logits, "cpu")
        names = [tensor.present for tensor in self.interface.cache]
        for name in names:
            if buffers:
                binding.bind_ortvalue_output(name, buffers[name])
            else:
                binding.bind_output(name, *self.device)
        with failing_in_a_sentence(_ADVICE):
            self.session.run_with_iobinding(binding)
        first, *rest = binding.get_outputs()
        return logits if self.vocabulary else first.numpy(), dict(zip(names, rest, strict=True))

    def counted(self) -> OrtDecoder:
        """The same, knowing its vocabulary from a step over one token."""
        logits, _ = self._step(prefill(self.interface, self.specs, np.zeros((1, 1), np.int64), sizes=self.sizes), {})
        return replace(self, vocabulary=logits.shape[-1])


def open_decoder(
    model: DecoderSource | onnx.ModelProto | Callable[[], onnx.ModelProto],
    options: RuntimeOptions,
    folder: Path | None = None,
    sizes: Mapping[str, int] | None = None,
) -> OrtDecoder:
    """A decoder with a cache, ready to generate.

    ``folder`` is where the external data of a model in memory lies. ``sizes`` are of free axes of its cache, by name;
    of a file they are looked up.

    Raises
    ------
    ModelError
        It has no cache, takes inputs that nothing here can make, leaves sizes open, or the runtime cannot load it.
    RuntimeMissing
        The runtime is not installed, or the provider does not start.
    """
    source = model.path if isinstance(model, DecoderSource) else model
    session = open_session(source, options, folder, spins=True)
    name = str(source) if isinstance(source, Path) else "the model"
    dims = {value.name: tuple(value.shape) for value in session.get_inputs()}
    interface = interface_of(dims, {value.name: tuple(value.shape) for value in session.get_outputs()})
    if interface is None:
        raise ModelError(
            f"{name} is no decoder with a cache: past_key_values.0.key ... and present.0.key ... are its names",
            "export it with its past (optimum: --task text-generation-with-past), or leave out --generate",
        )
    known = {interface.ids, interface.mask, interface.positions, *(tensor.past for tensor in interface.cache)}
    if unknown := [each for each in dims if each not in known]:
        raise ModelError(
            f"{name} takes {', '.join(unknown[:3])}, which generation has no values for", "export it without them"
        )
    types = {value.name: value.type for value in (*session.get_inputs(), *session.get_outputs())}
    if odd := {kind for kind in types.values() if kind not in _TYPES}:
        raise ModelError(f"{name} takes or gives a {odd.pop()}, which NumPy does not hold", "export it as float16")
    specs = {each: InputSpec(each, np.dtype(_TYPES[types[each]]), shape) for each, shape in dims.items()}
    device = ("cuda", options.device_index) if options.provider_name in ON_CUDA else ("cpu", 0)
    found = _sizes(model, interface) if sizes is None and isinstance(model, DecoderSource) else sizes or {}
    _require_sizes(interface, found, name)
    is_shared = isinstance(model, DecoderSource) and model.is_shared
    logits_type = np.dtype(_TYPES[types[interface.logits]])
    return OrtDecoder(session, interface, specs, found, device, logits_type, is_shared).counted()


def _free(interface: DecoderInterface) -> dict[str, bool]:
    """Names of axes of the cache that are neither samples nor positions, and whether each is a head's size."""
    return {
        dim: axis == len(tensor.dims) - 1
        for tensor in interface.cache
        for axis, dim in enumerate(tensor.dims)
        if isinstance(dim, str) and axis not in (0, tensor.position_axis)
    }


def _sizes(source: DecoderSource, interface: DecoderInterface) -> dict[str, int]:
    """What the files beside the model say, and where they do not the operators that read the cache."""
    free = _free(interface)
    if not free:
        return {}
    if source.head_size is not None and all(free.values()):
        return dict.fromkeys(free, source.head_size)
    return cache_sizes(load(source.path))


def _require_sizes(interface: DecoderInterface, sizes: Mapping[str, int], name: str) -> None:
    open_axes = [dim for dim in _free(interface) if dim not in sizes]
    if open_axes:
        raise ModelError(
            f"{name} leaves the size of axis '{open_axes[0]}' of its cache open, and nothing tells it",
            "give the folder with its genai_config.json or config.json",
        )
