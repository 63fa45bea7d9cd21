"""The decision: what goes, its file, the target it is to meet, and which units meet one."""
