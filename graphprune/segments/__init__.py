"""Parts of a network run alone: cut, run, recorded, sent to other processes."""
