"""Random networks, random plans: every oracle holds."""
