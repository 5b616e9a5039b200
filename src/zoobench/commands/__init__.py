"""The commands, a module each: one short function that calls the steps of the pipeline in order."""
