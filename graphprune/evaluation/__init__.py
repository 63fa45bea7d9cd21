"""How good models are on data: accuracy, attacks, corruptions, calibration, energy."""
