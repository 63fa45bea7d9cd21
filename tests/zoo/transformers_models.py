"""Tiny random networks of the transformers library, and a post-norm encoder of torch's own layers.

Each is wrapped so that it takes plain tensors and returns one tensor. ``transformers`` is imported by the builders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.cnns import build, randomise
from tests.zoo.entry import IMAGE, MASKED, TEXT, TRANSFORMERS, Built, Entry

VOCABULARY = 60
SEQUENCE = 7
_MASKED = ("input_ids", "attention_mask")


class Wrapped(nn.Module):
    """A transformers model with positional tensor inputs and one field of its output object."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], output: str, **fixed: object) -> None:
        super().__init__()
        self.model = model
        self._inputs = inputs
        self._output = output
        self._fixed = fixed

    def forward(self, *tensors: Tensor) -> Tensor:
        named = dict(zip(self._inputs, tensors, strict=True))
        output: Tensor = getattr(self.model(**named, **self._fixed), self._output)
        return output


class PostNormEncoder(nn.Module):
    """Token and position embeddings, then layers that normalise behind each residual join; no norm in front."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(32, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 48, dropout=0.0, batch_first=True, norm_first=False)
            for _ in range(layers)
        )
        self.head = nn.Linear(width, 5)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids) + self.positions(torch.arange(input_ids.shape[1], device=input_ids.device))
        for layer in self.layers:
            x = layer(x)
        output: Tensor = self.head(x)
        return output


def _config(kind: Callable[..., Any], **options: object) -> Any:
    """A configuration; the library accepts options that its signatures do not declare."""
    return kind(**options)


def _text(make: Callable[[], nn.Module], seed: int, *, has_mask: bool = True) -> Built:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = randomise(make())
        inputs = {"input_ids": torch.randint(0, VOCABULARY, (2, SEQUENCE))}
        if has_mask:
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            inputs["attention_mask"][1, -2:] = 0
        return module, inputs


def _image(make: Callable[[], nn.Module], seed: int, size: int) -> Built:
    return build(lambda: Wrapped(make(), ("pixel_values",), "logits"), seed, size)


def vit() -> Built:
    """ViTForImageClassification: pre-norm, class token, learned positions."""
    from transformers import ViTConfig, ViTForImageClassification

    config = _config(
        ViTConfig,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=16,
        patch_size=4,
        num_labels=5,
        attn_implementation="eager",
    )
    return _image(lambda: ViTForImageClassification(config), 10, 16)


def bert() -> Built:
    """BertModel with an attention mask: post-norm, and a norm behind the embeddings."""
    from transformers import BertConfig, BertModel

    config = _config(
        BertConfig,
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=32,
        attn_implementation="eager",
    )

    return _text(lambda: Wrapped(BertModel(config, add_pooling_layer=False), _MASKED, "last_hidden_state"), 11)


def gpt2() -> Built:
    """GPT2LMHeadModel: pre-norm, causal, Conv1D layers, output weights tied to the embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = _config(
        GPT2Config,
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_inner=48,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
        attn_implementation="eager",
    )
    return _text(lambda: Wrapped(GPT2LMHeadModel(config), _MASKED, "logits", use_cache=False), 12)


def llama() -> Built:
    """LlamaForCausalLM with two key-value heads for four query heads: pre-norm, RMSNorm, rotary positions, gated MLP."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = _config(
        LlamaConfig,
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
        attn_implementation="eager",
    )
    return _text(lambda: Wrapped(LlamaForCausalLM(config), _MASKED, "logits", use_cache=False), 13)


def hf_convnext() -> Built:
    """ConvNextForImageClassification: two stages of two blocks."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = _config(
        ConvNextConfig,
        num_stages=2,
        hidden_sizes=[8, 16],
        depths=[2, 2],
        image_size=32,
        num_labels=5,
        layer_scale_init_value=0.5,
    )
    return _image(lambda: ConvNextForImageClassification(config), 14, 32)


def hf_mobilenet_v2() -> Built:
    """MobileNetV2ForImageClassification at a quarter of the width: 17 layers, 10 of them with a shortcut."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = _config(MobileNetV2Config, depth_multiplier=0.25, image_size=32, num_labels=5)
    return _image(lambda: MobileNetV2ForImageClassification(config), 15, 32)


def hf_regnet() -> Built:
    """RegNetForImageClassification (type y): grouped convolutions, squeeze-excite, a projection per stage."""
    from transformers import RegNetConfig, RegNetForImageClassification

    config = _config(
        RegNetConfig,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[3, 2],
        groups_width=4,
        layer_type="y",
        num_labels=5,
    )
    return _image(lambda: RegNetForImageClassification(config), 16, 32)


def post_norm_encoder() -> Built:
    """Two nn.TransformerEncoderLayer with norm_first=False."""
    return _text(PostNormEncoder, 17, has_mask=False)


ENTRIES = (
    Entry("vit", vit, IMAGE, fast=True, blocks=4, requires=TRANSFORMERS),
    Entry("bert", bert, MASKED, fast=True, blocks=4, requires=TRANSFORMERS),
    Entry("gpt2", gpt2, MASKED, fast=True, blocks=4, requires=TRANSFORMERS),
    Entry("llama", llama, MASKED, fast=True, blocks=4, requires=TRANSFORMERS),
    Entry("hf_convnext", hf_convnext, IMAGE, fast=True, blocks=4, requires=TRANSFORMERS),
    Entry("hf_mobilenet_v2", hf_mobilenet_v2, IMAGE, fast=True, blocks=10, requires=TRANSFORMERS),
    Entry("hf_regnet", hf_regnet, IMAGE, fast=True, blocks=3, requires=TRANSFORMERS),
    Entry(
        "post_norm_encoder",
        post_norm_encoder,
        TEXT,
        fast=True,
        blocks=4,
        fixed={("torchscript", "sequence"): "nn.MultiheadAttention reshapes to the sequence length seen in the trace"},
    ),
)
