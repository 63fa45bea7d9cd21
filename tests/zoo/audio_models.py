"""Speech encoders: on spectrograms, and on samples through strided convolutions."""

from __future__ import annotations

from typing import Any

from tests.zoo.entry import Axes, Entry
from tests.zoo.library import TOKEN_IDS, VOCABULARY, Interface, noise

_LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
_SAMPLES: dict[str, Any] = {
    **_LAYERS,
    "vocab_size": VOCABULARY,
    "conv_dim": [16, 24],
    "conv_stride": [5, 4],
    "conv_kernel": [10, 4],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 4,
}
_WAVE: Axes = {"input_values": {0: "batch", 1: "samples"}}

_listener = Interface("ForCTC", noise("input_values", 400), _WAVE, "logits").entry
_reader = Interface(
    "ForCTC", noise("input_features", 12, 16), {"input_features": {0: "batch", 1: "sequence"}}, "logits"
).entry
_classifier = Interface(
    "ForAudioClassification", noise("input_features", 10, 24), {"input_features": {0: "batch"}}, "logits"
).entry
_patches = Interface(
    "ForAudioClassification", noise("input_values", 24, 16), {"input_values": {0: "batch"}}, "logits"
).entry

ENTRIES: tuple[Entry, ...] = (
    # Two convolutions, sinusoidal positions, norms in front of the branches.
    _classifier(
        "whisper_encoder",
        "Whisper",
        4,
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=48,
        num_mel_bins=10,
        max_source_positions=12,
        classifier_proj_size=20,
        decoder_start_token_id=0,
        num_labels=5,
        **TOKEN_IDS,
    ),
    # A vision transformer on overlapping patches of a spectrogram.
    _patches(
        "audio_spectrogram_transformer",
        "AST",
        4,
        patch_size=8,
        frequency_stride=4,
        time_stride=4,
        max_length=24,
        num_mel_bins=16,
        num_labels=5,
        **_LAYERS,
    ),
    # Norms behind the joins; positions by a grouped convolution with weight norm, a removable block of its own.
    _listener("wav2vec2", "Wav2Vec2", 5, **_SAMPLES),
    # Norms in front of the branches, and in every layer of the feature extractor.
    _listener(
        "wav2vec2_stable",
        "Wav2Vec2",
        5,
        do_stable_layer_norm=True,
        feat_extract_norm="layer",
        conv_bias=True,
        **_SAMPLES,
    ),
    # Like the first wav2vec2, trained otherwise.
    _listener("hubert", "Hubert", 5, **_SAMPLES),
    # Relative position biases with a gate from the content.
    _listener("wavlm", "WavLM", 5, **_SAMPLES),
    # The sequence squeezed by two in front of the layers and restored behind them; the shortcut of the convolution for
    # positions is a pool.
    _listener("sew", "SEW", 4, squeeze_factor=2, **_SAMPLES),
    # Half an MLP, attention, convolution, half an MLP. What attention projects beside its entry are positions.
    _listener(
        "wav2vec2_conformer",
        "Wav2Vec2Conformer",
        8,
        position_embeddings_type="relative",
        conv_depthwise_kernel_size=3,
        **_SAMPLES,
    ),
    # The same on frames, with distances between keys and queries from a table.
    _reader(
        "wav2vec2_bert",
        "Wav2Vec2Bert",
        8,
        vocab_size=VOCABULARY,
        feature_projection_input_dim=16,
        left_max_position_embeddings=4,
        right_max_position_embeddings=3,
        conv_depthwise_kernel_size=3,
        **_LAYERS,
    ),
)
