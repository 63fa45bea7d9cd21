"""Axis types: what every axis of every tensor is made of, and therefore what must shrink together."""
