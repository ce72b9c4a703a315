"""The way of an artifact: a declaration is planned and keyed; its result is recalled, or a worker
runs and its result is recorded; then it is put in place."""
