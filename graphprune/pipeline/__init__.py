"""What the commands do: prune, apply, inspect, bench."""
