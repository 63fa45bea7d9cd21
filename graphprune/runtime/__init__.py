"""ONNX Runtime: sessions, one timing loop, the threads of BLAS, and how a run is carried out."""
