"""Language models that are decoders only: causal attention of every kind, experts, and recurrences."""

from __future__ import annotations

from typing import Any

from tests.zoo.entry import MASKED, TEXT, Entry
from tests.zoo.library import TOKEN_IDS, VOCABULARY, Interface, masked_tokens, tokens

_SMALL: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, **TOKEN_IDS}
_PLAIN: dict[str, Any] = {**_SMALL, "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 32}
_GROUPED: dict[str, Any] = {**_PLAIN, "num_key_value_heads": 2}
_GPT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_positions": 32,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 48,
    **TOKEN_IDS,
}
_OPT: dict[str, Any] = {**_SMALL, "num_attention_heads": 4, "ffn_dim": 48, "max_position_embeddings": 32}
_FALCON: dict[str, Any] = {**_SMALL, "num_attention_heads": 4, "ffn_hidden_size": 48}

_WITHOUT_CACHE = {"use_cache": False}
_masked = Interface("ForCausalLM", masked_tokens, MASKED, "logits", _WITHOUT_CACHE).entry
_plain = Interface("ForCausalLM", tokens, TEXT, "logits", _WITHOUT_CACHE).entry
_permuted = Interface("LMHeadModel", tokens, TEXT, "logits", {"use_mems": False}).entry
_gpt2 = Interface("LMHeadModel", masked_tokens, MASKED, "logits", _WITHOUT_CACHE).entry

_TWO_HEADS = "it writes two of the four query heads into the reshapes, and the model does not run"
_UNROLLED: Any = {
    (exporter, "sequence"): "the recurrence is a Python loop over the sequence"
    for exporter in ("dynamo", "torchscript")
}

ENTRIES: tuple[Entry, ...] = (
    # Pre-norm, Conv1D layers, output weights tied to the embedding.
    _gpt2("gpt2", "GPT2", 4, fast=True, **_GPT),
    # Two key-value heads for four query heads, RMSNorm, rotary positions, gated MLP.
    _masked("llama", "Llama", 4, fast=True, **_GROUPED),
    # Query, key and value in one product; attention and MLP side by side, so that a layer is one block.
    _masked("gpt_neox", "GPTNeoX", 2, fast=True, rotary_pct=0.5, **_PLAIN),
    # The same one behind the other.
    _masked("gpt_neox_sequential", "GPTNeoX", 4, use_parallel_residual=False, **_PLAIN),
    # Learned positions counted from the mask, ReLU.
    _masked("opt", "OPT", 4, **_OPT),
    # Norms behind the joins, and projections between embedding and stream.
    _masked("opt_post_norm", "OPT", 4, do_layer_norm_before=False, word_embed_proj_dim=24, **_OPT),
    # Attention to the last four tokens only.
    _masked("mistral", "Mistral", 4, sliding_window=4, **_GROUPED),
    # Biases on query, key and value.
    _masked("qwen2", "Qwen2", 4, fast=True, **_GROUPED),
    _masked("qwen2_sdpa", "Qwen2", 4, attn_implementation="sdpa", **_GROUPED),
    # Norms on query and key; heads wider than their share of the stream.
    _masked("qwen3", "Qwen3", 4, head_dim=12, **_GROUPED),
    # Attention and MLP read one norm side by side; half of each head is rotated.
    _masked("phi", "Phi", 2, **_GROUPED),
    # Query, key and value in one product, gate and up projection in another.
    _masked("phi3", "Phi3", 4, **_GROUPED),
    # Embedding scaled by the width, norms scaled by 1 + weight.
    _masked("gemma", "Gemma", 4, head_dim=12, **_GROUPED),
    # A norm at both ends of each branch, soft caps on scores and logits, every second layer with a window.
    _masked("gemma2", "Gemma2", 4, head_dim=12, query_pre_attn_scalar=12, sliding_window=4, **_GROUPED),
    # One key-value head; attention and MLP side by side.
    _masked("falcon", "Falcon", 2, **_FALCON),
    # A norm for each of the two branches, two key-value heads.
    _masked("falcon_new", "Falcon", 2, new_decoder_architecture=True, num_kv_heads=2, **_FALCON),
    # Linear biases on the scores (alibi), a norm behind the embedding.
    _masked("bloom", "Bloom", 4, vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, **TOKEN_IDS),
    # Alibi again, no biases.
    _masked(
        "mpt",
        "Mpt",
        4,
        vocab_size=VOCABULARY,
        d_model=32,
        n_layers=2,
        n_heads=4,
        expansion_ratio=2,
        max_seq_len=32,
        **TOKEN_IDS,
    ),
    # A norm per head on query and key, LayerNorm without RMS.
    _masked("stablelm", "StableLm", 4, qk_layernorm=True, **_GROUPED),
    # Attention and MLP side by side, (x + attention) + MLP: each alone can go, and leaves the norm that they share.
    _masked("cohere", "Cohere", 4, unsupported={"torchscript": _TWO_HEADS}, **_GROUPED),
    # Norms at the end of each branch, none at its beginning.
    _masked("olmo2", "Olmo2", 4, **_GROUPED),
    # Branches scaled before the join.
    _masked("granite", "Granite", 4, residual_multiplier=0.5, **_GROUPED),
    # Two of three experts per token.
    _masked("mixtral", "Mixtral", 4, num_local_experts=3, experts_implementation="batched_mm", **_GROUPED),
    # Neighbouring channels rotated; attention and MLP side by side.
    _masked("gptj", "GPTJ", 2, rotary_dim=4, **_GPT),
    # Query, key and value in one product, interleaved for several devices.
    _masked("codegen", "CodeGen", 2, rotary_dim=4, **_GPT),
    # One key-value head for all queries.
    _masked("gpt_bigcode", "GPTBigCode", 4, **_GPT),
    # Global and local attention in turn, unscaled.
    _masked(
        "gpt_neo",
        "GPTNeo",
        4,
        num_layers=2,
        num_heads=4,
        window_size=4,
        attention_types=[[["global", "local"], 1]],
        intermediate_size=48,
        max_position_embeddings=32,
        **_SMALL,
    ),
    # A selective state space: causal convolution, gates, a recurrence.
    _plain("mamba", "Mamba", 2, state_size=4, fixed=_UNROLLED, **_SMALL),
    # Time mixing by a recurrence, channel mixing with a shift by one token.
    _plain(
        "rwkv", "Rwkv", 4, attention_hidden_size=24, intermediate_size=48, rescale_every=0, fixed=_UNROLLED, **_SMALL
    ),
    # Relative positions by shifted scores. The attention blocks go too: what they project beside their entry are
    # positions.
    _permuted("xlnet", "XLNet", 4, vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=48, **TOKEN_IDS),
)
