"""graphprune as a step of other toolchains. Each of them is imported only when its module is used."""
