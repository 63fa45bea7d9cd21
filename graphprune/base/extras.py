"""Packages that are not dependencies of the core. Asking for one that is missing says which pip line to run."""

from __future__ import annotations

import importlib
from typing import Any

from graphprune.errors import RuntimeMissing

_QUIET = 4  # ONNX Runtime's "fatal": its errors reach us as exceptions, its warnings are about fusions


def onnxruntime() -> Any:
    """The onnxruntime module, quietened.

    Raises
    ------
    RuntimeMissing
        Neither onnxruntime nor onnxruntime-gpu is installed, or the installed one does not load.
    """
    try:
        module = importlib.import_module("onnxruntime")
        module.set_default_logger_severity(_QUIET)
    except (ImportError, AttributeError) as error:
        raise RuntimeMissing(
            f"ONNX Runtime cannot be imported ({error})",
            "run: pip install 'graphprune[cpu]' (or 'graphprune[gpu]'; exactly one of the two)",
        ) from None
    return module


def torch() -> Any:
    """The torch module.

    Raises
    ------
    RuntimeMissing
        torch is not installed, or the installed one does not load.
    """
    return _extra("torch", "PyTorch", "torch")


def tensorrt() -> Any:
    """The tensorrt module.

    Raises
    ------
    RuntimeMissing
        TensorRT is not installed, or its libraries do not load.
    """
    module = _extra("tensorrt", "TensorRT", "tensorrt")
    if not hasattr(module, "__version__"):  # the folder of its type stubs alone
        raise RuntimeMissing("TensorRT is not installed, only its stubs", "run: pip install 'graphprune[tensorrt]'")
    return module


def pillow(extra: str = "robustness") -> Any:
    """Pillow's Image module, which ``extra`` brings.

    Raises
    ------
    RuntimeMissing
        Pillow is not installed.
    """
    return _extra("PIL.Image", "Pillow", extra)


def codecarbon() -> Any:
    """The codecarbon module.

    Raises
    ------
    RuntimeMissing
        codecarbon is not installed.
    """
    return _extra("codecarbon", "codecarbon", "energy")


def tokenizers() -> Any:
    """The tokenizers module.

    Raises
    ------
    RuntimeMissing
        tokenizers is not installed.
    """
    return _extra("tokenizers", "tokenizers", "text")


def datasets(extra: str = "text") -> Any:
    """The datasets module of Hugging Face, which ``extra`` brings.

    Raises
    ------
    RuntimeMissing
        datasets is not installed.
    """
    return _extra("datasets", "datasets", extra)


def torchvision_datasets() -> Any:
    """The torchvision.datasets module.

    Raises
    ------
    RuntimeMissing
        torchvision is not installed, or the installed one does not fit torch.
    """
    return _extra("torchvision.datasets", "torchvision", "torchvision")


def distributed() -> Any:
    """The distributed module, Dask's scheduler and workers.

    Raises
    ------
    RuntimeMissing
        dask[distributed] is not installed.
    """
    return _extra("distributed", "Dask's distributed", "dask")


def ray() -> Any:
    """The ray module.

    Raises
    ------
    RuntimeMissing
        Ray is not installed, or the installed one does not load.
    """
    return _extra("ray", "Ray", "ray")


def olive(part: str) -> Any:
    """A module of Olive, by its name below ``olive``.

    Raises
    ------
    RuntimeMissing
        olive-ai is not installed, or it is one without that module.
    """
    return _extra(f"olive.{part}", "Olive", "olive")


def onnxruntime_genai() -> Any:
    """The onnxruntime_genai module.

    Raises
    ------
    RuntimeMissing
        onnxruntime-genai is not installed, or the installed one does not load.
    """
    return _extra("onnxruntime_genai", "onnxruntime-genai", "genai")


def safetensors(part: str = "") -> Any:
    """The safetensors module, or one of its parts by name.

    Raises
    ------
    RuntimeMissing
        safetensors is not installed.
    """
    return _extra(f"safetensors.{part}" if part else "safetensors", "safetensors", "hf")


def transformers() -> Any:
    """The transformers module.

    Raises
    ------
    RuntimeMissing
        transformers is not installed.
    """
    return _extra("transformers", "transformers", "hf")


def jinja2() -> Any:
    """The jinja2 module.

    Raises
    ------
    RuntimeMissing
        Jinja2 is not installed.
    """
    return _extra("jinja2", "Jinja2", "report")


def matplotlib() -> Any:
    """The matplotlib module, with ``matplotlib.figure``.

    Raises
    ------
    RuntimeMissing
        Matplotlib is not installed.
    """
    _extra("matplotlib.figure", "Matplotlib", "report")
    return importlib.import_module("matplotlib")


def _extra(module: str, name: str, extra: str) -> Any:
    """A module that comes with an extra; OSError is a shared library that does not load."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise RuntimeMissing(
            f"{name} cannot be imported ({error})", f"run: pip install 'graphprune[{extra}]'"
        ) from None
