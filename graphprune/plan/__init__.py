"""The decision: what goes, the target it is to meet, and which units meet one."""
