"""Loop schedules for the stages of `rules`, one file per rule family."""
