"""Load as data: arrival schedules, the generator that executes them, and the samples it leaves."""
