"""Running models on ONNX Runtime: sessions, concrete sizes, segments."""
