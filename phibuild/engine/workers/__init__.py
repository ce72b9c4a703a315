"""Who does the work: toolchains, programs and the code of workers, with their identities."""
