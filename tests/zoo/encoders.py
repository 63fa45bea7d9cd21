"""Language models that are encoders only, and a post-norm encoder of torch's own layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.entry import MASKED, TEXT, Built, Entry
from tests.zoo.library import VOCABULARY, Interface, masked_tokens, noise, tokens
from tests.zoo.parts import randomise

_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
_DISTIL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 40,
}
_DISENTANGLED: dict[str, Any] = {
    **_SMALL,
    "relative_attention": True,
    "max_relative_positions": 6,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
}

_model = Interface("Model", masked_tokens, MASKED, "last_hidden_state").entry
_tagger = Interface("ForTokenClassification", masked_tokens, MASKED, "logits").entry
_encoder = Interface("EncoderModel", masked_tokens, MASKED, "last_hidden_state").entry
_latents = Interface(
    "Model", noise("inputs", 7, 24), {"inputs": {0: "batch", 1: "sequence"}}, "last_hidden_state"
).entry


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


def post_norm_encoder() -> Built:
    """Two nn.TransformerEncoderLayer with norm_first=False."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        return randomise(PostNormEncoder()), tokens()


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "post_norm_encoder",
        post_norm_encoder,
        TEXT,
        fast=True,
        blocks=4,
        fixed={("torchscript", "sequence"): "nn.MultiheadAttention reshapes to the sequence length seen in the trace"},
    ),
    # Norms behind the joins, and one behind the embeddings.
    _model("bert", "Bert", 4, fast=True, **_SMALL),
    # The same without token types.
    _model("distilbert", "DistilBert", 4, **_DISTIL),
    _model("distilbert_sdpa", "DistilBert", 4, attn_implementation="sdpa", **_DISTIL),
    # Positions counted over the tokens that are no padding; a head per token.
    _tagger("roberta", "Roberta", 4, num_labels=5, **_SMALL),
    # Norms in front of the branches instead.
    _model("roberta_prelayernorm", "RobertaPreLayerNorm", 4, **_SMALL),
    # Both layers share their weights; a projection, not a norm, in front of the first.
    _model("albert", "Albert", 4, embedding_size=24, **_SMALL),
    # A narrow embedding and its projection.
    _model("electra", "Electra", 4, embedding_size=24, **_SMALL),
    # Content-to-position and position-to-content scores by Gather. The positions' projections are no constants in what
    # dynamo writes, for their range depends on the sequence; they go with the branch.
    _model("deberta", "Deberta", 4, **_DISENTANGLED),
    # Positions in logarithmic buckets, with a norm, projected by the content's weights.
    _model(
        "deberta_v2",
        "DebertaV2",
        4,
        fast=True,
        position_buckets=4,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        **_DISENTANGLED,
    ),
    # One table of relative position biases for all layers.
    _model("mpnet", "MPNet", 4, **_SMALL),
    # Relative position biases, computed in the first layer and read by all; RMSNorm, gated GELU.
    # In torchscript's export the biases ask the first block's inside for the sequence length,
    # and a reader outside the branch is refused.
    _encoder(
        "t5_encoder",
        "T5",
        4,
        fast=True,
        fewer={"torchscript": 3},
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=12,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu",
    ),
    # Rotary positions, gated MLP, every second layer with a window, no norm in the first block.
    _model("modernbert", "ModernBert", 4, local_attention=4, global_attn_every_n_layers=2, pad_token_id=0, **_SMALL),
    # Grouped convolutions of width one for every product, channels first.
    _model("squeezebert", "SqueezeBert", 4, embedding_size=32, **_SMALL),
    # Attention beside a convolution whose kernel each token computes.
    _model("convbert", "ConvBert", 4, embedding_size=24, conv_kernel_size=3, head_ratio=2, **_SMALL),
    # A depthwise convolution over the values beside the attention.
    _model("nystromformer", "Nystromformer", 4, segment_means_seq_len=7, num_landmarks=7, **_SMALL),
    # Each layer is a bottleneck: four MLP blocks in its narrow stream; what attention adds to is a projection, and the
    # wide stream's own join holds those four.
    _model("mobilebert", "MobileBert", 8, embedding_size=24, intra_bottleneck_size=16, **_SMALL),
    # Learned latents attend to the input, then to each other. The cross-attention can go too, with its projections of
    # the input.
    _latents(
        "perceiver",
        "Perceiver",
        6,
        num_latents=5,
        d_latents=32,
        d_model=24,
        num_blocks=1,
        num_self_attends_per_block=2,
        num_self_attention_heads=4,
        num_cross_attention_heads=4,
    ),
)
