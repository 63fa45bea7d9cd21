"""Exported architectures: small networks with random weights, from both torch exporters."""
