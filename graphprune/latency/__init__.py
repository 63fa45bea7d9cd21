"""Time as a target: a measured table of what layers cost at which width, a knapsack,
and a loop that measures and corrects.
"""
