"""How a model holds up: attacks, common corruptions, calibration and energy, several models on the same samples."""
