"""What converted modules call: ONNX's meaning where torch's functions mean something else, or have another form."""
