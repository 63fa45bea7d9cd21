"""A Hugging Face folder made smaller as the ONNX file of the same network was: safetensors and ``config.json``."""
