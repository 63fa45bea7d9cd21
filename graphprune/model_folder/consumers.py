"""What the user must know of a smaller network's folder: which tools load it, and what was left out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphprune.model_folder.counts import CacheCounts

_MOST_NAMES = 4


def consumer_notes(
    before: CacheCounts, after: CacheCounts, mlps: tuple[int, int, bool], *, is_equally_routed: bool = True
) -> Iterator[str]:
    """Sentences on layers that differ from each other now and did not before.

    ``mlps`` are the weights of MLPs before and after, and whether those left are equally wide; ``is_equally_routed``
    tells that all layers have equally many experts.
    """
    weights_before, weights_after, is_equally_wide = mlps
    if weights_before and weights_after * before.layers != weights_before * after.layers:
        yield (
            f"{after.layers} layers have attention, and not as many have an MLP: onnxruntime-genai, optimum and "
            "transformers.js count layers by their cache and load the folder; transformers has no such network"
        )
    if not is_equally_wide:
        yield (
            "the MLPs differ in width, so the width in config.json stays: whoever runs the ONNX file does not read it; "
            "transformers has no such network"
        )
    if not is_equally_routed:
        yield (
            "the layers differ in their number of experts, so the number in config.json stays: whoever runs the ONNX "
            "file does not read it; transformers has no such network"
        )
    if len(set(after.kv_heads)) > 1 and len(set(before.kv_heads)) == 1:
        each = ", ".join("?" if heads is None else str(heads) for heads in after.kv_heads)
        yield (
            f"the layers have different numbers of KV heads ({each}): onnxruntime-genai from 0.15 loads the folder; "
            "optimum and transformers.js take one number for all layers and do not"
        )


def left_out_note(left_out: Sequence[str]) -> Iterator[str]:
    """What was not copied, and why."""
    if left_out:
        names = ", ".join(left_out[:_MOST_NAMES]) + (" ..." if len(left_out) > _MOST_NAMES else "")
        yield f"left out: {names}: they hold the unpruned network; make them again from the pruned one"
